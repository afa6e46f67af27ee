"""Where a container's places lead: its default route, the host, and others by its own names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.engine.options import networking
from cgagent.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.networks.endpoint import Endpoint
    from cgagent.engine.networks.network import Network
    from cgagent.network.values import Address


class Ways:
    def __init__(
        self, of: Callable[[str], tuple[Endpoint, ...]], find: Callable[[str], Network]
    ) -> None:
        """`of` has the places of a container, `find` a network by its id."""
        self._of = of
        self._find = find

    def out(self, container_id: str) -> Endpoint | None:
        """The place that the container has its default route through."""
        ways = [e for e in self._of(container_id) if not self._find(e.network_id).is_internal]
        return max(ways, key=lambda e: (e.spec.gateway_priority, -e.position), default=None)

    def leads_out(self, endpoint: Endpoint) -> bool:
        best = self.out(endpoint.container_id)
        return best is not None and best.network_id == endpoint.network_id

    def gateway(self, container_id: str) -> Address | None:
        """The host's address as the container sees it."""
        places = sorted(self._of(container_id), key=self.leads_out, reverse=True)
        for network in (self._find(e.network_id) for e in places):
            if not network.driver.is_routed:
                continue
            if found := network.range_of(4) or network.range_of(6):
                return found.gateway
        return None

    def linked(self, container_id: str, find: Callable[[str], str]) -> list[tuple[Address, str]]:
        """Names for others that it alone has, where nobody answers names: their addresses.

        `find` has the id of a container.

        Raises:
            NotFoundError: there is none. ConflictError: it does not run in the same network.
        """
        found = []
        for endpoint in self._of(container_id):
            for target, alias in map(networking.link, endpoint.spec.links):
                other = next(
                    (e for e in self._of(find(target)) if e.network_id == endpoint.network_id), None
                )
                if other is None or other.address is None:
                    name = self._find(endpoint.network_id).name
                    raise ConflictError(
                        f"cannot link to container {target}: it does not run in network {name}"
                    )
                found.append((other.address, f"{alias} {target}"))
        return found
