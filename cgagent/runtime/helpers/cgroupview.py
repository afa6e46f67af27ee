"""A child that shows a running container its cgroup again, which is another one since a move.

Started by `cgagent.engine.groups.viewing` as ``python -I -S``. What the container has mounted of
its old cgroup is replaced by the same of the new one, with the same flags. A mount with any other
root (the host's, or what the container has mounted itself) is left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Final

from cgagent.kernel import mount as km
from cgagent.kernel import namespaces

_FLAGS: Final = (
    km.MOUNT_ATTR_RDONLY | km.MOUNT_ATTR_NOSUID | km.MOUNT_ATTR_NODEV | km.MOUNT_ATTR_NOEXEC
)
"""They have the values that statvfs(3) has for them."""


def main() -> None:
    """Standard input has the job: the mount namespace's file, and by place (old, new) paths."""
    job = json.loads(sys.stdin.buffer.read() or b"{}")
    if not job:  # who started it has given up
        return
    places = {}
    for place, (old, new) in job["places"].items():
        with contextlib.suppress(OSError):  # it has gone meanwhile
            places[place] = os.stat(old).st_ino, km.clone_tree(new, recursive=False)
    mounts = os.open(job["mounts"], os.O_RDONLY | os.O_CLOEXEC)
    namespaces.setns(mounts, namespaces.CLONE_NEWNS)
    for place, (inode, tree) in places.items():
        _replace(place, inode, tree)


def _replace(place: str, inode: int, tree: int) -> None:
    try:
        if os.lstat(place).st_ino != inode:
            return
        km.set_attributes(tree, os.statvfs(place).f_flag & _FLAGS, recursive=False)
        km.detach(place)
        target = os.open(place, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY)
        km.attach(tree, target)
    except OSError as e:
        sys.stderr.write(f"{place}: {e.strerror}\n")
