"""Output into systemd's journal, by its native protocol: a datagram an entry.

Lives in the supervisor, one for each run of a container. An entry that the journal cannot take at
the moment is not taken from the caller either; one that it will not take at all is counted.
See https://systemd.io/JOURNAL_NATIVE_PROTOCOL.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
from array import array
from typing import TYPE_CHECKING, Final

from cgagent.errors import UnavailableError
from cgagent.runtime.logs.json_file import MAX_LINE, PIECE_BYTES, Mark, entries
from cgagent.runtime.protocol import STDERR, STDOUT

if TYPE_CHECKING:
    from collections.abc import Mapping

JOURNAL_SOCKET: Final = "/run/systemd/journal/socket"
_PRIORITY: Final = {STDOUT: b"6", STDERR: b"3"}  # info and error, as docker
_LAST_WAIT_MS: Final = 1000
_BUSY: Final = frozenset({errno.EAGAIN, errno.ENOBUFS})


class JournalLog:
    """The writing end. `fields` go with every entry; a successor (`again`) may find no journal."""

    piece_bytes: Final = PIECE_BYTES
    is_full: Final = False

    def __init__(
        self, fields: Mapping[str, str], path: str | None = None, *, again: bool = False
    ) -> None:
        self._path = path or JOURNAL_SOCKET
        self._sock = _connect(self._path, again=again)
        self._fields = b"".join(field(name, value.encode()) for name, value in fields.items())
        self._held: dict[int, bytes] = {}
        self.dropped_bytes = 0

    def fileno(self) -> int:
        """To be watched for writing when `append` took nothing."""
        return self._sock.fileno()

    def mark(self, stream: int) -> Mark:
        return Mark(0, self._held.get(stream, b""))

    def rewind(self, stream: int, mark: Mark) -> None:
        """Only what was held back: entries that were sent stay, and may come twice."""
        self._held[stream] = mark.held

    def rotate(self) -> None:
        """Nothing: the journal keeps itself small."""

    def append(self, stream: int, data: bytes) -> int:
        """Log output; how many bytes were taken: none while the journal is busy."""
        held = self._held.pop(stream, b"")
        text = held + data
        taken = 0
        for entry in entries(text):
            if not entry.endswith(b"\n") and len(entry) < MAX_LINE:  # the last one
                self._held[stream] = entry
            elif not self._send(stream, entry):
                break
            taken += len(entry)
        if taken < len(held):  # not a byte of the new ones
            self._held[stream] = held
            return 0
        return taken - len(held)

    def write(self, stream: int, data: bytes) -> None:
        """Log all of it now; a journal that stays busy for a second does not get the rest."""
        while data:
            taken = self.append(stream, data)
            if not taken and not self._is_ready():
                self.dropped_bytes += len(data)
                return
            data = data[taken:]

    def since(self, *_place: int) -> tuple[tuple[int, bytes], ...]:
        """Nothing: what the journal has is for the journal to show."""
        return ()

    def close(self) -> None:
        for stream, rest in self._held.items():
            if not self._send(stream, rest):
                self._is_ready()
                if not self._send(stream, rest):
                    self.dropped_bytes += len(rest)
        self._held.clear()
        self._sock.close()

    def _is_ready(self) -> bool:
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        return bool(poll.poll(_LAST_WAIT_MS))

    def _send(self, stream: int, entry: bytes) -> bool:
        """False: not now."""
        complete = entry.endswith(b"\n")
        message = (
            field("MESSAGE", entry[:-1] if complete else entry)
            + field("PRIORITY", _PRIORITY[stream])
            + (b"" if complete else field("CONTAINER_PARTIAL_MESSAGE", b"true"))
            + self._fields
        )
        for _ in range(2):
            try:
                self._send_datagram(message)
            except OSError as e:
                if e.errno in _BUSY:
                    return False
                self._reconnect()  # the journal was restarted
            else:
                return True
        self.dropped_bytes += len(entry)
        return True

    def _send_datagram(self, message: bytes) -> None:
        try:
            self._sock.send(message, socket.MSG_NOSIGNAL)
        except OSError as e:
            if e.errno != errno.EMSGSIZE:
                raise
            with open(_sealed(message), "rb") as file:
                fds = array("i", [file.fileno()])
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)]
                self._sock.sendmsg([], ancillary, socket.MSG_NOSIGNAL)

    def _reconnect(self) -> None:
        with contextlib.suppress(OSError):  # the next attempt to send tells
            self._sock.connect(self._path)


def field(name: str, value: bytes) -> bytes:
    """One field of an entry, in the form that any value may have."""
    return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


def _connect(path: str, *, again: bool) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        sock.connect(path)
    except OSError as e:
        if not again:
            sock.close()
            raise UnavailableError(
                f"the journal does not listen at {path} ({e.strerror}); is systemd-journald there?"
            ) from None
    sock.setblocking(False)
    return sock


def _sealed(data: bytes) -> int:
    """A memfd that nobody can change any more: the journal takes no other."""
    fd = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(fd)
        raise
    return fd
