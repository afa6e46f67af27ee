"""What the rooms of `cgagent.network` and the engine say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Final, Literal

Protocol = Literal["tcp", "udp", "sctp"]
Interface = IPv4Interface | IPv6Interface
Address = IPv4Address | IPv6Address
Subnet = IPv4Network | IPv6Network

IPV4: Final = 4
IPV6: Final = 6
LOOPBACK6: Final = IPv6Address("::1")
EVERY6: Final = IPv6Address("::")

BRIDGE_PORTS_MAX: Final = 1023
"""Ports that a bridge of the kernel's has at most (BR_MAX_PORTS)."""


@dataclass(frozen=True, slots=True)
class Child:
    """How a container's interface shares one of the host's, without a bridge."""

    kind: Literal["macvlan", "ipvlan"]
    """With a MAC of its own, or with the parent's."""
    mode: str
    """macvlan: ``bridge``, ``private``, ``vepa``, ``passthru``; ipvlan: ``l2``, ``l3``, ``l3s``."""
    flag: str = ""
    """Of an ipvlan: ``bridge``, ``private``, ``vepa``; empty: the kernel's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A bridge of the host's with the gateway addresses of its network."""

    network: str
    """The network's id."""
    name: str
    """The interface's name, at most 15 bytes."""
    addresses: tuple[Interface, ...]
    """The host's own on it, with their prefix lengths; the gateways of those on the bridge."""
    mtu: int = 1500
    internal: bool = False
    """No way out of it, and none in."""
    isolated: bool = False
    """Its members do not reach each other (inter-container communication is off)."""
    masquerade: bool = True
    """What leaves through another interface has the host's address."""
    publish_on: Address | None = None
    """Where ports are published that name no address of the host's; None: on all."""
    child: Child | None = None
    """How its members share it, if they have no ports on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """An interface of the host's that the members of a network share."""

    network: str
    """The network's id."""
    name: str
    """The interface's name. ``eth0.10`` is made where it is not there: VLAN 10 of eth0."""
    child: Child
    mtu: int = 0
    """Of the members' interfaces; 0: the parent's."""


Side = Bridge | Parent
"""The host's part of a network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A veth pair: one end on a bridge, the other one in a container's network namespace."""

    bridge: str
    """The interface's name; of a `Child` its parent's."""
    host_name: str
    """Of the end on the bridge; a `Child` has none on the host."""
    name: str
    """Inside: ``eth0``."""
    mac: str
    """``02:42:ac:11:00:02``"""
    addresses: tuple[Interface, ...]
    gateways: tuple[Address, ...] = ()
    """Of default routes; none for a container that has another network for that.

    An unspecified address: the default route leads by the interface itself.
    """
    mtu: int = 1500
    """0 of a `Child`: its parent's."""
    isolated: bool = False
    network: str
    """The network's id."""
    child: Child | None = None
    """No veth pair, but an interface that shares one of the host's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A port of the host's that a container answers."""

    protocol: Protocol
    host: Address | None
    """An address of the host's; None: each of this family."""
    host_port: int
    container: Address
    """Its family is the publication's, unless that is relayed."""
    container_port: int
    bridge: str
    """The interface's name."""

    @property
    def is_relayed(self) -> bool:
        """It is at [::1], which no firewall can lead elsewhere: a process takes it and passes on.

        The container's address is of either family.
        """
        return self.host == LOOPBACK6

    @property
    def host_text(self) -> str:
        """The host's address; of each of a family: 0.0.0.0 or ::."""
        if self.host is not None:
            return str(self.host)
        return "0.0.0.0" if self.container.version == IPV4 else "::"  # noqa: S104


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLink:
    """An interface of ours that is there."""

    name: str
    kind: Literal["bridge", "veth", "vlan", "ifb"]
    network: str
    """The network's id."""
    bridge: str | None
    """The bridge that a veth is on."""
    up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What a container has sent and received over one link since it was made."""

    received_bytes: int
    received_packets: int
    received_errors: int
    received_drops: int
    sent_bytes: int
    sent_packets: int
    sent_errors: int
    sent_drops: int
