"""A container's networks as one of the things that it has; see `engine.lifecycle.resources`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cgagent.engine.lifecycle.resources import Resource
from cgagent.errors import CgagentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.containers.bundle import Bundle
    from cgagent.engine.containers.container import Container, Record
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.lifecycle.resources import Making
    from cgagent.engine.networks import Networks
    from cgagent.engine.networks.limits import NetworkLimits
    from cgagent.engine.networks.naming import Naming
    from cgagent.engine.networks.traffic import Traffic

log = logging.getLogger(__name__)


class Networked(Resource):
    """Its places in networks, its links, its ports."""

    step = "network"

    def __init__(
        self,
        networks: Networks,
        naming: Naming,
        containers: Containers,
        bundle: Callable[[str], Bundle],
        *,
        traffic: Traffic,
        limits: NetworkLimits,
    ) -> None:
        self._networks = networks
        self._naming = naming
        self._traffic = traffic
        self._endpoints = networks.endpoints
        self._containers = containers
        self._bundle = bundle
        self._limits = limits

    async def acquire(self, making: Making) -> None:
        record = making.record
        await self._endpoints.reserve(record.id, record.config)
        try:
            self._limits.check(record)
        except CgagentError:
            self._endpoints.forget(record.id)
            raise

    async def undo(self, record: Record) -> None:
        self._endpoints.forget(record.id)

    async def waiting(self, container: Container, pid: int) -> None:
        if self._endpoints.of(container.id):
            await self.enter(container, pid)
            await self.publish(container)
            self._tell(container, "connect")

    async def enter(self, container: Container, pid: int) -> None:
        """Attach it to its networks, as far as it is not; `pid` is in its namespace."""
        self._limits.check(container.record)
        await self._endpoints.attach(container.id, pid)
        await self._limits.hold(container.id, container.record.network_limits)
        await self._naming.enter(container, pid)
        await self._traffic.connected(container)
        self.write_files(container)

    async def publish(self, container: Container) -> None:
        """Have its ports lead to it, where its default route is."""
        self._endpoints.publish(container.id, container.record.resolved.ports)
        await self._naming.relay(container)

    def write_files(self, container: Container) -> None:
        """Its /etc/hosts and /etc/resolv.conf, as its networks are now."""
        record = container.record
        named = self._naming.concerns(record.id)
        find = self._containers.find
        linked = [] if named else self._endpoints.linked(record.id, lambda name: find(name).id)
        self._bundle(record.id).write_network_files(
            record.config,
            record.resolved.hostname,
            [a for e in self._endpoints.of(record.id) for a in e.addresses],
            self._endpoints.gateway(record.id),
            linked,
            named=named,
        )

    async def renamed(self, container: Container) -> None:
        await self._naming.changed(container)

    def started(self, container: Container) -> None:
        self._endpoints.joined(container.id)
        self._naming.watch(container)

    def _tell(self, container: Container, action: str) -> None:
        for endpoint in self._endpoints.of(container.id):
            network = self._networks.get(endpoint.network_id)
            if network is not None:
                self._networks.tell(network, action, container=container.id)

    async def left(self, container: Container) -> None:
        self._out(container)
        self._endpoints.detach(container.id)

    def _out(self, container: Container) -> None:
        """It is about to lose its links, if it has any."""
        if any(e.host_name for e in self._endpoints.of(container.id)):
            self._tell(container, "disconnect")
        self._naming.leave(container.id)
        self._traffic.disarm(container.id)

    async def removed(self, container: Container, *, volumes: bool) -> None:  # noqa: ARG002
        self._out(container)
        self._endpoints.forget(container.id)

    async def sweep(self, known: set[str]) -> None:
        if self._networks.is_blank:
            await self._reserve_again()
        running = [c for c in self._containers if c.running]
        unlisted = known - {c.id for c in self._containers}
        await self._networks.recover(known, {c.id for c in running} | unlisted)
        await self._limits.recover(running)

    async def _reserve_again(self) -> None:
        """Places of containers that a lost database had: they are theirs from the next start on."""
        for container in self._containers:
            try:
                await self._endpoints.reserve(container.id, container.record.config)
            except CgagentError as e:
                log.error(  # noqa: TRY400
                    "container %s is in none of its networks any more: %s; make what is missing, "
                    "and connect it when it has ended (cgagent network connect)",
                    container.name,
                    e.message,
                )
