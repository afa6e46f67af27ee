"""Addresses and MACs that containers' places have, or ask for: free, taken, given back.

The database has the leases of places; this is what is counted in one agent, which also knows of
addresses whose links are still on their way out.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from cgagent.errors import ConflictError, InvalidInputError
from cgagent.network import ipam
from cgagent.network.links import mac_of, new_host_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.engine.networks.endpoint import Endpoint
    from cgagent.engine.networks.network import Network
    from cgagent.network.values import Address


class Leases:
    def __init__(self) -> None:
        self._taken: dict[str, set[Address]] = defaultdict(set)
        self._asked: dict[str, dict[str, tuple[Address, ...]]] = defaultdict(dict)
        self._last: dict[tuple[str, int], Address] = {}

    def take(self, endpoint: Endpoint) -> None:
        self._taken[endpoint.network_id].update(endpoint.addresses)
        if endpoint.asked:
            self._asked[endpoint.network_id][endpoint.container_id] = endpoint.asked

    def forget(self, endpoint: Endpoint) -> None:
        """What it asked for by number may go to others."""
        self._asked[endpoint.network_id].pop(endpoint.container_id, None)

    def give_back(self, endpoint: Endpoint) -> None:
        """Its addresses are free."""
        self._taken[endpoint.network_id].difference_update(endpoint.addresses)

    def lease(self, endpoint: Endpoint, network: Network) -> Endpoint:
        """It, with addresses, and with the name of a link's end on the host.

        Raises:
            ConflictError: no address is free, or one that it asks for is taken.
        """
        address = self._lease(network, 4, endpoint.spec.address)
        try:
            address6 = self._lease(network, 6, endpoint.spec.address6)
        except ConflictError:
            self._taken[network.id] -= {address}
            raise
        return replace(endpoint, host_name=new_host_name(), address=address, address6=address6)

    def _lease(self, network: Network, version: int, asked: str) -> Address | None:
        address = ipaddress.ip_address(asked) if asked else self._free(network, version)
        if address is None:
            return None
        if asked and address in self._taken[network.id]:
            raise ConflictError(
                f"address {address} of network {network.name} is already in use; end the container "
                "that has it, or choose another address"
            )
        self._taken[network.id].add(address)
        return address

    def _free(self, network: Network, version: int) -> Address | None:
        """The next one that nobody has, nor asks for by number."""
        found = network.range_of(version)
        if found is None:
            return None
        asked = itertools.chain.from_iterable(self._asked[network.id].values())
        taken = self._taken[network.id] | {found.gateway, *found.reserved, *asked}
        last = self._last.get((network.id, version))
        address = ipam.next_address(found.subnet, taken, last, found.part)
        self._last[network.id, version] = address
        return address

    @staticmethod
    def check(network: Network, text: str, version: int) -> None:
        """Can a container of the network have this address at all?

        Raises:
            InvalidInputError: none can. ConflictError: the network's own use has it.
        """
        if not text:
            return
        address = ipaddress.ip_address(text)
        found = network.range_of(version)
        if found is None or address not in found.subnet:
            raise InvalidInputError(
                f"address {address} is not in a subnet of network {network.name} "
                f"({', '.join(str(r.subnet) for r in network.plan.ranges)})"
            )
        if not ipam.may_be_hosts(address, found.subnet):
            raise InvalidInputError(
                f"address {address} of network {network.name} is the first or the last one of its "
                "subnet, which no container can have; choose another one"
            )
        if address in found.reserved:
            raise ConflictError(
                f"address {address} of network {network.name} is reserved (--aux-address); choose "
                "another one or leave it to cgagent"
            )
        if address == found.gateway:
            raise ConflictError(
                f"address {address} of network {network.name} is already in use as its gateway; "
                "choose another one or leave it to cgagent"
            )


def check_mac(network: Network, mac: str, others: Iterable[Endpoint]) -> None:
    """Could a place have it? `others` are the places that other containers have.

    The bridge's own on a port would cut all members off from the host.

    Raises:
        ConflictError: it is in use. InvalidInputError: members have none of their own.
    """
    if not mac:
        return
    if not network.has_macs:
        raise InvalidInputError(
            f"network {network.name}: its members have the MAC address of their parent interface; "
            "leave the MAC address out"
        )
    taken = {e.mac for e in others if e.network_id == network.id and e.host_name}
    if mac in taken | {mac_of(r.gateway) for r in network.plan.ranges}:
        raise ConflictError(
            f"MAC address {mac} is in use in network {network.name}; choose another one or "
            "leave it to cgagent"
        )
