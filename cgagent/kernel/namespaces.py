"""Namespaces: making a process in new ones, joining those of another, staying unseen meanwhile."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cgagent.kernel import libc

if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWTIME: Final = 0x00000080
CLONE_PIDFD: Final = 0x00001000
CLONE_PARENT: Final = 0x00008000
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
CLONE_INTO_CGROUP: Final = 0x200000000

SIGCHLD: Final = 17
PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_CHILD_SUBREAPER: Final = 36


class _CloneArgs(ctypes.Structure):
    """``struct clone_args`` of linux/sched.h, version 2 (88 bytes, since kernel 5.7)."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            *("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size"),
            *("tls", "set_tid", "set_tid_size", "cgroup"),
        )
    ]


def clone(flags: int, cgroup_fd: int | None = None) -> tuple[int, int]:
    """Fork into the namespaces that `flags` names, and into a cgroup2 directory if one is given.

    Only for a single-threaded process: no other thread's locks are held in the child. The child
    must end in exec or `os._exit`. Since kernel 5.7; needs CAP_SYS_ADMIN for namespaces.

    Returns:
        (pid, pidfd) in the parent, (0, -1) in the child. The pidfd is close-on-exec.
    """
    pidfd = ctypes.c_int(-1)
    args = _CloneArgs(
        flags=flags | CLONE_PIDFD,
        pidfd=ctypes.addressof(pidfd),
        exit_signal=0 if flags & CLONE_PARENT else SIGCHLD,  # a sibling has our own
    )
    if cgroup_fd is not None:
        args.flags |= CLONE_INTO_CGROUP
        args.cgroup = cgroup_fd
    pid = libc.syscall(libc.SYS_clone3, ctypes.byref(args), ctypes.sizeof(args))
    return pid, pidfd.value if pid else -1


def setns(descriptor: int, flags: int) -> None:
    """Join namespaces: of one nsfs file, or with a pidfd (since 5.8) several of one process."""
    libc.setns(descriptor, flags)


@contextmanager
def in_mounts_of(descriptor: int) -> Iterator[None]:
    """Be in another mount namespace for a while; root and working directory are ``/`` afterwards.

    Not for a process that has threads.
    """
    ours = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(descriptor, CLONE_NEWNS)
        try:
            yield
        finally:
            setns(ours, CLONE_NEWNS)
    finally:
        os.close(ours)


def unshare(flags: int) -> None:
    libc.unshare(flags)


def set_child_subreaper(*, take: bool) -> None:
    """Whether descendants whose parent ends become our children. Since kernel 3.4."""
    libc.prctl(PR_SET_CHILD_SUBREAPER, int(take), 0, 0, 0)


def set_nondumpable() -> None:
    """Close this process's /proc/PID/exe, /mem and /fd to the processes of a container.

    Once a process of ours is inside a container's namespaces, root in there could otherwise open
    our interpreter for writing through /proc/PID/exe (CVE-2019-5736). Inherited by clone, undone
    by exec.
    """
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
