"""The cpuset controller: which CPUs and memory nodes.

A new v1 group has neither and takes no task until both are filled; on v2 empty means the
parent's. `fill` makes v1 start like v2, and "" asked for on v1 is the parent's set.
"""

from __future__ import annotations

import errno
import os
from typing import ClassVar, Final

from cgagent.cgroups import files
from cgagent.cgroups.changes import Write
from cgagent.cgroups.limits import Limits

FIELDS: Final = frozenset({"cpuset_cpus", "cpuset_mems"})

_FILES: Final = {"cpuset_cpus": "cpuset.cpus", "cpuset_mems": "cpuset.mems"}

_CAUSES: Final = {
    errno.EACCES: "the parent group has no such CPUs or nodes",
    errno.EINVAL: "no such list, or not on this machine: give one such as 0-3,7",
    errno.ERANGE: "no such list, or not on this machine: give one such as 0-3,7",
    errno.EBUSY: "a child group still has more",
}


class CpusetV1:
    FIELDS: ClassVar = FIELDS

    def __init__(self, directory: str) -> None:
        self._dir = directory

    def writes(self, limits: Limits) -> list[Write]:
        parent = os.path.dirname(self._dir)
        return [
            _write(self._dir, limit, value or (files.read(f"{parent}/{_FILES[limit]}") or ""))
            for limit, value in limits
            if limit in FIELDS
        ]

    def held(self) -> Limits:
        return _held(self._dir)

    @staticmethod
    def fill(directory: str) -> None:
        """Copy the parent's CPUs and nodes into a new group.

        Raises:
            OSError: as the kernel refuses.
        """
        parent = os.path.dirname(directory)
        for name in _FILES.values():
            if not (files.read(f"{directory}/{name}") or "").strip():
                files.write(f"{directory}/{name}", files.read(f"{parent}/{name}") or "")


class CpusetV2:
    FIELDS: ClassVar = FIELDS

    def __init__(self, directory: str) -> None:
        self._dir = directory

    def writes(self, limits: Limits) -> list[Write]:
        return [_write(self._dir, limit, value) for limit, value in limits if limit in FIELDS]

    def held(self) -> Limits:
        return _held(self._dir)


def _write(directory: str, limit: str, value: str) -> Write:
    return Write(limit, f"{directory}/{_FILES[limit]}", value.strip(), causes=_CAUSES)


def _held(directory: str) -> Limits:
    cpus, mems = (files.read(f"{directory}/{name}") for name in _FILES.values())
    return Limits(cpuset_cpus=cpus and cpus.strip(), cpuset_mems=mems and mems.strip())
