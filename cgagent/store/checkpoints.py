"""Moving what the database's log has into its file, in a thread of its own.

SQLite does it at a commit, once the log has a thousand pages, and waits for the disk twice: where
somebody else is writing a lot that is a second or two, in which nobody who needs the database gets
on, the event loop among them. A second connection does the same beside readers and writers.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_CHANGES: Final = 500
"""Rows that are written between two: about 4 MiB of the log."""
_PASSES: Final = 3
"""What was written during the first is little for the second."""
_MANY_PAGES: Final = 10_000
"""A log that has more, since nobody pauses, is moved while writers wait."""
_BESIDE: Final = "PRAGMA wal_checkpoint(PASSIVE)"
_WHOLE: Final = "PRAGMA wal_checkpoint(FULL)"


class Checkpoints:
    """`path` is the database's. Its owner calls `wrote` after each commit, with its lock held."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done_at = 0
        self._thread: threading.Thread | None = None

    def wrote(self, changes: int) -> None:
        """`changes` are all rows that the connection has ever written."""
        if changes < self._done_at:
            self._done_at = 0  # another connection
        if changes - self._done_at < _CHANGES or (self._thread and self._thread.is_alive()):
            return
        self._done_at = changes
        self._thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with contextlib.closing(sqlite3.connect(self._path)) as connection:
                pages = 0
                for _ in range(_PASSES):
                    _, pages, moved = connection.execute(_BESIDE).fetchone()
                    if pages == moved:
                        return  # the next commit writes the log from its beginning
                if pages > _MANY_PAGES:
                    connection.execute(_WHOLE).fetchone()
        except sqlite3.Error as e:  # a full disk, say: the log grows until the next one
            log.warning("database %s: its log cannot be moved into it: %s", self._path, e)

    def close(self) -> None:
        """Wait until none goes on."""
        if self._thread is not None:
            self._thread.join()
