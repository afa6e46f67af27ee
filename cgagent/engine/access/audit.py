"""The log of changes: a JSON line for each in ``audit.log`` of the data root, and in the journal.

It is bounded: a file that is full becomes ``audit.log.1`` and so on, and the oldest is deleted.
Nobody pushes out what is in it by being refused: so many refusals of one caller a minute are told.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cgagent.runtime.logs.journald import JOURNAL_SOCKET, field

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_MOST_BYTES: Final = 16 << 20
_FILES: Final = 4
_REFUSALS: Final = 60
_PERIOD_S: Final = 60.0


class Audit:
    """`path` of the file, which is made when there is something to tell. One thread at a time."""

    def __init__(
        self, path: Path, *, journal: str = JOURNAL_SOCKET, most_bytes: int = _MOST_BYTES
    ) -> None:
        self._path = path
        self._journal = journal
        self._most_bytes = most_bytes
        self._began_s = -_PERIOD_S
        self._refusals: dict[str, int] = {}
        self._left_out = 0

    def refused(self, who: str, **entry: Any) -> None:
        """Tell of a request that was not let in, unless there were many of `who` in this minute."""
        now = time.monotonic()
        if now - self._began_s >= _PERIOD_S:
            self._began_s = now
            self._left_out = sum(max(0, count - _REFUSALS) for count in self._refusals.values())
            self._refusals.clear()
        count = self._refusals[who] = self._refusals.get(who, 0) + 1
        if count > _REFUSALS:
            return
        if self._left_out:
            entry["left_out_before"], self._left_out = self._left_out, 0
        self.tell(**entry)

    def tell(self, **entry: Any) -> None:
        """One line. It is not told twice, and an entry that cannot be written holds nothing up."""
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": when, **entry}, separators=(",", ":")).encode() + b"\n"
        try:
            self._write(line)
        except OSError as e:
            log.warning("%s cannot be written: %s; the entry was %s", self._path, e.strerror, line)
        self._tell_journal(line)

    def _write(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._path, flags, 0o600)
        try:
            size = os.fstat(fd).st_size
            if os.write(fd, line) < len(line):
                os.ftruncate(fd, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(fd)
        if size + len(line) > self._most_bytes:
            self._rotate()

    def _rotate(self) -> None:
        for number in range(_FILES - 1, 0, -1):
            older = f"{self._path}.{number - 1}" if number > 1 else self._path
            if os.path.exists(older):
                os.rename(older, f"{self._path}.{number}")

    def _tell_journal(self, line: bytes) -> None:
        if not os.path.exists(self._journal):
            return
        message = (
            field("MESSAGE", line.rstrip(b"\n"))
            + field("PRIORITY", b"5")
            + field("SYSLOG_IDENTIFIER", b"cgagent-audit")
        )
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(message, self._journal)
        except OSError as e:
            log.warning("the journal does not take an entry of the log of changes: %s", e.strerror)
