"""A container's place in one network, as a record and as a row of the database."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cgagent.engine.containers.codec import from_plain, to_plain
from cgagent.engine.options.networking import EndpointSpec
from cgagent.network.links import mac_of
from cgagent.store.networks import EndpointRow

if TYPE_CHECKING:
    from cgagent.network.values import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A container's place in one network; the last three are there while it is attached."""

    container_id: str
    network_id: str
    position: int
    spec: EndpointSpec
    host_name: str | None = None
    """Of the link's end on the host."""
    address: Address | None = None
    address6: Address | None = None

    @property
    def name(self) -> str:
        """Of the interface inside."""
        return f"eth{self.position}"

    @property
    def addresses(self) -> tuple[Address, ...]:
        return tuple(a for a in (self.address, self.address6) if a is not None)

    @property
    def asked(self) -> tuple[Address, ...]:
        """Those that it is to have whenever it is attached."""
        given = filter(None, (self.spec.address, self.spec.address6))
        return tuple(ipaddress.ip_address(text) for text in given)

    @property
    def mac(self) -> str:
        if self.spec.mac or not self.addresses:
            return self.spec.mac
        return mac_of(self.addresses[0])

    def row(self) -> EndpointRow:
        return EndpointRow(
            container_id=self.container_id,
            network_id=self.network_id,
            position=self.position,
            document=json.dumps(to_plain(self.spec)),
            host_name=self.host_name,
            address=None if self.address is None else str(self.address),
            address6=None if self.address6 is None else str(self.address6),
        )

    def suits(self, wanted: Endpoint) -> bool:
        """Is it, attached or not, what another one of the same container's asks for?"""
        return (
            (self.network_id, self.position) == (wanted.network_id, wanted.position)
            and {*wanted.asked} <= {*self.addresses}
            and wanted.spec.mac in {"", self.mac}
            and wanted.spec.driver_options == self.spec.driver_options
            and wanted.spec.link_local == self.spec.link_local
        )

    def let_go(self) -> Endpoint:
        """Without its link and its addresses."""
        return replace(self, host_name=None, address=None, address6=None)


def from_row(row: EndpointRow) -> Endpoint:
    found = Endpoint(
        container_id=row.container_id,
        network_id=row.network_id,
        position=row.position,
        spec=from_plain(EndpointSpec, json.loads(row.document)),
        host_name=row.host_name,
        address=None if row.address is None else ipaddress.ip_address(row.address),
        address6=None if row.address6 is None else ipaddress.ip_address(row.address6),
    )
    # An older agent kept addresses that were asked for while nothing was attached.
    return found if found.host_name else found.let_go()
