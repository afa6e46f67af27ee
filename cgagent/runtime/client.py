"""One attached client: a socket taken over from the API, and the frames that go over it.

Framed as Docker does: one byte stream number, three zero bytes, four bytes length (big-endian),
payload. What the client sends is the container's standard input, raw, until it shuts down its
writing half. A client that reads slowly slows the container down, as a pipe would.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Final

from cgagent.runtime.detach import Watcher
from cgagent.runtime.protocol import STATUS

HIGH_WATER: Final = 1024 * 1024
"""With more than this waiting for a client, its container's output is not read for a while."""

_HEADER_BYTES: Final = 8


def frame(stream: int, payload: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


def read_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """A stream, its payload, and what comes after it; None: it is not complete yet."""
    size = int.from_bytes(data[4:8], "big")
    if len(data) < _HEADER_BYTES + size or len(data) < _HEADER_BYTES:
        return None
    end = _HEADER_BYTES + size
    return data[0], data[_HEADER_BYTES:end], data[end:]


class Client:
    __slots__ = (
        "_detach",
        "_out",
        "_sock",
        "closing",
        "gone",
        "raw",
        "reads_done",
        "status",
        "streams",
        "tail",
    )

    def __init__(
        self,
        fd: int,
        *,
        streams: frozenset[int],
        raw: bool,
        status: bool,
        tail: bytes,
        detach_keys: bytes = b"",
    ) -> None:
        """Take the socket `fd` over.

        `streams` has the numbers wanted (STDIN: its input is taken); `status`: at the end a STATUS
        frame is sent; `tail`: input that the API had already read from the socket; `detach_keys`:
        input that ends the session.
        """
        self._sock = socket.socket(fileno=fd)
        self._sock.setblocking(False)
        self._out = bytearray()
        self.streams = streams
        self.raw = raw
        self.status = status
        self.tail = tail
        self._detach = Watcher(detach_keys) if detach_keys else None
        self.reads_done = False
        self.closing = False
        self.gone = False

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def pending(self) -> int:
        return len(self._out)

    def output(self, stream: int, data: bytes) -> None:
        """Queue a piece of output and send what the socket takes."""
        if stream in self.streams and not self.gone and not self.closing:
            self._out += data if self.raw else frame(stream, data)
            self.flush()

    def finish(self, status: dict[str, Any]) -> None:
        """Nothing more will come: after what is queued, close."""
        if self.status and not self.raw and not self.gone:
            self._out += frame(STATUS, json.dumps(status).encode())
        self.closing = True
        self.flush()

    def flush(self) -> None:
        while self._out and not self.gone:
            try:
                sent = self._sock.send(self._out[: 256 * 1024], socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError:
                self.gone = True
                return
            del self._out[:sent]
        if self.closing:
            self.gone = True

    def receive(self) -> bytes | None:
        """Some input; empty at its end; None if there is none now.

        With the keys to detach in it, the session is finished.
        """
        data = self._read()
        if not data or self._detach is None:
            return data
        data = self._detach.pass_on(data)
        if self._detach.found:
            self.reads_done = True
            self.finish({"detached": True})
        return data or None

    def _read(self) -> bytes | None:
        if self.tail:
            data, self.tail = self.tail, b""
            return data
        try:
            data = self._sock.recv(64 * 1024)
        except BlockingIOError:
            return None
        except OSError:
            self.gone = True
            data = b""
        if not data:
            self.reads_done = True
        return data

    def close(self) -> None:
        """Close without a reset: input that nobody took is read away first."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
            while self._sock.recv(64 * 1024):
                continue
        except OSError:  # already gone, or nothing more to read away
            pass
        self._sock.close()
