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
from typing import TYPE_CHECKING, Final

from cgagent.engine import children

if TYPE_CHECKING:
    from cgagent.cgroups import Group
    from cgagent.engine.containers.container import Container

log = logging.getLogger(__name__)

_PLACE: Final = "/sys/fs/cgroup"


async def show(container: Container, old: Group, new: Group) -> None:
    """Before the old group is removed. Where it cannot be done the container sees no cgroup."""
    pid = container.record.outcome.pid
    if pid is None or container.record.adopted is not None:
        return
    try:
        cause = await _replace(f"/proc/{pid}/ns/mnt", places(old, new))
    except OSError as e:
        cause = str(e.strerror)
    if cause:
        log.warning("container %s does not see its new cgroup: %s", container.name, cause)


async def _replace(mounts: str, wanted: dict[str, tuple[str, str]]) -> str:
    """Have a child do it; what has failed, if anything."""
    child = await children.spawn(
        "cgagent.runtime.helpers.cgroupview",
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"LANG": "C.UTF-8"},
    )
    try:
        _, told = await child.communicate(json.dumps({"mounts": mounts, "places": wanted}).encode())
    except BaseException:
        await children.end(child)
        raise
    return told.decode(errors="replace").strip().rpartition("\n")[2]


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
