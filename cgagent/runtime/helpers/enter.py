"""Standing in a container's root, to work on its files: by a process that does nothing else.

The process that calls this has loaded all it needs (CVE-2019-14271), and whatever name it is
given afterwards cannot lead out. Standard library only.
"""

from __future__ import annotations

import os
from typing import Any, Final

from cgagent.kernel import mount as km
from cgagent.kernel import namespaces, userns
from cgagent.runtime.container import steps

_OWN_MOUNTS: Final = {"namespaces": [{"type": "mount"}]}


def running(root_fd: int, mounts_fd: int | None = None, user_fd: int | None = None) -> None:
    """The root of a container that runs, as a descriptor of its ``/proc/PID/root``.

    `mounts_fd` is its mount namespace: to whoever is in another one the kernel lets remove what
    something is mounted on in there, and takes that mount away. `user_fd` is its user namespace,
    if that is its own.
    """
    if mounts_fd is not None:
        namespaces.setns(mounts_fd, namespaces.CLONE_NEWNS)
        os.close(mounts_fd)
    os.fchdir(root_fd)
    os.chroot(".")
    os.close(root_fd)
    if user_fd is not None:
        namespaces.setns(user_fd, namespaces.CLONE_NEWUSER)
        userns.become_root()
        os.close(user_fd)


def stopped(
    mounts: list[dict[str, Any]], rootfs: list[dict[str, Any]], staging: str, *, read_only: bool
) -> None:
    """The root of one that does not run, with the `mounts`, in OCI form, in it.

    It is mounted in a namespace of this process's own and gone with it.

    Raises:
        NotFoundError: what is to be bound does not exist any more.
    """
    namespaces.unshare(namespaces.CLONE_NEWNS)
    setup = steps.Setup({"mounts": mounts, "linux": _OWN_MOUNTS}, rootfs, staging)
    for step in (steps.open_sources, steps.make_private, steps.mount_root, steps.mount_all):
        step(setup)
    if read_only:
        top = os.open(staging, os.O_PATH | os.O_CLOEXEC)
        km.set_attributes(top, km.MOUNT_ATTR_RDONLY, recursive=False)
        os.close(top)
    running(setup.root_fd)
