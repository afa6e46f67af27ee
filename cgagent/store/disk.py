"""What a full disk looks like to cgagent, whoever was writing. Owns nothing."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cgagent.errors import NoSpaceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def no_space(operation: str) -> NoSpaceError:
    return NoSpaceError(f"{operation}: the disk is full; free space there or move the data root")


@contextmanager
def disk_full_is_no_space(operation: str) -> Iterator[None]:
    """Turns ENOSPC and EDQUOT into `NoSpaceError`; any other `OSError` passes through."""
    try:
        yield
    except OSError as e:
        if e.errno not in FULL:
            raise
        raise no_space(operation) from e


def sync_directory(path: Path) -> None:
    """What was renamed into it is there after a power cut, too."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
