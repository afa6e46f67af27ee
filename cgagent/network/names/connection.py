"""A container's TCP connection: one query after the other, each answered before the next is read.

It ends when no query was completed for a while, and with the first that is too long.
"""

from __future__ import annotations

import selectors
from typing import TYPE_CHECKING, Final, Protocol

from cgagent.network.names.packets import QUERY_MAX

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from cgagent.kernel.loop import Loop

_LENGTH: Final = 2


class Owner(Protocol):
    def answer(self, data: bytes, reply: Callable[[bytes], None], *, udp: bool) -> bool:
        """Have `reply` called with the answer, now or later; False: there is none."""

    def touched(self, connection: Connection) -> None:
        """It has got an answer."""

    def ended(self, connection: Connection) -> None:
        """It is closed."""


class Connection:
    def __init__(self, loop: Loop, sock: socket.socket, owner: Owner) -> None:
        self._loop = loop
        self._sock = sock
        self._owner = owner
        self._received = b""
        self._unsent = b""
        self._is_asking = False
        self._is_busy = False
        """In `_answer_all`, to which an answer may lead back."""
        self.is_open = True
        sock.setblocking(False)
        loop.watch(sock.fileno(), selectors.EVENT_READ, self._go_on)

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._owner.ended(self)

    def _go_on(self) -> None:
        try:
            if self._unsent:
                self._send()
            elif not self._receive():
                self.close()
                return
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._answer_all()

    def _receive(self) -> bool:
        received = self._sock.recv(QUERY_MAX)
        self._received += received
        return bool(received)

    def _answer_all(self) -> None:
        """Those that are there, as far as each is answered at once."""
        if self._is_busy:
            return
        self._is_busy = True
        while self._is_next_there():
            self._ask()
        self._is_busy = False
        self._watch()

    def _is_next_there(self) -> bool:
        """Whether a query is there whose turn it is."""
        if not self.is_open or self._is_asking or self._unsent or len(self._received) < _LENGTH:
            return False
        length = int.from_bytes(self._received[:_LENGTH], "big")
        if length > QUERY_MAX:
            self.close()
            return False
        return len(self._received) >= _LENGTH + length

    def _ask(self) -> None:
        end = _LENGTH + int.from_bytes(self._received[:_LENGTH], "big")
        data, self._received = self._received[_LENGTH:end], self._received[end:]
        self._is_asking = True
        if not self._owner.answer(data, self._reply, udp=False):
            self.close()

    def _reply(self, data: bytes) -> None:
        if not self.is_open:
            return
        self._is_asking = False
        self._unsent = len(data).to_bytes(_LENGTH, "big") + data
        self._owner.touched(self)
        try:
            self._send()
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._answer_all()

    def _send(self) -> None:
        self._unsent = self._unsent[self._sock.send(self._unsent) :]

    def _watch(self) -> None:
        """What is received while an answer is due stays in the kernel: a client cannot fill us."""
        if not self.is_open:
            return
        if self._unsent:
            events = selectors.EVENT_WRITE
        elif self._is_asking:
            events = 0
        else:
            events = selectors.EVENT_READ
        self._loop.watch(self._sock.fileno(), events, self._go_on)
