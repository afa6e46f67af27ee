"""One attached client: a socket taken over from the API, and the frames that go over it.

Framed as Docker does: one byte stream number, three zero bytes, four bytes length (big-endian),
payload. What the client sends is the container's standard input, raw, until it shuts down its
writing half. A client that reads slowly slows the container down, as a pipe would.

What is to be sent waits in a memfd, whose position is what the socket has taken (`sendfile` moves
both at once); input is spliced from the socket. Both are the keeper's as well, so that the client
does not notice when the supervisor is killed: no byte is lost or comes twice, in either direction.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final

from cgagent.kernel import descriptors, pipes
from cgagent.messages.record import encode
from cgagent.runtime.messages.outcomes import Status
from cgagent.runtime.protocol import STATUS, STDERR
from cgagent.runtime.supervisor.detach import Watcher

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.runtime.messages.held import HeldClient
    from cgagent.runtime.supervisor.holdings import Holding

HIGH_WATER: Final = 1024 * 1024
"""With more than this queued for a client its container's output is not read until all is sent, or
the client is cut off: see `cgagent.runtime.supervisor.stdio`."""
_CHUNK: Final = 64 * 1024
_KEYS: Final = 2048  # with some held back still less than PIPE_BUF

_HEADER_BYTES: Final = 8


def frame(stream: int, payload: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


def piece(stream: int, data: bytes, *, raw: bool) -> bytes:
    return data if raw else frame(stream, data)


def hold(
    held: Holding[HeldClient],
    sock: int,
    client: HeldClient,
    tail: int | None = None,
    past: Iterable[tuple[int, bytes]] = (),
) -> None:
    """Make the entry of a client; `tail`: a file with input that was read from the socket.

    `past`: output by stream that it is sent before any other.
    """
    os.set_blocking(sock, False)
    fds = {"sock": sock, "out": os.memfd_create("client", os.MFD_CLOEXEC)}
    position = 0
    for stream, data in past:
        if stream in client.streams:
            position += os.pwrite(fds["out"], piece(stream, data, raw=client.raw), position)
    if tail is not None:
        os.lseek(tail, 0, os.SEEK_SET)
        fds["tail"] = tail
    held.put(client, fds)


def read_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """A stream, its payload, and what comes after it; None: it is not complete yet."""
    size = int.from_bytes(data[4:8], "big")
    if len(data) < _HEADER_BYTES + size or len(data) < _HEADER_BYTES:
        return None
    end = _HEADER_BYTES + size
    return data[0], data[_HEADER_BYTES:end], data[end:]


class Client:
    """A holding made by `hold`, perhaps of a predecessor's."""

    __slots__ = (
        "_detach",
        "_held",
        "_queued",
        "_sent",
        "closing",
        "gone",
        "raw",
        "reads_done",
        "stays",
        "streams",
    )

    def __init__(self, held: Holding[HeldClient]) -> None:
        self._held = held
        self.streams = frozenset(held.value.streams)
        self.raw = held.value.raw
        self.stays = held.value.stay
        keys = held.value.detach_keys.encode("ascii")
        self._detach = Watcher(keys) if keys else None
        self._queued, self._sent = self._counts()
        self.reads_done = False
        self.gone = False
        self.closing = held.value.closing
        if held.value.last is not None:
            self.finish(held.value.last)

    @property
    def name(self) -> str:
        return self._held.name

    def fileno(self) -> int:
        return self._held.fds["sock"]

    def _counts(self) -> tuple[int, int]:
        out = self._held.fds["out"]
        queued, sent = os.fstat(out).st_size, os.lseek(out, 0, os.SEEK_CUR)
        if sent > queued:  # killed when it began anew
            os.lseek(out, 0, os.SEEK_SET)
            sent = 0
        return queued, sent

    @property
    def pending(self) -> int:
        """Bytes to be sent."""
        return self._queued - self._sent

    @property
    def sent(self) -> int:
        """Of what is `queued`."""
        return self._sent

    @property
    def queued(self) -> int:
        """Grows with each `output`, until all is sent."""
        return self._queued

    def output(self, stream: int, data: bytes, before: int | None = None) -> None:
        """Queue a piece of output; `flush` sends it.

        `before`: what was queued before this piece, of which a predecessor may have queued a part.
        """
        if stream not in self.streams or self.gone or self.closing:
            return
        wanted = piece(stream, data, raw=self.raw)
        self._queue(wanted if before is None else wanted[self._queued - before :])

    def _queue(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = os.pwrite(self._held.fds["out"], view, self._queued)
            self._queued += count
            view = view[count:]

    def finish(self, status: Status) -> None:
        """Nothing more will come: after what is queued, close, or wait where it `stays`."""
        if self.closing:
            return
        last = self._ending(status)
        if last and not self.gone:
            if self._held.value.last is None:
                self._held.update(last=status, before=self._queued)
            self._queue(last[self._queued - self._held.value.before :])
        self.closing = True
        self._held.update(closing=True, last=None)
        self.flush()

    def _ending(self, status: Status) -> bytes:
        """The last that it is sent, or nothing."""
        if self._held.value.status and not self.raw:
            return frame(STATUS, encode(status))
        if self._held.value.failures and status.error is not None:
            text = f"{status.error.message}\r\n".encode()
            return text if self.raw else frame(STDERR, text)
        return b""

    def flush(self) -> None:
        """Send what the socket takes."""
        out, sock = self._held.fds["out"], self._held.fds["sock"]
        while self.pending and not self.gone:
            try:
                self._sent += os.sendfile(sock, out, None, self.pending)
            except BlockingIOError:
                return
            except OSError:
                self.gone = True
        if self._queued:
            os.ftruncate(out, 0)  # first: see `_counts`
            os.lseek(out, 0, os.SEEK_SET)
            self._queued = self._sent = 0
        if self.closing and not self.stays:
            self.gone = True

    def give(self, target: int) -> int | None:
        """Move some input into a pipe; how many bytes, 0 at its end, None if there is none now.

        With the keys to detach in it, the session is finished.

        Raises:
            BlockingIOError: the pipe is full.
            BrokenPipeError: nobody reads it.
        """
        try:
            if "tail" in self._held.fds:
                if moved := self._give(self._held.fds["tail"], target):
                    return moved
                self._held.close("tail")
            moved = self._give(self._held.fds["sock"], target)
        except BrokenPipeError:
            raise
        except BlockingIOError:
            if not pipes.has_room(target):
                raise
            return None
        except OSError:
            self.gone = True
            moved = 0
        if not moved:
            self.reads_done = True
        return moved

    def _give(self, source: int, target: int) -> int:
        if self._detach is None:
            return os.splice(source, target, _CHUNK, flags=os.SPLICE_F_NONBLOCK)
        return self._give_keys(self._detach, source, target)

    def _give_keys(self, watcher: Watcher, source: int, target: int) -> int:
        if not pipes.has_room(target):
            raise BlockingIOError
        data = self._look(source)
        if not watcher.concerns(data):
            return os.splice(source, target, len(data), flags=os.SPLICE_F_NONBLOCK) if data else 0
        os.read(source, len(data))
        if passed := watcher.pass_on(data):
            os.write(target, passed)
        if watcher.found:
            self.reads_done = True
            self.stays = False
            self.finish(Status(detached=True))
        return len(data)

    def _look(self, source: int) -> bytes:
        if source == self.fileno():
            with descriptors.as_socket(source) as sock:
                return sock.recv(_KEYS, socket.MSG_PEEK)
        return os.pread(source, _KEYS, os.lseek(source, 0, os.SEEK_CUR))

    def discard(self) -> None:
        """Take input away that nobody wants: at its end it tells of a hang-up."""
        try:
            if not os.read(self.fileno(), _CHUNK):
                self.reads_done = True
        except BlockingIOError:
            return
        except OSError:
            self.gone = self.reads_done = True

    def close(self) -> None:
        """Close without a reset: input that nobody took is read away first."""
        with descriptors.as_socket(self.fileno()) as sock, contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(_CHUNK):  # until it would block, or is reset
                continue
        self._held.drop()
