"""Ports of the host's that containers answer: kept from others, recorded, and led to them."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from cgagent.errors import CgagentError, InvalidInputError
from cgagent.network.relay.messages import RELAYED, Relay
from cgagent.network.values import EVERY6, LOOPBACK6, Bridge, Publication
from cgagent.store.networks import PortRow

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Iterable, Iterator

    from cgagent.engine.networks.network import Network
    from cgagent.engine.networks.wiring import Wiring
    from cgagent.engine.options.networking import PortSpec
    from cgagent.network.values import Address
    from cgagent.store.networks import NetworkRows

log = logging.getLogger(__name__)


class PublishedPorts:
    def __init__(
        self,
        rows: NetworkRows,
        wiring: Callable[[], Wiring],
        get: Callable[[str], Network | None],
    ) -> None:
        """`get` has a network by its id, `wiring` the kernel's side of all."""
        self._rows = rows
        self._wiring = wiring
        self.unrelay: Callable[[Publication], None] = _nobody
        """Told of each port at [::1] that is published no more."""
        self._of: dict[str, list[Publication]] = {}
        for port in rows.ports():
            network = get(port.network_id)
            interface = network.plan.interface if network else ""
            self._of.setdefault(port.container_id, []).append(_publication(port, interface))

    def of(self, container_id: str) -> tuple[Publication, ...]:
        return tuple(self._of.get(container_id, ()))

    def shown(self, container_id: str) -> tuple[Publication, ...]:
        """Without [::1] where that is one of all addresses."""
        own = self.of(container_id)
        every = {(p.protocol, p.host_port) for p in own if p.host is None}
        return tuple(p for p in own if not (p.is_relayed and (p.protocol, p.host_port) in every))

    def relays(self, container_id: str | None = None) -> Iterator[tuple[Relay, socket.socket]]:
        """What is to be relayed at [::1], of one container or of all, each with its socket."""
        own = self._of if container_id is None else {container_id: self.of(container_id)}
        for container, publications in own.items():
            for publication in (p for p in publications if p.is_relayed):
                if sock := self._wiring().ports.relayed(publication):
                    yield _relay(container, publication), sock

    def publishers(self) -> set[str]:
        """The ids of the containers that have some."""
        return set(self._of)

    def publish(
        self,
        container_id: str,
        ports: Iterable[PortSpec],
        addresses: Collection[Address],
        network: Network,
    ) -> None:
        """Lead them to these addresses of the container's, which are of this network.

        As with docker, none is published in a network that the host has no address in.

        Raises:
            ConflictError: one is taken; none is published.
            InvalidInputError: an address of a family that the container has none of.
        """
        bridge = network.side()
        if not isinstance(bridge, Bridge) or bridge.child is not None:
            return  # members are reached by their own addresses alone
        chosen: list[Publication] = []
        try:
            for port in ports:
                chosen += self._reserved(port, addresses, bridge)
            if chosen:
                self._rows.publish([_row(container_id, p, network.id) for p in chosen])
                self._of[container_id] = chosen
                self._wiring().publish(chosen)
        except BaseException:
            self.unpublish(container_id)
            if chosen:
                self._wiring().ports.release(chosen)
            raise

    def _reserved(
        self, port: PortSpec, addresses: Collection[Address], bridge: Bridge
    ) -> Collection[Publication]:
        """The port, for each family that it is published in, kept from others."""
        has_relay = self._wiring().ports.has_loopback6()
        publications = tuple(_publications(port, addresses, bridge, has_relay=has_relay))
        if not publications:
            raise InvalidInputError(
                f"port {port.container_port}: the container has no address of the family of "
                f"{port.host_address or bridge.publish_on}; make its network with --ipv6"
            )
        if port.host_port and not port.host_port_last:
            self._wiring().ports.reserve(publications)
            return publications
        choice = range(port.host_port, port.host_port_last + 1) if port.host_port else None
        return self._wiring().ports.free(publications, choice)

    def unpublish(self, container_id: str, interface: str | None = None) -> None:
        """All of a container's, or those that are led to it over one network's bridge."""
        there = self._of.pop(container_id, [])
        gone = [p for p in there if interface in {None, p.bridge}]
        if left := [p for p in there if p not in gone]:
            self._of[container_id] = left
        for publication in gone:
            if publication.is_relayed:
                self.unrelay(publication)
        if gone:
            with contextlib.suppress(CgagentError):  # the rules are gone: so are the ports
                self._wiring().unpublish(gone)
            self._rows.unpublish(
                container_id, [(p.protocol, p.host_text, p.host_port) for p in gone]
            )

    def reserve_again(self, relayed: dict[tuple[str, int], socket.socket]) -> list[Publication]:
        """After an earlier agent: all that are published, kept from others as far as possible.

        `relayed` are the sockets at [::1] that are left of it, by protocol and port.
        """
        self._wiring().ports.inherit(relayed)
        for container_id, publications in self._of.items():
            try:
                self._wiring().ports.reserve(publications)
            except CgagentError as e:
                log.warning("container %s: %s", container_id[:12], e.message)
        self._wiring().ports.let_go_of_inherited()
        return [p for publications in self._of.values() for p in publications]


def _publications(
    port: PortSpec, addresses: Collection[Address], bridge: Bridge, *, has_relay: bool
) -> Iterator[Publication]:
    """One for each family that the container has and the port is published in, and [::1]'s.

    `has_relay`: the host has that address.
    """
    host = ipaddress.ip_address(port.host_address) if port.host_address else bridge.publish_on
    common = Publication(
        protocol=port.protocol,  # type: ignore[arg-type] # checked
        host=host,
        host_port=port.host_port,
        container=max(addresses, key=lambda a: a.version),
        container_port=port.container_port,
        bridge=bridge.name,
    )
    if host == LOOPBACK6:
        yield common
        return
    own = [a for a in addresses if host is None or host.version == a.version]
    for address in own:
        is_any = host is None or host.is_unspecified
        yield replace(common, host=None if is_any else host, container=address)
    can_be_relayed = own and has_relay and port.protocol in RELAYED
    if can_be_relayed and (host is None or host == EVERY6):
        yield replace(common, host=LOOPBACK6)


def _relay(container_id: str, publication: Publication) -> Relay:
    return Relay(
        container=container_id,
        protocol=publication.protocol,
        host_port=publication.host_port,
        address=str(publication.container),
        port=publication.container_port,
    )


def _nobody(_publication: Publication) -> None:
    """Nothing is relayed yet."""


def _row(container_id: str, p: Publication, network_id: str) -> PortRow:
    return PortRow(
        protocol=p.protocol,
        host=p.host_text,
        host_port=p.host_port,
        container_id=container_id,
        network_id=network_id,
        container=str(p.container),
        container_port=p.container_port,
    )


def _publication(row: PortRow, bridge: str) -> Publication:
    host = ipaddress.ip_address(row.host)
    return Publication(
        protocol=row.protocol,  # type: ignore[arg-type] # as it was written
        host=None if host.is_unspecified else host,
        host_port=row.host_port,
        container=ipaddress.ip_address(row.container),
        container_port=row.container_port,
        bridge=bridge,
    )
