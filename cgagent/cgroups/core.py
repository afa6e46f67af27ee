"""What cgroup2's core counts of a group on any host that mounts it, and v1's freezer state.

cgroup.stat.local came with Linux 6.18.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import files
from cgagent.cgroups.usage import Descendants

if TYPE_CHECKING:
    from collections.abc import Sequence

_STAT: Final = files.Keys("nr_descendants", "nr_dying_descendants")
_LOCAL: Final = files.Keys("frozen_usec")


@dataclass(frozen=True, slots=True)
class Core:
    """The fields of `Usage` of the same names."""

    frozen: bool | None
    frozen_ns: int | None
    descendants: Descendants | None


class CoreMeter:
    """Of the group's cgroup2 directory and of its v1 freezer's, where there are such."""

    def __init__(self, unified: str | None, freezer: str | None) -> None:
        self._unified = unified
        self._freezer = freezer

    def paths(self) -> Sequence[str]:
        names = ("cgroup.events", "cgroup.stat", "cgroup.stat.local")
        unified = [f"{self._unified}/{name}" for name in names] if self._unified else []
        return [*unified, *([f"{self._freezer}/freezer.state"] if self._freezer else [])]

    def usage(self, texts: Sequence[str | None]) -> Core:
        rest = list(texts)
        events, stat, local = (rest.pop(0) for _ in range(3)) if self._unified else (None,) * 3
        frozen_us = _LOCAL.values(local)[0] if local else None
        return Core(
            _is_frozen(events, rest[0] if rest else None),
            None if frozen_us is None else frozen_us * 1000,
            _descendants(stat) if stat else None,
        )


@lru_cache(maxsize=256)
def _descendants(text: str) -> Descendants:
    live, dying = _STAT.values(text)
    return Descendants(live=live or 0, dying=dying or 0)


def _is_frozen(events: str | None, state: str | None) -> bool | None:
    """Held by either freezer, the group's own or one above it."""
    if events is None and state is None:
        return None
    return (events is not None and "frozen 1" in events) or (state or "").strip() == "FROZEN"
