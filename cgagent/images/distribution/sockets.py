"""Sockets that stop waiting when nobody waits for what they would bring.

A thread says with `stopping` which event ends its waiting. urllib3's connections and pools are
given our sockets here; everything else of them is theirs.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from http.client import HTTPResponse, RemoteDisconnected
from typing import TYPE_CHECKING, Any, Final, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from cgagent.concurrency import StoppedError

if TYPE_CHECKING:
    import io
    import threading
    from collections.abc import Iterator

CONNECT_S: Final = 10.0
SILENCE_S: Final = 30.0
"""Of the other end, within an answer or before it."""
SLOW_BYTES_S: Final = 1024
SLOW_WINDOW_S: Final = 60.0
"""A connection that brings or takes less in so long a waiting is given up."""
_LOOK_MS: Final = 100
_BLOCK_BYTES: Final = 1 << 18

# It is told once, by `cgagent registries`, which hosts are not verified.
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

_stop: ContextVar[threading.Event | None] = ContextVar("stop", default=None)


@contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """In this block reads and writes raise StoppedError soon after `stop` is set."""
    outer = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(outer)


def check_stopped() -> None:
    """Raises StoppedError."""
    stop = _stop.get()
    if stop is not None and stop.is_set():
        raise StoppedError


def pause(seconds: float) -> None:
    """Sleep. Raises StoppedError soon after the end of the waiting."""
    stop = _stop.get()
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        raise StoppedError


class TooSlowError(TimeoutError):
    """The other end is not silent, but so slow that it would hold up its reader for ever."""


class _Pace:
    """How much the other end sends of an answer, or takes of a request, in the time waited for it.

    The wait for the first byte is bounded by `SILENCE_S` and does not count.
    """

    def __init__(self) -> None:
        self._event = 0
        self._begin()

    def _begin(self) -> None:
        self._waited_s = 0.0
        self._moved_bytes = 0

    def waited(self, event: int, seconds: float) -> None:
        """Raises TooSlowError."""
        if event != self._event:
            self._event = event
            self._begin()
            return
        self._waited_s += seconds
        if self._waited_s < SLOW_WINDOW_S:
            return
        if self._moved_bytes < SLOW_BYTES_S * self._waited_s:
            raise TooSlowError("too slow")
        self._begin()

    def moved(self, count: int) -> int:
        self._moved_bytes += count
        return count


def _until_ready(sock: PlainSocket | TlsSocket, event: int, timeout_s: float | None) -> None:
    began_s = time.monotonic()
    poller = select.poll()
    poller.register(sock, event)
    deadline_s = None if timeout_s is None else began_s + timeout_s
    check_stopped()
    while not poller.poll(_LOOK_MS):
        check_stopped()
        if deadline_s is not None and time.monotonic() > deadline_s:
            raise TimeoutError("timed out")
    sock.pace.waited(event, time.monotonic() - began_s)


class PlainSocket(socket.socket):
    @cached_property
    def pace(self) -> _Pace:
        return _Pace()

    @classmethod
    def of(cls, plain: socket.socket) -> PlainSocket:
        timeout_s = plain.gettimeout()
        own = cls(plain.family, plain.type, plain.proto, plain.detach())
        own.settimeout(timeout_s)
        return own

    def recv_into(self, *args: Any) -> int:
        _until_ready(self, select.POLLIN, self.gettimeout())
        return self.pace.moved(super().recv_into(*args))

    def sendall(self, data: Any, *args: Any) -> None:
        view = memoryview(data).cast("B")
        while view:
            _until_ready(self, select.POLLOUT, self.gettimeout())
            view = view[self.pace.moved(self.send(view, *args)) :]


class TlsSocket(ssl.SSLSocket):
    @cached_property
    def pace(self) -> _Pace:
        return _Pace()

    def recv_into(self, *args: Any, **more: Any) -> int:
        if not self.pending():
            _until_ready(self, select.POLLIN, self.gettimeout())
        return self.pace.moved(super().recv_into(*args, **more))

    def send(self, *args: Any) -> int:
        _until_ready(self, select.POLLOUT, self.gettimeout())
        return self.pace.moved(super().send(*args))

    def do_handshake(self, block: bool = False) -> None:
        timeout_s = self.gettimeout()
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        self.settimeout(0)
        try:
            while True:
                left_s = None if deadline_s is None else deadline_s - time.monotonic()
                try:
                    super().do_handshake(block)
                except ssl.SSLWantReadError:
                    _until_ready(self, select.POLLIN, left_s)
                except ssl.SSLWantWriteError:
                    _until_ready(self, select.POLLOUT, left_s)
                else:
                    return
        finally:
            self.settimeout(timeout_s)


class _HeadLines:
    """The lines of an answer's head; http.client takes one that is cut off for a short one."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self.close = file.close
        self.flush = file.flush

    def readline(self, limit: int) -> bytes:
        line = self._file.readline(limit)
        if len(line) < limit and not line.endswith(b"\n"):
            raise RemoteDisconnected("the answer ends within its head")
        return line


class _Answer(HTTPResponse):
    def begin(self) -> None:
        file = self.fp
        self.fp = cast("io.BufferedReader", _HeadLines(file))
        super().begin()
        if self.fp is not None:
            self.fp = file


class _HttpConnection(HTTPConnection):
    response_class = _Answer

    def _new_conn(self) -> socket.socket:
        return PlainSocket.of(super()._new_conn())


class _HttpsConnection(HTTPSConnection):
    response_class = _Answer

    def _new_conn(self) -> socket.socket:
        return PlainSocket.of(super()._new_conn())


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


def pools(
    context: ssl.SSLContext | None, proxy: str | None, *, connections: int
) -> urllib3.PoolManager:
    """Connections, kept until it is cleared; `context` is for https."""
    options: dict[str, Any] = {
        "maxsize": connections,
        "retries": False,
        "timeout": urllib3.Timeout(connect=CONNECT_S, read=SILENCE_S),
        "blocksize": _BLOCK_BYTES,
        "ssl_context": context,
    }
    made: urllib3.PoolManager
    if proxy is None:
        made = urllib3.PoolManager(**options)
    else:
        made = urllib3.ProxyManager(proxy, **options)
    made.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return made
