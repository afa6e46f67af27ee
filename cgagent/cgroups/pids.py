"""The pids controller; v1 and v2 have the same files (pids.peak since Linux 6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from cgagent.cgroups import amount, files
from cgagent.cgroups.changes import Write
from cgagent.cgroups.hierarchy import with_subgroups
from cgagent.cgroups.limits import Limits
from cgagent.cgroups.usage import Pids

if TYPE_CHECKING:
    from cgagent.cgroups.files import Read

FIELDS: Final = frozenset({"pids_max"})


class PidsController:
    FIELDS: ClassVar = FIELDS

    def __init__(self, directory: str) -> None:
        self._dir = directory

    def writes(self, limits: Limits) -> list[Write]:
        if limits.pids_max is None:
            return []
        return [Write("pids_max", f"{self._dir}/pids.max", amount.spell(limits.pids_max))]

    def held(self) -> Limits:
        return Limits(pids_max=amount.parse(files.read(f"{self._dir}/pids.max")))

    def usage(self, read: Read) -> Pids:
        return Pids(
            current=files.number(read(f"{self._dir}/pids.current")),
            processes=self._processes(read),
            peak=files.number(read(f"{self._dir}/pids.peak")),
            refused=files.value_of(files.flat(read(f"{self._dir}/pids.events")), "max"),
        )

    def _processes(self, read: Read) -> int | None:
        texts = [read(f"{directory}/cgroup.procs") for directory in with_subgroups(self._dir)]
        return None if texts[0] is None else sum(text.count("\n") for text in texts if text)
