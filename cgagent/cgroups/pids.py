"""The pids controller; v1 and v2 have the same files (pids.peak since Linux 6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from cgagent.cgroups import amount, files
from cgagent.cgroups.changes import Write
from cgagent.cgroups.hierarchy import with_subgroups
from cgagent.cgroups.limits import Limits
from cgagent.cgroups.usage import Pids

if TYPE_CHECKING:
    from collections.abc import Sequence

FIELDS: Final = frozenset({"pids_max"})


class PidsController:
    FIELDS: ClassVar = FIELDS

    def __init__(self, directory: str, *, deep: bool = True) -> None:
        self.directory = directory
        self._deep = deep

    def writes(self, limits: Limits) -> list[Write]:
        if limits.pids_max is None:
            return []
        return [Write("pids_max", f"{self.directory}/pids.max", amount.spell(limits.pids_max))]

    def held(self) -> Limits:
        return Limits(pids_max=amount.parse(files.read(f"{self.directory}/pids.max")))

    def paths(self) -> Sequence[str]:
        names = ("pids.current", "pids.peak", "pids.events", "pids.events.local")
        groups = with_subgroups(self.directory) if self._deep else ()
        return (
            *(f"{self.directory}/{name}" for name in names),
            *(f"{directory}/cgroup.procs" for directory in groups),
        )

    def usage(self, texts: Sequence[str | None]) -> Pids:
        current, peak, events, events_local, *procs = texts
        return Pids(
            current=files.number(current),
            processes=_processes(procs),
            peak=files.number(peak),
            refused=_refused(events),
            refused_local=_refused(events_local),
        )


def _processes(procs: Sequence[str | None]) -> int | None:
    if not procs or procs[0] is None:
        return None
    return sum(text.count("\n") for text in procs if text)


def _refused(text: str | None) -> int | None:
    """A file with one line, "max" and its number."""
    return int(text.split()[1]) if text else None
