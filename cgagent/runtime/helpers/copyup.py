"""Filling a fresh directory with what the image has there: a volume, a tmpfs (``tmpcopyup``).

Between two descriptors, symlinks copied and never followed.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK: Final = 1 << 30
_ATTRIBUTES: Final = ("user.", "security.capability", "system.posix_acl_")
"""Not trusted.*, which is overlayfs's own, nor labels of the host that the image was made on."""


def copy(source: int, target: int) -> None:
    """Copy a directory's entries, with owners, modes and times, into another directory."""
    source = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=source)
    try:
        with os.scandir(source) as entries:
            for entry in entries:
                _copy_entry(entry.name, source, target)
        _copy_status(os.fstat(source), ".", target)
        _copy_attributes(source, ".", target)
    finally:
        os.close(source)


def _copy_entry(name: str, source: int, target: int) -> None:
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        return
    if stat.S_ISDIR(status.st_mode):
        os.mkdir(name, 0o700, dir_fd=target)
        _copy_directory(name, source, target)
    elif stat.S_ISREG(status.st_mode):
        _copy_file(name, source, target)
    else:
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        _copy_status(status, name, target)


def _copy_directory(name: str, source: int, target: int) -> None:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    below = os.open(name, flags, dir_fd=source)
    try:
        beside = os.open(name, flags, dir_fd=target)
        try:
            copy(below, beside)
        finally:
            os.close(beside)
    finally:
        os.close(below)


def _copy_file(name: str, source: int, target: int) -> None:
    reading = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    writing = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with (
        open(name, "rb", opener=lambda n, _: os.open(n, reading, dir_fd=source)) as old,
        open(name, "wb", opener=lambda n, _: os.open(n, writing, 0o600, dir_fd=target)) as new,
    ):
        while os.sendfile(new.fileno(), old.fileno(), None, _CHUNK):
            continue
        _copy_status(os.fstat(old.fileno()), name, target)
        _copy_attributes(old.fileno(), name, target)


def _copy_status(status: os.stat_result, name: str, target: int) -> None:
    os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)


@contextmanager
def _unsupported_is_left_out() -> Iterator[None]:
    """A tmpfs has no attributes of users before Linux 6.6."""
    try:
        yield
    except OSError as e:
        if e.errno != errno.EOPNOTSUPP:
            raise


def _copy_attributes(source: int, name: str, target: int) -> None:
    """After the owner: a change of it takes a file's capabilities away."""
    names = [n for n in os.listxattr(source) if n.startswith(_ATTRIBUTES)]
    if not names:
        return
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    copy_fd = os.open(name, flags, dir_fd=target)
    try:
        for attribute in names:
            with _unsupported_is_left_out():
                os.setxattr(copy_fd, attribute, os.getxattr(source, attribute))
    finally:
        os.close(copy_fd)
