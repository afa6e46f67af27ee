"""UDP at [::1]: each client has a socket to the container, as long as either of them sends."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from cgagent.network.relay.streams import HERE

if TYPE_CHECKING:
    from cgagent.kernel.loop import Loop
    from cgagent.network.names.deadlines import Deadlines

CLIENTS_EACH: Final = 256
IDLE_S: Final = 90.0
_AT_ONCE: Final = 16
_LARGEST: Final = 65535
_BUFFER_BYTES: Final = 212_992
"""The kernel's default: a socket that only keeps a port has none."""


class Client:
    """Its socket to the container, which answers there."""

    def __init__(self, owner: Datagrams, address: tuple[str, int]) -> None:
        self.owner = owner
        self.address = address
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        self.socket = socket.socket(owner.family, kind)


class Datagrams:
    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        target: tuple[str, int],
        idle: Deadlines[Client],
        clients_max: int,
    ) -> None:
        """`idle` has the clients of all ports, the longest silent first, and ends each in time.

        `clients_max`: how many it may have.
        """
        self._loop = loop
        self._target = target
        self.family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._idle = idle
        self._clients_max = clients_max
        self.socket = sock
        self._clients: dict[tuple[str, int], Client] = {}
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        loop.watch(sock.fileno(), selectors.EVENT_READ, self._receive)

    def _receive(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, (address, port, *_) = self.socket.recvfrom(_LARGEST)
            except OSError:  # there is none
                return
            if address != HERE:  # the firewall's rules are away for a moment
                continue
            with suppress(OSError):  # the container refuses, or there is no descriptor
                client = self._clients.get((address, port)) or self._met((address, port))
                self._idle.start(client)
                client.socket.send(data)

    def _met(self, address: tuple[str, int]) -> Client:
        if len(self._clients) >= CLIENTS_EACH:
            self.end(next(iter(self._clients.values())))
        elif len(self._idle) >= self._clients_max and (oldest := self._idle.oldest()):
            oldest.owner.end(oldest)
        client = Client(self, address)
        try:
            client.socket.connect(self._target)
        except OSError:
            client.socket.close()
            raise
        self._clients[address] = client
        self._loop.watch(
            client.socket.fileno(), selectors.EVENT_READ, partial(self._answer, client)
        )
        return client

    def _answer(self, client: Client) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = client.socket.recv(_LARGEST)
            except OSError:  # there is none; or the container refuses, which UDP need not tell
                return
            self._idle.start(client)
            with suppress(OSError):  # it does not read
                self.socket.sendto(data, client.address)

    def end(self, client: Client) -> None:
        self._idle.stop(client)
        self._clients.pop(client.address, None)
        self._loop.forget(client.socket.fileno())
        client.socket.close()

    def close(self) -> None:
        self._loop.forget(self.socket.fileno())
        self.socket.close()
        for client in list(self._clients.values()):
            self.end(client)
