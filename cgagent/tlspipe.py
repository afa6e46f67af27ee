"""TLS between a TCP connection and one end of a socket pair, moved by one thread for all of them.

Whoever has the other end reads and writes plain bytes on an ordinary descriptor, which can be
polled, half-closed and handed to another process: what ``ssl.SSLSocket`` and asyncio's transports
cannot. Agent and client use it alike; it is imported where TLS is spoken, and nowhere else.

    client <── TCP ──> Pipe <── socket pair ──> whoever speaks HTTP
            close_notify   <──>   half-close
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    Ready = Callable[["Pipe"], "socket.socket | None"]
    """Told when the handshake is done; it has the plain end to use, or None to hang up."""
    Ended = Callable[["Pipe", str], None]
    """Told at the end, with the cause if it is a failure."""

_PIECE: Final = 64 * 1024
_HELD: Final = 128 * 1024
"""No more is taken in, either way, than this much that has not gone out."""
_LINGER_S: Final = 10.0
_TICK_S: Final = 1.0


class Pipe:
    """One connection. It belongs to the pump's thread once it was added."""

    def __init__(self, tcp: socket.socket, tls: ssl.SSLContext, ready: Ready, ended: Ended) -> None:
        """`tls` of an agent asks for no server's name; a client wraps with `for_server`."""
        self._start(tcp, ready, ended)
        self.tls = tls.wrap_bio(self._in, self._out, server_side=True)

    @classmethod
    def for_server(
        cls, tcp: socket.socket, tls: ssl.SSLContext, name: str, ready: Ready, ended: Ended
    ) -> Pipe:
        """The client's side; `name` is what the server's certificate is to be for."""
        self = cls.__new__(cls)
        self._start(tcp, ready, ended)
        self.tls = tls.wrap_bio(self._in, self._out, server_hostname=name)
        return self

    def _start(self, tcp: socket.socket, ready: Ready, ended: Ended) -> None:
        tcp.setblocking(False)
        self.tcp = tcp
        self.plain: socket.socket | None = None
        self.since = time.monotonic()
        self.address = str(_peer_of(tcp))
        self._ready = ready
        self._ended = ended
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._to_tcp = bytearray()
        self._to_plain = bytearray()
        self._tcp_ended = False
        self._peer_ended = False  # by close_notify
        self._plain_ended = False
        self._plain_gone = False
        self._told_peer = self._told_plain = False
        self._is_cut = False  # the peer has ended without a close_notify
        self.fds: set[int] = set()
        """Those that the pump waits for."""
        self.is_over = False
        self._deadline = float("inf")

    @property
    def is_shaken(self) -> bool:
        return self.plain is not None

    # -- moving ------------------------------------------------------------------------------

    def move(self, *, hangup: bool = False) -> None:
        """Take and give what can be at the moment. `hangup`: nobody has the plain end's other."""
        try:
            self._plain_gone = self._plain_gone or hangup
            self._receive()
            if self.plain is None:
                self._shake()
            if self.plain is not None:
                self._inward()
            if self.plain is not None and not self.is_over:
                self._outward()
            if not self.is_over:
                self._flush()
                self._conclude()
        except (ssl.SSLError, OSError) as e:
            self._fail(e)

    def _receive(self) -> None:
        while not self._tcp_ended and self._in.pending < _HELD:
            try:
                data = self.tcp.recv(_PIECE)
            except BlockingIOError:
                return
            if data:
                self._in.write(data)
            else:
                self._tcp_ended = True
                self._in.write_eof()

    def _shake(self) -> None:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.plain = self._ready(self)
        if self.plain is None:
            self.close()
            return
        self.plain.setblocking(False)

    def _inward(self) -> None:
        """From the peer to the plain end, until nothing more comes or goes."""
        while True:
            has_more = self._decrypt()
            self._give()
            if self._to_plain or not has_more:
                break
        if self._peer_ended and not self._to_plain and not self._told_plain:
            self._told_plain = True
            if self._is_cut:
                self.close("the other end hung up")
            elif self.plain is not None and not self._plain_gone:
                self.plain.shutdown(socket.SHUT_WR)

    def _decrypt(self) -> bool:
        """Whether there is more to be decrypted."""
        while not self._peer_ended:
            if len(self._to_plain) >= _HELD:
                return True
            try:
                data = self.tls.read(_PIECE)
            except ssl.SSLWantReadError:
                return False
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLEOFError:
                data, self._is_cut = b"", True
            self._to_plain += data
            self._peer_ended = not data
        return False

    def _give(self) -> None:
        if self.plain is None or self._plain_gone:
            self._to_plain.clear()
        while self._to_plain and self.plain is not None:
            try:
                del self._to_plain[: self.plain.send(self._to_plain)]
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                self._plain_gone = True
                self._to_plain.clear()

    def _outward(self) -> None:
        """From the plain end to the peer; all that is left where it has hung up."""
        while not self._plain_ended and self.plain is not None:
            if len(self._to_tcp) + self._out.pending >= _HELD and not self._plain_gone:
                return
            try:
                data = self.plain.recv(_PIECE)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data = b""
            if data:
                self.tls.write(data)
            else:
                self._plain_ended = True
        if not self._told_peer and not self._in.pending:
            # It writes close_notify, and asks for the peer's at once: nothing may be unread then.
            self._told_peer = True
            try:
                self.tls.unwrap()
            except (ssl.SSLWantReadError, ssl.SSLSyscallError):
                pass
            except ssl.SSLError:
                if not self._peer_ended:
                    raise

    def _flush(self) -> None:
        if self._out.pending:
            self._to_tcp += self._out.read()
        while self._to_tcp:
            try:
                del self._to_tcp[: self.tcp.send(self._to_tcp)]
            except BlockingIOError:
                return

    # -- its end -----------------------------------------------------------------------------

    def _conclude(self) -> None:
        done_out = self._plain_ended and not self._to_tcp
        done_in = self._peer_ended and not self._to_plain
        if done_out and (done_in or self._plain_gone):
            self.close()
        elif self._plain_gone and self._deadline == float("inf"):
            self._deadline = time.monotonic() + _LINGER_S

    def _fail(self, error: Exception) -> None:
        with contextlib.suppress(OSError):  # an alert that says why
            self._flush()
        self.close(cause(error))

    def close(self, why: str = "") -> None:
        """Hang up at both ends."""
        if self.is_over:
            return
        self.is_over = True
        self.tcp.close()
        if self.plain is not None:
            self.plain.close()
        self._ended(self, why)

    def is_overdue(self, now: float, handshake_s: float) -> bool:
        return now > (self._deadline if self.is_shaken else self.since + handshake_s)

    # -- what it waits for -------------------------------------------------------------------

    def interests(self) -> list[tuple[int, int | None]]:
        """Each descriptor with the events of epoll that it waits for; None: it is not watched.

        A hang-up is told whatever is waited for, again and again.
        """
        full = len(self._to_plain) >= _HELD or self._in.pending >= _HELD
        tcp = 0 if self._tcp_ended or full else select.EPOLLIN
        tcp |= select.EPOLLOUT if self._to_tcp else 0
        found: list[tuple[int, int | None]] = [(self.tcp.fileno(), tcp or None)]
        if self.plain is not None:
            full = len(self._to_tcp) >= _HELD
            plain = 0 if self._plain_ended or full else select.EPOLLIN
            plain |= select.EPOLLOUT if self._to_plain else 0
            found.append((self.plain.fileno(), None if self._plain_gone else plain))
        return found


def _peer_of(tcp: socket.socket) -> object:
    try:
        return tcp.getpeername()[0]
    except (OSError, IndexError):  # it has gone, or has none
        return ""


def cause(error: Exception) -> str:
    """In a few words, without Python's and OpenSSL's places in their sources."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not taken: {error.verify_message}"
    if isinstance(error, ssl.SSLEOFError):
        return "the other end hung up"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error)


class Pump(threading.Thread):
    """Moves every pipe that was added; `watch` calls something else that has a descriptor."""

    def __init__(self, name: str, handshake_s: float = 10.0) -> None:
        super().__init__(name=name, daemon=True)
        self._handshake_s = handshake_s
        self._epoll = select.epoll()
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._woken, select.EPOLLIN)
        self._calls: deque[Callable[[], None]] = deque()
        self._watched: dict[int, Callable[[], None]] = {}
        self._pipes: dict[int, Pipe] = {}  # by each of their descriptors
        self._masks: dict[int, int] = {}
        self._should_end = False

    # -- from any thread ---------------------------------------------------------------------

    def call(self, what: Callable[[], None]) -> None:
        """In the pump's own thread, soon."""
        self._calls.append(what)
        try:
            os.write(self._waker, b"\0")
        except BlockingIOError:
            return  # it is awake

    def add(self, pipe: Pipe) -> None:
        self.call(lambda: self._moved(pipe))

    def end(self) -> None:
        """Hang up everywhere, and wait for the thread."""
        self._should_end = True
        self.call(lambda: None)
        self.join()

    # -- in its thread -----------------------------------------------------------------------

    def watch(self, sock: socket.socket, call: Callable[[], None]) -> None:
        """`call` when there is something to read."""
        self._watched[sock.fileno()] = call
        self._epoll.register(sock, select.EPOLLIN)

    def unwatch(self, sock: socket.socket) -> None:
        if self._watched.pop(sock.fileno(), None):
            self._epoll.unregister(sock)

    def watches(self, sock: socket.socket) -> bool:
        return sock.fileno() in self._watched

    def pipes(self) -> list[Pipe]:
        return list(dict.fromkeys(self._pipes.values()))

    def run(self) -> None:
        swept_s = 0.0
        while not self._should_end:
            for fd, events in self._epoll.poll(_TICK_S):
                self._handle(fd, events)
            while self._calls:
                self._calls.popleft()()
            now = time.monotonic()
            if now - swept_s >= _TICK_S:
                swept_s = now
                self.sweep(now)
        for pipe in self.pipes():
            pipe.close()
        self._epoll.close()
        os.close(self._woken)
        os.close(self._waker)

    def sweep(self, now: float) -> None:
        """Hang up where a handshake or the rest of an answer takes too long."""
        for pipe in self.pipes():
            if pipe.is_overdue(now, self._handshake_s):
                what = "the rest was not taken" if pipe.is_shaken else "it made no TLS handshake"
                self.drop(pipe, f"{what} in time")

    def drop(self, pipe: Pipe, why: str) -> None:
        pipe.close(why)
        self._forget(pipe)

    def _handle(self, fd: int, events: int) -> None:
        if fd == self._woken:
            os.read(self._woken, _PIECE)
        elif fd in self._watched:
            self._watched[fd]()
        elif (pipe := self._pipes.get(fd)) is not None:
            is_plain = pipe.plain is not None and pipe.plain.fileno() == fd
            self._moved(pipe, hangup=is_plain and bool(events & select.EPOLLHUP))

    def _moved(self, pipe: Pipe, *, hangup: bool = False) -> None:
        """Move it, and wait for what it waits for then."""
        pipe.move(hangup=hangup)
        if pipe.is_over:
            self._forget(pipe)
            return
        for fd, mask in pipe.interests():
            self._wait_for(pipe, fd, mask)

    def _wait_for(self, pipe: Pipe, fd: int, mask: int | None) -> None:
        known = self._masks.get(fd)
        if mask is None:
            if known is not None:
                self._epoll.unregister(fd)
                del self._masks[fd]
            return
        if known is None:
            self._epoll.register(fd, mask)
        elif known != mask:
            self._epoll.modify(fd, mask)
        self._masks[fd] = mask
        self._pipes[fd] = pipe
        pipe.fds.add(fd)

    def _forget(self, pipe: Pipe) -> None:
        """A descriptor that is closed has left epoll by itself."""
        for fd in pipe.fds:
            self._pipes.pop(fd, None)
            self._masks.pop(fd, None)
