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

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def writes(self, limits: Limits) -> list[Write]:
        if limits.pids_max is None:
            return []
        return [Write("pids_max", f"{self.directory}/pids.max", amount.spell(limits.pids_max))]

    def held(self) -> Limits:
        return Limits(pids_max=amount.parse(files.read(f"{self.directory}/pids.max")))

    def paths(self) -> Sequence[str]:
        names = ("pids.current", "pids.peak", "pids.events", "pids.events.local")
        return (
            *(f"{self.directory}/{name}" for name in names),
            *(f"{directory}/cgroup.procs" for directory in with_subgroups(self.directory)),
        )

    def usage(self, texts: Sequence[str | None]) -> Pids:
        current, peak, events, events_local, *procs = texts
        return Pids(
            current=files.number(current),
            processes=None if procs[0] is None else sum(t.count("\n") for t in procs if t),
            peak=files.number(peak),
            refused=_refused(events),
            refused_local=_refused(events_local),
        )


def _refused(text: str | None) -> int | None:
    """A file with one line, "max" and its number."""
    return int(text.split()[1]) if text else None
