"""Why the OOM killer came: whose memory limit was hit, how many it ended.

cgroup v2 counts it: `oom` in memory.events.local of the group whose limit was hit, `oom_kill`
in memory.events of the victim's group and all above it. v1 counts kills in the victim's group
only, and of limits how often they were hit (failcnt), whether or not that led to a kill; so
there the group is the nearest one that was at its limit. A `Watcher` knows it exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar

from cgagent.cgroups import amount, files
from cgagent.cgroups.events import Oom
from cgagent.cgroups.hierarchy import subgroups
from cgagent.cgroups.memory import MemoryV1, MemoryV2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cgagent.cgroups.controllers import Controllers

_OOM: Final = files.Keys("oom")
_V1_FILES: Final = (
    ("memory.max_usage_in_bytes", "memory.limit_in_bytes", "memory.failcnt"),
    ("memory.memsw.max_usage_in_bytes", "memory.memsw.limit_in_bytes", "memory.memsw.failcnt"),
)


class _Group(Protocol):
    """`cgagent.cgroups.Group`, which has what is counted here as its methods."""

    @property
    def path(self) -> str: ...
    def at(self, path: str) -> Self: ...
    def controllers(self) -> Controllers: ...


_G = TypeVar("_G", bound=_Group)


@dataclass(frozen=True, slots=True)
class OomCounters:
    """What the kernel has counted at one moment, for a later `Group.oom_report`."""

    kills: int
    hits: Mapping[str, int]
    """How often a group's own limit was hit: of the group, those above and those below it."""

    @classmethod
    def of(cls, group: _Group) -> OomCounters:
        return cls(_kills(group), dict(_hits(_family(group))))

    @classmethod
    def of_new(cls, group: _Group) -> OomCounters:
        """Of a group in which nothing has run yet: only those above it have counted anything."""
        _, *above = lineage(group)
        return cls(0, dict(_hits(above)))


def lineage(group: _G) -> list[_G]:
    """The group and those above it, nearest first; without the root, which has no limit."""
    parts = group.path.strip("/").split("/")
    return [group.at("/" + "/".join(parts[:end])) for end in range(len(parts), 0, -1)]


def report(group: _Group, since: OomCounters) -> Oom | None:
    """What the OOM killer did in the group since then; None when nothing."""
    victims = _kills(group) - since.kills
    if victims <= 0:
        return None
    return describe(group, _limiting(group, since, OomCounters.of(group)), victims)


def describe(group: _Group, limiting: _Group | None, victims: int) -> Oom:
    """The event, with the figures that the limiting group has now."""
    usage = limiting.controllers().memory if limiting else None
    current, peak, limit = usage.figures() if usage else (None, None, None)
    return Oom(
        group=group.path,
        limiting_group=limiting.path if limiting else None,
        victims=victims,
        usage_bytes=current,
        peak_bytes=peak,
        limit_bytes=limit,
    )


def _kills(group: _Group) -> int:
    memory = group.controllers().memory
    return (memory.oom_kills() if memory else None) or 0


def _limiting(group: _G, since: OomCounters, now: OomCounters) -> _G | None:
    """The nearest one upwards, else one below; None: no limit but the machine's memory."""
    chain = lineage(group)
    above = [g.path for g in chain]
    for path in [*above, *(path for path in now.hits if path not in above)]:
        if now.hits.get(path, 0) > since.hits.get(path, 0):
            return group.at(path)
    memory = group.controllers().memory
    if isinstance(memory, MemoryV1):
        return next((g for g in _family(group) if _was_full(g)), None)
    return None


def _family(group: _G) -> list[_G]:
    """The group, those above it and those below it."""
    memory = group.controllers().memory
    if memory is None:
        return lineage(group)
    paths = (group.path + p.removeprefix(memory.directory) for p in subgroups(memory.directory))
    return [*lineage(group), *map(group.at, paths)]


def _hits(groups: Iterable[_Group]) -> Iterator[tuple[str, int]]:
    for one in groups:
        count = hits(one)
        if count is not None:
            yield one.path, count


def hits(group: _Group) -> int | None:
    """How often the group's own limit was hit; None where that is not counted.

    Before memory.events.local (Linux 5.2) the count of v2 includes the groups below.
    """
    memory = group.controllers().memory
    if isinstance(memory, MemoryV2):
        for name in ("memory.events.local", "memory.events"):
            text = files.read(f"{memory.directory}/{name}")
            if text is not None:
                return _OOM.values(text)[0]
    if isinstance(memory, MemoryV1):
        texts = (files.read(f"{memory.directory}/{failcnt}") for *_, failcnt in _V1_FILES)
        counts = [int(text) for text in texts if text is not None]
        return sum(counts) if counts else None
    return None


def _was_full(group: _Group) -> bool:
    """On v1: at memory + swap's limit, which Linux 6.18 does not count in failcnt."""
    memory = group.controllers().memory
    if not isinstance(memory, MemoryV1):
        return False
    for peak_file, limit_file, _ in _V1_FILES:
        peak = files.number(files.read(f"{memory.directory}/{peak_file}"))
        limit = amount.parse(files.read(f"{memory.directory}/{limit_file}"))
        if isinstance(limit, int) and peak is not None and peak >= limit:
            return True
    return False
