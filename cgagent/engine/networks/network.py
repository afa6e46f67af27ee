"""What a network that was asked for came to: subnets with gateways, and a part of the host's."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.engine.networks.drivers import driver
from cgagent.engine.networks.spec import NetworkSpec, SubnetSpec  # noqa: TC001 - pydantic reads it
from cgagent.engine.options.networking import DEFAULT, HOST, NONE
from cgagent.errors import ConflictError, InvalidInputError, UnsupportedError
from cgagent.network import ipam
from cgagent.network.values import (  # pydantic reads these types
    IPV6,
    Address,
    Interface,
    Subnet,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from cgagent.engine.networks.drivers import Driver
    from cgagent.network.values import Side

DEFAULT_INTERFACE: Final = "cgagent"
"""With a number after it: 0, unless another agent of the host has that."""
BUILT_IN: Final = (DEFAULT, HOST, NONE)
_RESERVED: Final = (*BUILT_IN[1:], "default")
"""Nobody makes one of these names."""
_NAME: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_. -]*[a-zA-Z0-9_.-])?")
_NAME_MAX: Final = 255
_MTU_IPV6_MIN: Final = 1280


@dataclass(frozen=True, kw_only=True)
class Range:
    """A subnet with the host's own address in it."""

    subnet: Subnet
    gateway: Address
    part: Subnet | None = None
    """What addresses are given from; None: from all of it."""
    reserved: tuple[Address, ...] = ()

    @property
    def interface(self) -> Interface:
        return ipam.with_prefix(self.gateway, self.subnet)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A network with nothing left open: the document in its row."""

    spec: NetworkSpec
    ranges: tuple[Range, ...]
    interface: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    id: str
    created_ns: int
    plan: Plan

    @property
    def name(self) -> str:
        return self.plan.spec.name

    @property
    def is_default(self) -> bool:
        return self.name == DEFAULT

    def range_of(self, version: int) -> Range | None:
        """Its first range of IPv4 or IPv6."""
        return next((r for r in self.plan.ranges if r.subnet.version == version), None)

    def clash(self, others: Collection[Subnet]) -> Subnet | None:
        """One of these that overlaps with one of its own."""
        return next(
            (o for o in others for r in self.plan.ranges if ipam.overlaps(r.subnet, o)), None
        )

    @property
    def driver(self) -> Driver:
        return driver(self.plan.spec.driver)

    @property
    def is_internal(self) -> bool:
        return self.driver.is_internal(self.plan.spec)

    @property
    def has_macs(self) -> bool:
        return self.driver.has_macs(self.plan.spec)

    @property
    def gateways(self) -> tuple[Address, ...]:
        """Of its members' default routes; an unspecified address: by the interface itself."""
        ranges = filter(None, map(self.range_of, (4, 6)))
        return self.driver.gateways(self.plan.spec, tuple(r.gateway for r in ranges))

    def side(self, mtu: int = 0) -> Side:
        """The host's part of it. `mtu` is of the way out, where none was asked for."""
        addresses = tuple(r.interface for r in self.plan.ranges)
        return self.driver.side(self.plan.spec, self.id, self.plan.interface, addresses, mtu)


def built_in_id(name: str) -> str:
    """Of ``host`` and ``none``, which have no row."""
    return hashlib.sha256(f"cgagent network {name}".encode()).hexdigest()


def plan(
    spec: NetworkSpec,
    network_id: str,
    *,
    pools: Collection[ipam.Pool],
    others: Collection[Network],
    host_subnets: Callable[[], Collection[Subnet]],
) -> Plan:
    """Fill in what is left open.

    Raises:
        InvalidInputError: a value that is none. UnsupportedError: a driver that is not there.
        ConflictError: a name, an interface or a subnet that is taken; no subnet is free.
    """
    _check(spec)
    if any(o.name == spec.name for o in others):
        raise ConflictError(f"network with name {spec.name} already exists")
    interface = driver(spec.driver).interface(spec, network_id)
    _check_shared(spec, interface, others)
    taken = [r.subnet for o in others for r in o.plan.ranges]
    ranges = [_range(s, taken) for s in spec.subnets if s.subnet]
    for version in (4, 6):
        if len(same_family := [r for r in ranges if r.subnet.version == version]) > 1:
            raise UnsupportedError(
                f"network {spec.name}: {len(same_family)} subnets of IPv{version}; a network has "
                "one of IPv4 and one of IPv6: make another network"
            )
    if any(not s.subnet and (s.gateway or s.ip_range or s.aux_addresses) for s in spec.subnets):
        raise InvalidInputError("network: a gateway or a range needs the subnet that it is in")
    wanted = [4, *([6] if spec.ipv6 else [])]
    for version in wanted:
        if not any(r.subnet.version == version for r in ranges):
            busy = [*taken, *host_subnets(), *(r.subnet for r in ranges)]
            subnet = ipam.free_subnet(pools, busy, version)
            ranges.append(Range(subnet=subnet, gateway=ipam.gateway_of(subnet)))
    mtu = int(driver(spec.driver).options(spec).get("mtu", _MTU_IPV6_MIN))
    if mtu < _MTU_IPV6_MIN and any(r.subnet.version == IPV6 for r in ranges):
        raise InvalidInputError(
            f"network option mtu: {mtu}, and IPv6 needs {_MTU_IPV6_MIN}; leave one of them out"
        )
    return Plan(spec=spec, ranges=tuple(ranges), interface=interface)


def _check(spec: NetworkSpec) -> None:
    if not _NAME.fullmatch(spec.name) or len(spec.name) > _NAME_MAX:
        raise InvalidInputError(
            f"network name {spec.name[:80]!r} is not valid: letters, digits, blanks and _ . - "
            "after a first letter or digit"
        )
    if spec.name in _RESERVED:
        raise ConflictError(f"network with name {spec.name} already exists: it is always there")
    driver(spec.driver).options(spec)


def _check_shared(spec: NetworkSpec, interface: str, others: Iterable[Network]) -> None:
    for other in others:
        has_it = other.plan.interface == interface
        if has_it and not driver(spec.driver).may_share(spec, other.plan.spec):
            raise ConflictError(
                f"network {other.name} is already using interface {interface}; name another one, "
                "or remove that network first"
            )


def _range(spec: SubnetSpec, taken: Iterable[Subnet]) -> Range:
    subnet: Subnet = _parse(ipam.parse_subnet, spec.subnet, "subnet")
    if subnet.prefixlen > subnet.max_prefixlen - 2:
        raise InvalidInputError(f"subnet {subnet} has no room for a gateway and a container")
    for other in taken:
        if ipam.overlaps(subnet, other):
            raise ConflictError(f"subnet {subnet} overlaps with {other}, which another network has")
    gateway: Address = (
        _parse(ipam.parse_address, spec.gateway, "gateway")
        if spec.gateway
        else ipam.gateway_of(subnet)
    )
    part: Subnet | None = (
        _parse(ipaddress.ip_network, spec.ip_range, "ip-range") if spec.ip_range else None
    )
    reserved = tuple(
        _parse(ipam.parse_address, text, f"aux-address {name}")
        for name, text in spec.aux_addresses.items()
    )
    for address in (gateway, *reserved):
        if address not in subnet:
            raise InvalidInputError(f"address {address} is not in subnet {subnet}")
    if not ipam.may_be_hosts(gateway, subnet):
        raise InvalidInputError(
            f"gateway {gateway} is the first or the last address of subnet {subnet}, which no host "
            "can have; choose another one"
        )
    if part is not None and not (
        ipam.overlaps(part, subnet) and part.prefixlen >= subnet.prefixlen
    ):
        raise InvalidInputError(f"ip-range {part} is not in subnet {subnet}")
    return Range(subnet=subnet, gateway=gateway, part=part, reserved=reserved)


def _parse(kind: Callable[[str], object], text: str, what: str) -> Any:
    try:
        return kind(text)
    except ValueError as e:
        raise InvalidInputError(f"{what} {text!r} is not valid: {e}") from None
