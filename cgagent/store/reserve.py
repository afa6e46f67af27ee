"""A little room on the disk of the data root that is given up when the disk is full.

What must be written even then, such as the end of a container, takes it; ending and removing
containers is how room comes back. The file is made again when there is enough of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_BYTES: Final = 1 << 20
_SCARCE_BYTES: Final = 256 << 10
_PLENTY_BYTES: Final = 8 * _BYTES


class Reserve:
    """`path` is on the disk in question; its directory is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_held = path.exists()

    def settle(self) -> None:
        """Make the file where there is plenty of room. Called before each write: 2 us."""
        if not self._is_held and self.free_bytes() > _PLENTY_BYTES:
            self._make()

    def release(self) -> None:
        """Give the room up if there is hardly any other."""
        if self._is_held and self.free_bytes() < _SCARCE_BYTES:
            self._path.unlink(missing_ok=True)
            self._is_held = False

    def free_bytes(self) -> int:
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize

    def _make(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, _BYTES)
            self._is_held = True
        except OSError:  # it filled up just now, or a quota forbids it
            self._path.unlink()
        finally:
            os.close(fd)
