"""Project quotas: quotactl_fd(2), since kernel 5.14, and the project of an inode.

linux/quota.h, and FS_IOC_FSGETXATTR of linux/fs.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import struct
from typing import Final

from cgagent.kernel import libc

_PROJECT: Final = 2
_GET: Final = 0x800007 << 8 | _PROJECT
_SET: Final = 0x800008 << 8 | _PROJECT
_BLOCK_LIMITS: Final = 1
_BLOCK_BYTES: Final = 1024
_GET_ATTRIBUTES: Final = 0x801C581F
_SET_ATTRIBUTES: Final = 0x401C5820
_INHERIT: Final = 0x200
# struct fsxattr {u32 xflags, extsize, nextents, projid, cowextsize; char pad[8]}
_ATTRIBUTES: Final = struct.Struct("=5I8x")


class _Quota(ctypes.Structure):
    """``struct if_dqblk``."""

    _fields_ = [
        *(
            (name, ctypes.c_uint64)
            for name in (
                "block_hard_limit",
                "block_soft_limit",
                "bytes",
                "inode_hard_limit",
                "inode_soft_limit",
                "inodes",
                "block_time",
                "inode_time",
            )
        ),
        ("valid", ctypes.c_uint32),
    ]


def project(fd: int) -> int:
    """Of the file. Raises OSError where its file system has no such thing."""
    return int(_attributes(fd)[3])


def enter_project(directory: int, number: int) -> None:
    """Put an empty directory into a project, with all that will be made in it."""
    flags, extent, extents, _, cow_extent = _attributes(directory)
    changed = _ATTRIBUTES.pack(flags | _INHERIT, extent, extents, number, cow_extent)
    fcntl.ioctl(directory, _SET_ATTRIBUTES, changed)


def project_bytes(fd: int, number: int) -> int:
    """What a project has on the file system of `fd`.

    Raises:
        OSError: ESRCH: the file system does not count projects; ENOSYS: nor does the kernel.
    """
    found = _Quota()
    libc.syscall(libc.SYS_quotactl_fd, fd, _GET, number, ctypes.byref(found))
    return int(found.bytes)


def limit_project(fd: int, number: int, limit_bytes: int | None) -> None:
    """The most that a project may have on the file system of `fd`; None: as much as there is."""
    blocks = -(-(limit_bytes or 0) // _BLOCK_BYTES)
    wanted = _Quota(block_hard_limit=blocks, valid=_BLOCK_LIMITS)
    libc.syscall(libc.SYS_quotactl_fd, fd, _SET, number, ctypes.byref(wanted))


def _attributes(fd: int) -> tuple[int, ...]:
    raw = fcntl.ioctl(fd, _GET_ATTRIBUTES, bytes(_ATTRIBUTES.size))
    return _ATTRIBUTES.unpack(raw)
