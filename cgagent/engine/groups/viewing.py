"""What a container sees of its cgroup below /sys/fs/cgroup, brought up to date after a move.

Its processes stay in the cgroup namespace that they began in, whose root is the old cgroup: to
them the new one is at a path with ``..`` in it, in /proc/self/cgroup as in /proc/self/mountinfo.
Programs that compare the two, as language runtimes do to learn their limits, find it.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
from typing import TYPE_CHECKING, Final, Self

from cgagent.engine import children

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from cgagent.cgroups import Group
    from cgagent.engine.containers.container import Container

log = logging.getLogger(__name__)

_PLACE: Final = "/sys/fs/cgroup"


class View:
    """A child that does it, started before the container stands still: that takes the longest."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._child: Process | None = None

    async def __aenter__(self) -> Self:
        record = self._container.record
        if record.adopted is None and record.outcome.pid is not None:
            try:
                self._child = await children.spawn(
                    "cgagent.runtime.helpers.cgroupview",
                    stdin=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env={"LANG": "C.UTF-8"},
                )
            except OSError as e:
                self._warn(e.strerror)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._child is not None:
            await children.end(self._child)

    async def show(self, old: Group, new: Group) -> None:
        """Before the old group is removed. Where it cannot be done the container sees no cgroup."""
        if self._child is None:
            return
        mounts = f"/proc/{self._container.record.outcome.pid}/ns/mnt"
        job = json.dumps({"mounts": mounts, "places": places(old, new)})
        _, told = await self._child.communicate(job.encode())
        if told:
            self._warn(told.decode(errors="replace").strip().rpartition("\n")[2])

    def _warn(self, cause: str | None) -> None:
        log.warning("container %s does not see its new cgroup: %s", self._container.name, cause)


def places(old: Group, new: Group) -> dict[str, tuple[str, str]]:
    """Where a container has its cgroup mounted, with its directories there before and now."""
    unified = old.unified_dir(), new.unified_dir()
    mounts = old.host.v1_mounts
    found = {
        f"{_PLACE}/{os.path.basename(mount)}": (mount + old.path, mount + new.path)
        for mount in mounts
    }
    if unified[0] and unified[1]:
        found[f"{_PLACE}/unified" if mounts else _PLACE] = unified[0], unified[1]
    return found
