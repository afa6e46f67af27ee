"""syncfs(2), which may take seconds: other threads go on meanwhile."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_libc: Final = ctypes.CDLL(None, use_errno=True)  # not PyDLL: the interpreter's lock is let go


def sync_file_system(path: Path) -> None:
    """Everything written so far to the file system that the directory is on is on disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(fd) == -1:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(fd)
