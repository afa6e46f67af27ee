"""The cpuset controller: which CPUs and memory nodes.

A new v1 group has neither and takes no task until both are filled; on v2 empty means the
parent's. `fill` makes v1 start like v2, and "" asked for on v1 is the parent's set.

A group with processes in it is not given an empty set again, on v2 either (ENOSPC, Linux 6.12):
there, too, "" is the parent's set then, and what a failed change puts back. So that this is
hardly ever needed, v2's lists are checked before, and written after all other limits.
"""

from __future__ import annotations

import errno
import os
import re
from typing import ClassVar, Final

from cgagent.cgroups import files
from cgagent.cgroups.changes import Write, parents
from cgagent.cgroups.freezer import is_event_set
from cgagent.cgroups.limits import Limits
from cgagent.errors import InvalidInputError

FIELDS: Final = frozenset({"cpuset_cpus", "cpuset_mems"})

_FILES: Final = {"cpuset_cpus": "cpuset.cpus", "cpuset_mems": "cpuset.mems"}

_NO_SUCH_LIST: Final = "no such list, or not on this machine: give one such as 0-3,7"
_CAUSES: Final = {
    errno.EACCES: "the parent group has no such CPUs or nodes",
    errno.EINVAL: _NO_SUCH_LIST,
    errno.ERANGE: _NO_SUCH_LIST,
    errno.EOVERFLOW: _NO_SUCH_LIST,
    errno.EBUSY: "a child group still has more",
    errno.ENOSPC: "processes in the group would have none",
}
_POSSIBLE: Final = {
    "cpuset_cpus": "/sys/devices/system/cpu/possible",
    "cpuset_mems": "/sys/devices/system/node/possible",
}
_RANGE: Final = re.compile(r"\s*(\d+)(?:-(\d+))?\s*")


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
        asked = [(limit, value.strip()) for limit, value in limits if limit in FIELDS]
        for limit, value in asked:
            if _is_beyond(value, files.read(_POSSIBLE[limit]) or ""):
                path = f"{self._dir}/{_FILES[limit]}"
                raise InvalidInputError(f"limit {limit}: {path} refuses {value!r}: {_NO_SUCH_LIST}")
        return [self._write(limit, value) for limit, value in asked]

    def _write(self, limit: str, value: str) -> Write:
        path = f"{self._dir}/{_FILES[limit]}"
        populated = is_event_set(files.read(f"{self._dir}/cgroup.events"), "populated")
        if not value and populated and (files.read(path) or "").strip():
            value = parents(path)
        return Write(limit, path, value, causes=_CAUSES)

    def held(self) -> Limits:
        return _held(self._dir)


def _is_beyond(value: str, possible: str) -> bool:
    """Of a plain list whether the machine has not all of it; of others the kernel is judge."""
    ranges = [_RANGE.fullmatch(part) for part in value.split(",") if part.strip()]
    highest = max((int(number) for number in re.findall(r"\d+", possible)), default=None)
    if highest is None:
        return False
    return any(
        match is not None and not int(match[1]) <= int(match[2] or match[1]) <= highest
        for match in ranges
    )


def _write(directory: str, limit: str, value: str) -> Write:
    return Write(limit, f"{directory}/{_FILES[limit]}", value.strip(), causes=_CAUSES)


def _held(directory: str) -> Limits:
    cpus, mems = (files.read(f"{directory}/{name}") for name in _FILES.values())
    return Limits(cpuset_cpus=cpus and cpus.strip(), cpuset_mems=mems and mems.strip())
