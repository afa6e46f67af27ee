"""Names of containers in user-defined networks: who is told to the names process, and when.

The default network has none, as with docker. Published ports at [::1] are relayed by that process
as well (`cgagent.network.relay`). It is started with the first container that needs it and outlives
the agent as that container does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_thread
from cgagent.engine.options import networking
from cgagent.errors import CgagentError, NotFoundError, UnavailableError
from cgagent.network import netns
from cgagent.network.names.client import Names
from cgagent.network.names.values import LinkedName, Member, Place

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.networks.endpoint import Endpoint
    from cgagent.engine.networks.endpoints import Endpoints
    from cgagent.engine.networks.network import Network
    from cgagent.network.relay.messages import Relay
    from cgagent.network.values import Publication

log = logging.getLogger(__name__)

_SHORT: Final = 12


class Naming:
    """Owned by the engine. `get` has a network by its id."""

    def __init__(
        self,
        run_dir: Path,
        endpoints: Endpoints,
        get: Callable[[str], Network | None],
        containers: Containers,
    ) -> None:
        self._names = Names(run_dir, run_dir / "names.log")
        self._endpoints = endpoints
        self._get = get
        self._containers = containers
        self._inside: dict[str, tuple[Container, int]] = {}
        """By id, those that are answered, and a process in the network namespace of each."""
        self._connecting = asyncio.Lock()
        self._watched: int | None = None
        self._again: asyncio.Task[None] | None = None
        self._closed = False
        endpoints.ports.unrelay = self._unrelay

    @property
    def pid(self) -> int | None:
        """Of the names process; None: none was needed so far."""
        return self._names.pid

    def concerns(self, container_id: str) -> bool:
        """Is it in a network whose members have names?"""
        return any(map(self._is_named, self._endpoints.of(container_id)))

    def _is_named(self, endpoint: Endpoint) -> bool:
        network = self._get(endpoint.network_id)
        return network is not None and not network.is_default

    async def enter(self, container: Container, pid: int) -> None:
        """Have names answered in its network namespace, which the process `pid` is in.

        Raises:
            NotFoundError: the process has ended.
            UnavailableError: the names process cannot be started.
            UnsupportedError, ConflictError, InternalError: nobody can answer in there.
        """
        if not self.concerns(container.id):
            return
        self._inside[container.id] = container, pid
        namespace = self._endpoints.namespace(container.id, pid)
        put = partial(self._put, self._member(container), namespace)
        if self._watched is not None:
            with contextlib.suppress(UnavailableError):  # it has just died: another one follows
                await in_thread(lambda _: put())
                return
        await self._connect()
        await in_thread(lambda _: put())

    async def relay(self, container: Container) -> None:
        """Have its ports at [::1] relayed to it from now on; `leave` does not end that.

        Raises:
            UnavailableError: the process cannot be started.
        """
        relays = list(self._endpoints.ports.relays(container.id))
        if not relays:
            return
        if self._watched is None:
            await self._connect()
        with contextlib.suppress(UnavailableError):  # it has just died: another one is told
            for relay, sock in relays:
                self._names.relay(relay, sock)

    def watch(self, container: Container) -> None:
        """It runs: without an agent, what it has here goes with its first process."""
        pid = container.record.outcome.pid
        has_ports = any(self._endpoints.ports.relays(container.id))
        if pid and self._watched is not None and (container.id in self._inside or has_ports):
            with contextlib.suppress(UnavailableError):  # another one is told
                self._names.watch(container.id, pid)

    def _unrelay(self, publication: Publication) -> None:
        if self._watched is not None:
            self._names.unrelay(publication.protocol, publication.host_port)

    def relayed(self) -> dict[tuple[str, int], socket.socket]:
        """The sockets at [::1] that an earlier agent has left to the process."""
        return self._names.inherited()

    def _put(self, member: Member, namespace: str) -> None:
        descriptor = netns.opened(namespace)
        try:
            self._names.put(member, descriptor)
        finally:
            os.close(descriptor)

    async def changed(self, container: Container) -> None:
        """Its names or networks are others now, while it runs."""
        if container.running and self.concerns(container.id):
            with contextlib.suppress(NotFoundError):  # it has just ended: `leave` follows
                await self.enter(container, container.record.outcome.pid or 0)
        else:
            self.leave(container.id)

    def leave(self, container_id: str) -> None:
        """It does not run any more."""
        if self._inside.pop(container_id, None) and self._watched is not None:
            self._names.remove(container_id)

    async def resume(self) -> None:
        """After an earlier agent: the process may have missed what was changed meanwhile."""
        for container in self._containers:
            if container.running and self.concerns(container.id):
                self._inside[container.id] = container, container.record.outcome.pid or 0
        try:
            if self._inside or any(self._endpoints.ports.relays()):
                await self._connect()
            else:
                await in_thread(lambda _: self._names.end_one_that_is_left())
        except CgagentError as e:
            log.error("names of containers: %s", e.message)  # noqa: TRY400

    async def _connect(self) -> None:
        """To a process that knows just the containers that run."""
        async with self._connecting:
            if self._watched is not None and not self._names.lost():
                return
            self._unwatch()
            members = [(self._member(c), pid) for c, pid in self._inside.values()]
            relays = [(r, sock.dup()) for r, sock in self._endpoints.ports.relays()]
            try:
                await in_thread(lambda _: self._connect_now(members, relays))
            finally:
                for _, sock in relays:
                    sock.close()
            self._forget_meanwhile(members, relays)
            if not self._closed:
                self._watched = self._names.fileno()
                asyncio.get_running_loop().add_reader(self._watched, self._lost)
                for container in self._containers:
                    if container.running:
                        self.watch(container)

    def _forget_meanwhile(
        self,
        members: Iterable[tuple[Member, int]],
        relays: Iterable[tuple[Relay, socket.socket]],
    ) -> None:
        """What went while the process was being told of it."""
        for container in {member.container for member, _ in members} - self._inside.keys():
            self._names.remove(container)
        there = [relay for relay, _ in self._endpoints.ports.relays()]
        for relay in (relay for relay, _ in relays if relay not in there):
            self._names.unrelay(relay.protocol, relay.host_port)

    def _connect_now(
        self,
        members: Iterable[tuple[Member, int]],
        relays: Iterable[tuple[Relay, socket.socket]],
    ) -> None:
        with contextlib.ExitStack() as opened:
            there = []
            for member, pid in members:
                with contextlib.suppress(NotFoundError):  # it has ended
                    descriptor = netns.opened(f"/proc/{pid}/ns/net")
                    opened.callback(os.close, descriptor)
                    there.append((member, descriptor))
            self._names.connect(there, relays)

    def _lost(self) -> None:
        """The process has died: the next one is told everything."""
        self._unwatch()
        log.warning("the process that answers names of containers has died; another one follows")
        self._again = asyncio.create_task(self.resume())

    def _unwatch(self) -> None:
        if self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched)
            self._watched = None

    async def close(self) -> None:
        """Let go of the process, which ends if no container needs it."""
        self._closed = True
        if self._again is not None:
            await asyncio.wait([self._again])
        self._unwatch()
        needed = self._inside or any(self._endpoints.ports.relays())
        await asyncio.to_thread(self._names.close, end=not needed)

    def _member(self, container: Container) -> Member:
        places = [e for e in self._endpoints.of(container.id) if self._is_named(e)]
        networks = [self._get(e.network_id) for e in self._endpoints.of(container.id)]
        return Member(
            container=container.id,
            name=container.name,
            places=tuple(
                Place(
                    network=e.network_id,
                    names=(container.name, container.id[:_SHORT], *e.spec.aliases),
                    addresses=tuple(map(str, e.addresses)),
                )
                for e in places
            ),
            links=tuple(
                LinkedName(alias=alias, target=target)
                for e in places
                for target, alias in map(networking.link, e.spec.links)
            ),
            forwards=any(n is not None and not n.is_internal for n in networks),
            resolvers=container.record.config.dns,
        )
