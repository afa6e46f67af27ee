"""mount(2) and its relatives. Targets are descriptors: a path may be swapped, a descriptor not."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Final

from cgagent.kernel import libc

if TYPE_CHECKING:
    from collections.abc import Iterable

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_SYNCHRONOUS: Final = 16
MS_REMOUNT: Final = 32
MS_MANDLOCK: Final = 64
MS_DIRSYNC: Final = 128
MS_NOSYMFOLLOW: Final = 256
MS_NOATIME: Final = 1024
MS_NODIRATIME: Final = 2048
MS_BIND: Final = 4096
MS_MOVE: Final = 8192
MS_REC: Final = 16384
MS_SILENT: Final = 1 << 15
MS_UNBINDABLE: Final = 1 << 17
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20
MS_RELATIME: Final = 1 << 21
MS_I_VERSION: Final = 1 << 23
MS_STRICTATIME: Final = 1 << 24
MS_LAZYTIME: Final = 1 << 25

MNT_DETACH: Final = 2

DATA_BYTES: Final = 4096
"""mount(2) takes fewer bytes of a file system's own options."""

MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8
MOUNT_ATTR_ATIME: Final = 0x70
"""The mask of the next three, of which one holds."""
MOUNT_ATTR_RELATIME: Final = 0x00
MOUNT_ATTR_NOATIME: Final = 0x10
MOUNT_ATTR_STRICTATIME: Final = 0x20
MOUNT_ATTR_NODIRATIME: Final = 0x80
MOUNT_ATTR_IDMAP: Final = 0x100000
MOUNT_ATTR_NOSYMFOLLOW: Final = 0x200000

_FSCONFIG_SET_FLAG: Final = 0
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_CREATE: Final = 6
_FSOPEN_CLOEXEC: Final = 1
_FSMOUNT_CLOEXEC: Final = 1
_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
_MOVE_MOUNT_EMPTY_PATHS: Final = _MOVE_MOUNT_F_EMPTY_PATH | 0x40  # T_EMPTY_PATH


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def mount(source: str | None, target: str, fstype: str | None, flags: int, data: str = "") -> None:
    """See the manual's section 2; `data` has the file system's own options, below 4096 bytes."""
    libc.mount(_bytes(source), _bytes(target), _bytes(fstype), flags, _bytes(data or None))


def make_file_system(fstype: str, options: dict[str, str]) -> None:
    """Whether the kernel would mount it: it is made, mounted nowhere, and gone on return.

    Since kernel 5.2. Raises OSError: why it would not.
    """
    fd = libc.syscall(libc.SYS_fsopen, os.fsencode(fstype), _FSOPEN_CLOEXEC)
    try:
        for key, value in options.items():
            _configure(fd, key, value)
        libc.syscall(libc.SYS_fsconfig, fd, _FSCONFIG_CMD_CREATE, None, None, 0)
    finally:
        os.close(fd)


def mount_overlay(target: str, options: Iterable[str]) -> None:
    """An overlay of more directories than mount(2) has room for. Since kernel 6.7.

    `options` are as in mount(2); a path may have 255 bytes. Raises OSError with EINVAL before 6.7.
    """
    fd = libc.syscall(libc.SYS_fsopen, b"overlay", _FSOPEN_CLOEXEC)
    try:
        for option in options:
            key, _, value = option.partition("=")
            if key == "lowerdir":
                for lower in value.split(":"):
                    _configure(fd, "lowerdir+", lower)
            else:
                _configure(fd, key, value)
        libc.syscall(libc.SYS_fsconfig, fd, _FSCONFIG_CMD_CREATE, None, None, 0)
        made = libc.syscall(libc.SYS_fsmount, fd, _FSMOUNT_CLOEXEC, 0)
    finally:
        os.close(fd)
    try:
        place = (_AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
        libc.syscall(libc.SYS_move_mount, made, b"", *place)
    finally:
        os.close(made)


def _configure(fd: int, key: str, value: str) -> None:
    command = _FSCONFIG_SET_STRING if value else _FSCONFIG_SET_FLAG
    given = os.fsencode(value) if value else None
    libc.syscall(libc.SYS_fsconfig, fd, command, os.fsencode(key), given, 0)


def fd_path(descriptor: int) -> str:
    """A path that names what an open descriptor refers to, for calls that take no descriptor."""
    return f"/proc/self/fd/{descriptor}"


def detach(target: str) -> None:
    """Unmount lazily, with everything mounted below."""
    libc.umount2(os.fsencode(target), MNT_DETACH)


def pivot_root(new_root: str, put_old: str) -> None:
    libc.syscall(libc.SYS_pivot_root, os.fsencode(new_root), os.fsencode(put_old))


def clone_tree(path: str, *, recursive: bool) -> int:
    """A bind mount of `path` that is attached nowhere yet. Close-on-exec. Since kernel 5.2.

    It keeps the propagation of the mount it is of.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    return libc.syscall(libc.SYS_open_tree, _AT_FDCWD, os.fsencode(path), flags)


def attach(tree: int, target: int) -> None:
    """Mount what `clone_tree` gave on what the descriptor `target` refers to. Since 5.2."""
    libc.syscall(libc.SYS_move_mount, tree, b"", target, b"", _MOVE_MOUNT_EMPTY_PATHS)


def read_only_copy(path: str) -> int:
    """A descriptor of a file that cannot be opened for writing through it, or below it.

    It is on a detached, read-only clone of the file's mount. Since kernel 5.12.
    """
    fd = clone_tree(path, recursive=False)
    set_attributes(fd, MOUNT_ATTR_RDONLY, recursive=False)
    return fd


class _MountAttr(ctypes.Structure):
    """``struct mount_attr`` of linux/mount.h."""

    _fields_ = [
        (name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")
    ]


def set_attributes(
    descriptor: int,
    attr_set: int,
    *,
    recursive: bool,
    clear: int = 0,
    propagation: int = 0,
) -> None:
    """mount_setattr(2) on the mount an O_PATH descriptor is on. Since kernel 5.12."""
    attr = _MountAttr(attr_set=attr_set, attr_clr=clear, propagation=propagation)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    libc.syscall(
        libc.SYS_mount_setattr,
        descriptor,
        b"",
        flags,
        ctypes.byref(attr),
        ctypes.sizeof(attr),
    )


def map_ids(tree: int, user_namespace: int, *, recursive: bool) -> None:
    """Show the files of a mount that is attached nowhere yet under the ids of a user namespace.

    Since kernel 5.12; file systems joined one by one (overlay's layers: 5.19).
    """
    attr = _MountAttr(attr_set=MOUNT_ATTR_IDMAP, userns_fd=user_namespace)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    libc.syscall(libc.SYS_mount_setattr, tree, b"", flags, ctypes.byref(attr), ctypes.sizeof(attr))
