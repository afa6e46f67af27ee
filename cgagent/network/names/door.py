"""A container's sockets at 127.0.0.11: queries come, answers go.

A few are taken in one go: others do not wait long for a container that floods its door.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
from functools import partial
from typing import TYPE_CHECKING, Final

from cgagent.network.names.answers import answer
from cgagent.network.names.connection import Connection
from cgagent.network.names.packets import QUERY_MAX, Query

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.kernel.loop import Loop
    from cgagent.network.names.book import Book, Viewer
    from cgagent.network.names.deadlines import Deadlines
    from cgagent.network.names.forwarding import Forwarder

_AT_ONCE: Final = 16
CONNECTIONS_EACH: Final = 32
CONNECTIONS_MAX: Final = 1024
_PAUSE_S: Final = 1.0


class House:
    """What all doors share."""

    def __init__(
        self,
        loop: Loop,
        book: Book,
        forwarder: Forwarder,
        idle: Deadlines[Connection],
        hear: Callable[[], object],
    ) -> None:
        self.loop = loop
        self.book = book
        self.forwarder = forwarder
        self.idle = idle
        """All TCP connections: those that have not asked for long are first, and end."""
        self.hear = hear
        """Do what the agent has said by now."""


class Door:
    def __init__(
        self, house: House, viewer: Viewer, namespace: int, udp: socket.socket, tcp: socket.socket
    ) -> None:
        self._house = house
        self._container = viewer.member.container
        self._udp = udp
        self._tcp = tcp
        self.sockets = (udp, tcp)
        self._connections: dict[Connection, None] = {}
        """Who asked last is last."""
        self.viewer = viewer
        self.namespace = namespace
        self.is_open = True
        for sock in self.sockets:
            sock.setblocking(False)
        house.loop.watch(udp.fileno(), selectors.EVENT_READ, self._receive)
        house.loop.watch(tcp.fileno(), selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Nothing keeps the namespace alive afterwards."""
        self.is_open = False
        self._house.forwarder.forget(self._container)
        for connection in list(self._connections):
            connection.close()
        for sock in self.sockets:
            self._house.loop.forget(sock.fileno())
            sock.close()

    def answer(self, data: bytes, reply: Callable[[bytes], None], *, udp: bool) -> bool:
        found = answer(data, self._house.book, self.viewer, udp=udp)
        if isinstance(found, Query):
            servers = self.viewer.member.resolvers
            self._house.forwarder.ask(self._container, found, servers, reply, udp=udp)
        elif found is not None:
            reply(found)
        return found is not None

    def _receive(self) -> None:
        """A query is taken off the queue after its answer: a successor answers what we do not."""
        for _ in range(_AT_ONCE):
            try:
                data, client = self._udp.recvfrom(QUERY_MAX + 1, socket.MSG_PEEK)
            except OSError:  # there is none
                return
            self._house.hear()  # what was put before it was sent
            if not self.is_open:
                return
            try:
                self.answer(data, partial(self._send, client), udp=True)
            finally:
                self._udp.recv(1)

    def _send(self, client: tuple[str, int], answer: bytes) -> None:
        with contextlib.suppress(OSError):  # it does not read: it may ask again
            self._udp.sendto(answer, client)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                sock, _ = self._tcp.accept()
            except BlockingIOError:
                return
            except OSError as e:
                self._make_room(e)
                return
            connection = Connection(self._house.loop, sock, self)
            self._connections[connection] = None
            self._house.idle.start(connection)
            if len(self._connections) > CONNECTIONS_EACH:
                next(iter(self._connections)).close()
            elif len(self._house.idle) > CONNECTIONS_MAX:
                self._close_oldest()

    def _make_room(self, error: OSError) -> None:
        """Without a descriptor for it, a connection stays in the queue, and would be told of."""
        if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            return  # that connection has failed
        if not self._close_oldest():
            self._house.loop.forget(self._tcp.fileno())
            self._house.loop.after(_PAUSE_S, self._accept_again)

    def _accept_again(self) -> None:
        if self.is_open:
            self._house.loop.watch(self._tcp.fileno(), selectors.EVENT_READ, self._accept)

    def _close_oldest(self) -> bool:
        oldest = self._house.idle.oldest()
        if oldest is not None:
            oldest.close()
        return oldest is not None

    def touched(self, connection: Connection) -> None:
        self._house.idle.start(connection)
        self._connections.pop(connection, None)
        self._connections[connection] = None

    def ended(self, connection: Connection) -> None:
        self._house.idle.stop(connection)
        self._connections.pop(connection, None)
