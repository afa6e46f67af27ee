"""All ports of [::1] that the process relays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgagent.network.names.deadlines import Deadlines
from cgagent.network.relay.datagrams import IDLE_S, Client, Datagrams
from cgagent.network.relay.messages import Relay
from cgagent.network.relay.streams import Streams

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from cgagent.kernel.loop import Loop
    from cgagent.network.relay.messages import Unrelay

CONNECTIONS_MAX: Final = 1024
CLIENTS_MAX: Final = 1024
_SHARE: Final = 8
"""A connection has two descriptors, so all together have at most three eighths."""

Key = tuple[str, int]
"""The protocol and the host's port."""


class Relays:
    def __init__(self, loop: Loop, shared: int) -> None:
        """`shared`: how many descriptors there are for this and for all that asks for names."""
        self._loop = loop
        self._connections_max = min(CONNECTIONS_MAX, shared // _SHARE)
        self._clients_max = min(CLIENTS_MAX, shared // _SHARE)
        self._idle: Deadlines[Client] = Deadlines(loop, IDLE_S, lambda c: c.owner.end(c))
        self._ports: dict[Key, tuple[Relay, Streams | Datagrams]] = {}
        self._stale: set[Key] = set()

    def __len__(self) -> int:
        return len(self._ports)

    def held(self) -> Iterator[tuple[Key, socket.socket]]:
        return ((key, port.socket) for key, (_, port) in self._ports.items())

    def begin(self) -> None:
        """All are told anew; until `complete`, those that were known go on."""
        self._stale = set(self._ports)

    def complete(self) -> None:
        while self._stale:
            self._remove(self._stale.pop())

    def take(self, message: Relay | Unrelay, *socks: socket.socket) -> None:
        """Connections go on where nothing has changed but who tells of it."""
        key = message.protocol, message.host_port
        self._stale.discard(key)
        known = self._ports.get(key)
        if known is not None and known[0] == message:
            for sock in socks:
                sock.close()
            return
        self._remove(key)
        if isinstance(message, Relay):
            self._ports[key] = message, self._made(message, *socks)

    def remove_of(self, container: str) -> None:
        """All of a container that has ended."""
        for key in [k for k, (told, _) in self._ports.items() if told.container == container]:
            self._remove(key)

    def _made(self, message: Relay, sock: socket.socket) -> Streams | Datagrams:
        target = message.address, message.port
        if message.protocol == "tcp":
            return Streams(self._loop, sock, target, self._is_full)
        return Datagrams(self._loop, sock, target, self._idle, self._clients_max)

    def _remove(self, key: Key) -> None:
        if key in self._ports:
            self._ports.pop(key)[1].close()

    def _is_full(self) -> bool:
        streams = (port for _, port in self._ports.values() if isinstance(port, Streams))
        return sum(len(port.connections) for port in streams) >= self._connections_max
