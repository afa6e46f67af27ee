"""Opening and making paths inside a root that hostile hands may have filled with symlinks.

openat2(2) with RESOLVE_IN_ROOT (since kernel 5.6) treats a descriptor as ``/``: absolute links
and ``..`` cannot leave it, and no /proc magic link is followed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from typing import Final

from cgagent.kernel import libc

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10
_PATH_MAX: Final = 4096


class _OpenHow(ctypes.Structure):
    """``struct open_how`` of linux/openat2.h."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "mode", "resolve")]


def open_in_root(root_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """openat2 `path` as a process chrooted to `root_fd` would see it. Close-on-exec."""
    return openat2(root_fd, path, flags, mode, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def openat2(directory: int, path: str | bytes, flags: int, mode: int = 0, *, resolve: int) -> int:
    """The system call itself. Close-on-exec."""
    how = _OpenHow(flags=flags | os.O_CLOEXEC, mode=mode, resolve=resolve)
    return libc.syscall(
        libc.SYS_openat2, directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)
    )


def open_beneath(
    directory: int, path: str, flags: int, *, resolve: int = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
) -> int:
    """Opens `path`, which may have any length, below the directory. Close-on-exec.

    A container can nest directories without end, and openat2 takes 4,095 bytes.
    """
    rest = os.fsencode(path.strip("/")) or b"."
    reached = os.dup(directory)
    try:
        while len(rest) >= _PATH_MAX:
            cut = rest.rindex(b"/", 0, _PATH_MAX)
            inner = openat2(reached, rest[:cut], os.O_PATH | os.O_DIRECTORY, resolve=resolve)
            os.close(reached)
            reached, rest = inner, rest[cut + 1 :]
        return openat2(reached, rest, flags, resolve=resolve)
    finally:
        os.close(reached)


def ensure_directory(root_fd: int, path: str, mode: int = 0o755) -> int:
    """An O_PATH descriptor of the directory `path` in the root, made with its parents if missing.

    Raises:
        NotADirectoryError: something else is in the way.
    """
    try:
        return open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        if path.strip("/") == "":
            raise
    parent, name = os.path.split(path.rstrip("/"))
    parent_fd = ensure_directory(root_fd, parent or "/", mode)
    try:
        os.mkdir(name, mode, dir_fd=parent_fd)
    except FileExistsError as e:  # a dangling symlink: refuse it, do not make what it points to
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from e
    finally:
        os.close(parent_fd)
    return open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY)


def ensure_file(root_fd: int, path: str) -> int:
    """An O_PATH descriptor of the non-directory `path` in the root, made empty if missing."""
    try:
        found = open_in_root(root_fd, path, os.O_PATH)
    except FileNotFoundError:
        _make_file(root_fd, path)
        found = open_in_root(root_fd, path, os.O_PATH)
    if stat.S_ISDIR(os.fstat(found).st_mode):
        os.close(found)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return found


def _make_file(root_fd: int, path: str) -> None:
    """A dangling link there is left alone: what it points to is not made."""
    parent, name = os.path.split(path)
    parent_fd = ensure_directory(root_fd, parent or "/")
    try:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=parent_fd))
    finally:
        os.close(parent_fd)
