"""In place of the names process and the agent's end of it: it remembers who was told to it."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from cgagent.errors import NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.network.names.values import Member
    from cgagent.network.relay.messages import Relay


class FakeNames:
    """As `cgagent.network.names.client.Names`; it outlives the agents of one world."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.pid: int | None = None
        self.connections = 0
        self.gone: set[str] = set()
        """Namespaces of processes that have ended."""
        self._ends: tuple[socket.socket, ...] = ()

    def opened(self, namespace: str) -> int:
        """In place of a descriptor of a namespace."""
        if namespace in self.gone:
            raise NotFoundError(f"network namespace {namespace} is gone")
        return os.open(os.devnull, os.O_RDONLY)

    def inherited(self) -> dict[tuple[str, int], socket.socket]:
        return {}

    def relay(self, relay: Relay, sock: socket.socket) -> None:
        raise NotImplementedError

    def unrelay(self, protocol: str, host_port: int) -> None:
        raise NotImplementedError

    def watch(self, container: str, pid: int) -> None:
        pass

    def end_one_that_is_left(self) -> None:
        self.pid = None
        self.members = {}

    def connect(
        self,
        members: Iterable[tuple[Member, int]],
        relays: Iterable[tuple[Relay, socket.socket]] = (),
    ) -> None:
        assert not list(relays)
        self.members = {member.container: member for member, _ in members}
        self.pid = 1
        self.connections += 1
        self._close_ends()
        self._ends = socket.socketpair()

    def put(self, member: Member, netns_fd: int | None) -> None:
        assert netns_fd is not None
        os.fstat(netns_fd)
        if not self._ends:
            raise UnavailableError("the names process is gone")
        self.members[member.container] = member

    def remove(self, container: str) -> None:
        self.members.pop(container, None)

    def fileno(self) -> int:
        return self._ends[0].fileno()

    def lost(self) -> bool:
        return self.pid is None

    def die(self) -> None:
        """As a process that is killed."""
        self.pid = None
        self.members = {}
        self._ends[1].close()

    def close(self, *, end: bool) -> None:
        if end:
            self.pid = None
            self.members = {}
        self._close_ends()

    def _close_ends(self) -> None:
        for one in self._ends:
            one.close()
        self._ends = ()
