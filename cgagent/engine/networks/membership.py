"""Bringing containers into networks and out of them, running or not."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from cgagent.engine.lifecycle.shared import require_there
from cgagent.engine.options import networking
from cgagent.errors import CgagentError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.networks import Networks
    from cgagent.engine.networks.naming import Naming
    from cgagent.engine.networks.network import Network
    from cgagent.engine.networks.resource import Networked
    from cgagent.engine.options.networking import EndpointSpec

log = logging.getLogger(__name__)


class Membership:
    def __init__(
        self,
        networks: Networks,
        naming: Naming,
        networked: Networked,
        containers: Containers,
        jobs: Jobs,
    ) -> None:
        self._networks = networks
        self._naming = naming
        self._networked = networked
        self._containers = containers
        self._jobs = jobs

    async def connect(self, container: Container, spec: EndpointSpec) -> None:
        """One more network for it, at once if it runs.

        Raises:
            NotFoundError: the network. InvalidInputError: an address, a name.
            ConflictError: it is in it already, or has the host's or another one's network.
        """
        spec = networking.checked_endpoint(spec)
        network = self._networks.find(spec.network)
        self._require_own(container)
        async with (
            self._jobs.run("network connect", network=network.name, container=container.id),
            container.lock,
        ):
            require_there(container)
            before = self._networks.endpoints.way_out(container.id)
            await self._networks.endpoints.connect(container.id, spec)
            if not container.running:
                return
            try:
                await self._enter(container, before)
            except BaseException as e:
                await self._leave(container, network)
                if isinstance(e, NotFoundError) and has_ended(container):
                    raise ConflictError(
                        f"container {container.name} has ended meanwhile and is not in network "
                        f"{network.name}; connect it again"
                    ) from e
                raise
            self._networks.tell(network, "connect", container=container.id)

    async def _enter(self, container: Container, before: str) -> None:
        """Its ports go with its default route, if that is by the new network now."""
        pid = container.record.outcome.pid or 0
        await self._networked.enter(container, pid)
        if self._networks.endpoints.way_out(container.id) != before:
            self._networks.endpoints.ports.unpublish(container.id)
            await self._networked.publish(container)

    async def _leave(self, container: Container, network: Network) -> None:
        """Raises NotFoundError: it is not in it."""
        pid = container.record.outcome.pid if container.running else None
        endpoints = self._networks.endpoints
        had_way_out = await endpoints.disconnect(container.id, network, pid)
        if container.running and had_way_out:
            await self._find_another_way(container)

    async def disconnect(self, container: Container, reference: str, *, force: bool) -> None:
        """One network less.

        Raises:
            NotFoundError: there is none such, or it is not in it and `force` was not given.
        """
        network = self._networks.find(reference)
        async with (
            self._jobs.run("network disconnect", network=network.name, container=container.id),
            container.lock,
        ):
            with contextlib.suppress(*([NotFoundError] if force else [])):
                await self._leave(container, network)
                if container.running:
                    await self._naming.changed(container)
                    self._networked.write_files(container)
                    self._networks.tell(network, "disconnect", container=container.id)

    async def unlink(self, container: Container, alias: str) -> None:
        """Take from a container the names for another one that a link gave it.

        Raises:
            NotFoundError: it has no link of this alias.
        """
        async with (
            self._jobs.run("unlink", container=container.id, alias=alias),
            container.lock,
        ):
            require_there(container)
            record = container.record
            left = tuple(networking.unlinked(e, alias) for e in record.config.networks)
            is_known = self._networks.endpoints.unlink(container.id, alias)
            if not is_known and left == record.config.networks:
                raise NotFoundError(f"container {container.name} has no link {alias}")
            config = replace(record.config, networks=left)
            self._containers.save(container, replace(record, config=config))
            if container.running:
                await self._naming.changed(container)
                self._networked.write_files(container)

    async def _find_another_way(self, container: Container) -> None:
        """Its default route and its ports are those of another network now, if it is in one."""
        endpoints = self._networks.endpoints
        try:
            await endpoints.reroute(container.id, container.record.outcome.pid or 0)
        except CgagentError as e:
            if has_ended(container):
                return
            # A container that administers its network may have renamed the interface, or have a
            # default route of its own: that does not keep it in the network that it is to leave.
            log.warning("container %s has no default route any more: %s", container.name, e.message)
        if not endpoints.ports.of(container.id):
            await self._networked.publish(container)

    @staticmethod
    def _require_own(container: Container) -> None:
        mode = container.namespaces.network
        if mode:
            raise ConflictError(
                f"container {container.name} has the network of {mode}: it cannot be connected "
                "to another one"
            )


def has_ended(container: Container) -> bool:
    """Its first process has, whether we have been told of it or not."""
    return not os.path.exists(f"/proc/{container.record.outcome.pid}/ns/net")
