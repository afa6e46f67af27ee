"""TCP at [::1]: each connection goes on to the container, and each end's close as well.

A piece of at most 64 KiB waits in each direction; while it does no more is read, so that who reads
slowly holds up only who sends to him. Connections above the bounds wait in the kernel's queue.
"""

from __future__ import annotations

import errno
import selectors
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cgagent.kernel.loop import HANGUP

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.kernel.loop import Loop

CONNECTIONS_EACH: Final = 256
_PIECE_BYTES: Final = 1 << 16
_AT_ONCE: Final = 16
_KEEPALIVE_S: Final = 60
_PENDING: Final = (socket.SOL_SOCKET, socket.SO_ERROR)
_PAUSE_S: Final = 1.0
HERE: Final = "::1"


class Connection:
    """The client's end is 0, the container's 1."""

    def __init__(self, loop: Loop, client: socket.socket, ended: Callable[[], None]) -> None:
        self._loop = loop
        self._ends = [client]
        self._ended = ended
        self._waiting = [b"", b""]
        """For each end, what it has not taken yet."""
        self._has_finished = [False, False]
        """It sends no more."""
        self._was_told = [False, False]
        """It knows that the other one sends no more."""
        self._is_open = True

    def connect(self, family: socket.AddressFamily, target: tuple[str, int]) -> None:
        """Raises OSError: at once; a refusal that comes later ends it."""
        there = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._ends.append(there)
        for end in self._ends:
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_S)
        refused = there.connect_ex(target)
        if refused not in {0, errno.EINPROGRESS}:
            raise OSError(refused, "the container is not reached")
        self._loop.watch(there.fileno(), selectors.EVENT_WRITE, self._go_on)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            for end in self._ends:
                self._loop.forget(end.fileno())
                end.close()
            self._ended()

    def _go_on(self) -> None:
        try:
            for source in (0, 1):
                self._move(source, 1 - source)
                self._look_for_reset(source)
        except OSError:  # reset or refused: the other one hears of it
            self._reset()
            return
        if all(self._was_told):
            self.close()
        else:
            self._watch()

    def _move(self, source: int, target: int) -> None:
        with suppress(BlockingIOError):
            if not self._waiting[target] and not self._has_finished[source]:
                self._waiting[target] = self._ends[source].recv(_PIECE_BYTES)
                self._has_finished[source] = not self._waiting[target]
        with suppress(BlockingIOError):
            if self._waiting[target]:
                sent = self._ends[target].send(self._waiting[target])
                self._waiting[target] = self._waiting[target][sent:]
        if self._has_finished[source] and not self._waiting[target] and not self._was_told[target]:
            self._ends[target].shutdown(socket.SHUT_WR)
            self._was_told[target] = True

    def _look_for_reset(self, end: int) -> None:
        """Reading tells of it as well, where there is any."""
        if not self._reads(end) and (code := self._ends[end].getsockopt(*_PENDING)):
            raise OSError(code, "reset")

    def _reads(self, end: int) -> bool:
        return not self._waiting[1 - end] and not self._has_finished[end]

    def _watch(self) -> None:
        """An end that is gone for good is noticed, also where it has nothing to say or to hear.

        One that was told of the other's close would be taken for gone.
        """
        for here, end in enumerate(self._ends):
            events = 0 if self._was_told[here] else HANGUP
            if self._waiting[here]:
                events |= selectors.EVENT_WRITE
            if self._reads(here):
                events |= selectors.EVENT_READ
            self._loop.watch(end.fileno(), events, self._go_on)

    def _reset(self) -> None:
        """Closed with a reset, so that nobody takes what has come for all there was."""
        for end in self._ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()


class Streams:
    """A listener at a port, and its connections."""

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        target: tuple[str, int],
        is_full: Callable[[], bool],
    ) -> None:
        """`is_full`: all listeners together have as many connections as there may be."""
        self._loop = loop
        self._target = target
        self._family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._is_full = is_full
        self.socket = listener
        self.connections: set[Connection] = set()
        self._is_open = True
        listener.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        if self._is_open:
            self._loop.watch(self.socket.fileno(), selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            if len(self.connections) >= CONNECTIONS_EACH or self._is_full():
                self._pause()
                return
            try:
                client, (address, *_) = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as e:
                if e.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause()
                elif e.errno == errno.EINVAL:  # it does not listen any more: its end follows
                    self._loop.forget(self.socket.fileno())
                return
            if address == HERE:
                self._relay(client)
            else:  # the firewall's rules are away for a moment
                client.close()

    def _pause(self) -> None:
        self._loop.forget(self.socket.fileno())
        self._loop.after(_PAUSE_S, self._listen)

    def _relay(self, client: socket.socket) -> None:
        connection = Connection(self._loop, client, lambda: self.connections.discard(connection))
        self.connections.add(connection)
        try:
            connection.connect(self._family, self._target)
        except OSError:
            connection.close()

    def close(self) -> None:
        self._is_open = False
        self._loop.forget(self.socket.fileno())
        self.socket.close()
        for connection in list(self.connections):
            connection.close()
