"""Subvolumes of btrfs: linux/btrfs.h."""

from __future__ import annotations

import fcntl
import os
import struct
from typing import TYPE_CHECKING, Final

from cgagent.kernel.procfs import filesystem_magic

if TYPE_CHECKING:
    from pathlib import Path

_SUPER_MAGIC: Final = 0x9123683E
# struct btrfs_ioctl_vol_args {s64 fd; char name[4088]}, and _v2 {s64 fd; u64 transid, flags;
# u64 unused[4]; char name[4040]}: 4096 bytes each
_ARGUMENTS: Final = struct.Struct("=q4088s")
_ARGUMENTS_2: Final = struct.Struct("=qQQ32x4040s")
_SUBVOLUME_CREATE: Final = 0x5000940E
_SNAPSHOT_DESTROY: Final = 0x5000940F
_SNAPSHOT_CREATE_2: Final = 0x50009417


def make_subvolume(path: Path) -> None:
    """An empty one."""
    name = os.fsencode(path.name)
    _call(path.parent, _SUBVOLUME_CREATE, _ARGUMENTS.pack(0, name))


def snapshot(source: Path, path: Path) -> None:
    """A writable one of the subvolume `source`."""
    fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        name = os.fsencode(path.name)
        _call(path.parent, _SNAPSHOT_CREATE_2, _ARGUMENTS_2.pack(fd, 0, 0, name))
    finally:
        os.close(fd)


def delete_subvolume(path: Path) -> None:
    """With all that is in it.

    Raises:
        OSError: ENOTEMPTY: there are other subvolumes in it; EINVAL, ENOTTY: it is none.
    """
    _call(path.parent, _SNAPSHOT_DESTROY, _ARGUMENTS.pack(0, os.fsencode(path.name)))


def is_on_btrfs(path: Path) -> bool:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return filesystem_magic(fd) == _SUPER_MAGIC
    finally:
        os.close(fd)


def _call(directory: Path, request: int, arguments: bytes) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, request, bytearray(arguments))  # of bytes Python passes 1024 at most
    finally:
        os.close(fd)
