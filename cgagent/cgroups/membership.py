"""Which groups a process is in, in every hierarchy, and putting it back there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgagent.cgroups import files
from cgagent.errors import NotFoundError

if TYPE_CHECKING:
    from cgagent.cgroups.hierarchy import Layout


@dataclass(frozen=True, slots=True)
class Membership:
    """The directories of a process's groups: one for each hierarchy that the host uses."""

    directories: tuple[str, ...]

    @classmethod
    def of(cls, host: Layout, pid: int) -> Membership:
        """Where a process is now, from /proc/PID/cgroup.

        Raises:
            NotFoundError: no such process.
        """
        text = files.read(f"/proc/{pid}/cgroup")
        if not text:
            raise NotFoundError(f"process {pid} does not exist")
        mounts = {name: p.mount for name, p in host.placements.items() if p.version == 1}
        found: list[str] = []
        for line in files.lines(text):
            _, names, path = line.split(":", 2)
            controllers = ["io" if n == "blkio" else n for n in names.split(",")]
            mount = next((mounts[n] for n in controllers if n in mounts), None)
            if not names and host.unified:
                mount = host.unified.mount
            if mount:
                found.append(mount + path.rstrip("/"))
        return cls(tuple(dict.fromkeys(found)))

    def restore(self, pid: int) -> None:
        """Move a process back; to the nearest group above where one is gone.

        Raises:
            NotFoundError: no such process any more.
            DeniedError: no privilege.
        """
        for directory in self.directories:
            there = directory
            while not os.path.isdir(there):
                there = os.path.dirname(there)
            try:
                files.write(f"{there}/cgroup.procs", str(pid))
            except OSError as e:
                raise files.failure(f"process {pid}: cannot move it to {there}", e) from e
