"""What a full disk looks like to cgagent, whoever was writing. Owns nothing."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgagent.errors import NoSpaceError

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


_MIB: Final = 1 << 20


def no_space(operation: str, path: str | os.PathLike[str]) -> NoSpaceError:
    """`path` is on the file system that is full, or would be if it were there."""
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    return NoSpaceError(
        f"{operation}: the disk is full: the file system of {place} has {_left(place)}; free space "
        "there or move the data root"
    )


def _left(place: Path) -> str:
    """What there is too little of, as free and in total."""
    found = os.statvfs(place)
    bytes_part = found.f_bfree / found.f_blocks if found.f_blocks else 0.0
    if found.f_files and found.f_ffree / found.f_files < bytes_part:  # btrfs counts no inodes
        return f"{found.f_favail} of {found.f_files} inodes left"
    left, size = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    return f"{left // _MIB} of {size // _MIB} MiB left"


@contextmanager
def disk_full_is_no_space(operation: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns ENOSPC and EDQUOT into `NoSpaceError`; any other `OSError` passes through."""
    try:
        yield
    except OSError as e:
        if e.errno not in FULL:
            raise
        raise no_space(operation, path) from e


def sync_directory(path: Path) -> None:
    """What was renamed into it is there after a power cut, too."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
