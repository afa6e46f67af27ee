"""/proc, opened so that it is known to be one.

A /proc inside a container may be a volume, or a bind mount over one file of it, that leads a
write somewhere else (CVE-2025-52881). Here the root must be the kernel's own, and below it no
symlink, magic link or mount point is followed.
"""

from __future__ import annotations

import ctypes
import os
import re
from typing import Final

from cgagent.errors import InternalError
from cgagent.kernel import beneath, libc

_PROC_SUPER_MAGIC: Final = 0x9FA0
_PROC_ROOT_INO: Final = 1
_FLAGS, _PENDING = 6, 28
"""Of /proc/PID/stat, counted from the state: see proc(5)."""
_PF_EXITING: Final = 0x4
_SIGKILL_BIT: Final = 1 << 8
_STATFS_BYTES: Final = 256  # larger than the kernel's struct on any architecture


def is_dying(pid: int) -> bool:
    """Whether a process has been sent SIGKILL, is on its way out, or is not there any more."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    state, flags, pending = fields[0], int(fields[_FLAGS]), int(fields[_PENDING])
    return state in "ZX" or bool(flags & _PF_EXITING or pending & _SIGKILL_BIT)


def open_root(path: str = "/proc") -> int:
    """An O_PATH descriptor of a procfs root.

    Raises:
        InternalError: it is something else.
    """
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if not is_proc(fd) or os.fstat(fd).st_ino != _PROC_ROOT_INO:
        os.close(fd)
        raise InternalError(f"{path} is not the kernel's proc file system; mount it there")
    return fd


def is_proc(fd: int) -> bool:
    """Whether what a descriptor is of is on a proc file system."""
    return filesystem_magic(fd) == _PROC_SUPER_MAGIC


def filesystem_magic(fd: int) -> int:
    """The type of file system a descriptor is on: `f_type` of fstatfs(2)."""
    buffer = (ctypes.c_long * (_STATFS_BYTES // ctypes.sizeof(ctypes.c_long)))()
    libc.fstatfs(fd, buffer)
    return int(buffer[0])


def open_beneath(root: int, name: str, flags: int) -> int:
    """Open a file of an `open_root`."""
    strict = beneath.RESOLVE_BENEATH | beneath.RESOLVE_NO_XDEV | beneath.RESOLVE_NO_SYMLINKS
    return beneath.openat2(root, name, flags, resolve=strict | beneath.RESOLVE_NO_MAGICLINKS)


def open_own(root: int, name: str, flags: int) -> int:
    """Open a file of the calling process's own directory in an `open_root`."""
    # /proc/self is a symlink, and its target a number in the name space of that /proc
    return open_beneath(root, f"{_own_pid(root)}/{name}", flags)


def _own_pid(root: int) -> int:
    target = os.readlink("self", dir_fd=root)
    if not re.fullmatch(r"\d+", target):
        raise InternalError(f"/proc/self points to {target!r}, not to a process")
    return int(target)


def write(root: int, name: str, value: str) -> None:
    """Write to a file of an `open_root` in one call, as kernel parameters want it."""
    fd = open_beneath(root, name, os.O_WRONLY)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def tasks(pid: int) -> list[str]:
    """The directories of a process's threads in /proc; none where it has ended."""
    try:
        return [f"/proc/{pid}/task/{thread}" for thread in os.listdir(f"/proc/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return []


def run_delay_ns(task: str) -> int:
    """How long a thread has waited for a CPU in all (schedstat, Linux 2.6.23); 0 if it ended.

    `task` is one of `tasks`. Documentation/scheduler/sched-stats.rst.
    """
    try:
        with open(f"{task}/schedstat", encoding="ascii") as f:
            return int(f.read().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
