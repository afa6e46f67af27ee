"""Which addresses: a subnet for a new network, and the next free address in one.

Addresses are given next-fit: one that was given back is the last to be given again, so that
neighbours have forgotten whose it was.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final

from cgagent.errors import ConflictError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable

    from cgagent.network.values import Address, Interface, Subnet

_IPV4: Final = 4
_NOT_OF_HOSTS: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "127.0.0.0/8",
            "224.0.0.0/4",
            "::/96",
            "::ffff:0:0/96",
            "fe80::/10",
            "ff00::/8",
        ),
    )
)
"""No address yet, the loopback, multicast, IPv4 in IPv6, and what each link has by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Subnets of networks for which none was asked: parts of `base` with a longer prefix."""

    base: Subnet
    prefix: int

    @classmethod
    def parse(cls, text: str) -> Pool:
        """``BASE/PREFIX:PREFIX``, such as ``172.28.0.0/14:20``.

        Raises:
            InvalidInputError: it is none.
        """
        base, _, prefix = text.rpartition(":")
        try:
            pool = cls(base=ipaddress.ip_network(base), prefix=int(prefix))
        except ValueError:
            pool = None
        if pool is None or not pool.base.prefixlen <= pool.prefix <= pool.base.max_prefixlen - 2:
            raise InvalidInputError(
                f"address pool {text!r} is not BASE/PREFIX:PREFIX; such as 172.28.0.0/14:20"
            )
        return pool


def free_subnet(pools: Iterable[Pool], taken: Collection[Subnet], family: int = _IPV4) -> Subnet:
    """The first of the pools' subnets that overlaps with none that is taken.

    Raises:
        ConflictError: there is none.
    """
    for pool in pools:
        if pool.base.version != family:
            continue
        for subnet in pool.base.subnets(new_prefix=pool.prefix):
            if not any(overlaps(subnet, other) for other in taken):
                return subnet
    raise ConflictError(
        f"no IPv{family} subnet of the address pools is free of the host's routes and of other "
        "networks; remove networks (cgagent network prune), give one with --subnet, or set "
        "address_pools"
    )


def overlaps(one: Subnet, other: Subnet) -> bool:
    """Whether an address may be in both; never of two families."""
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return not isinstance(other, IPv4Network) and one.overlaps(other)


def parse_address(text: str) -> Address:
    """An IPv4-mapped IPv6 address is the IPv4 one.

    Raises:
        ValueError: it is none, or has a zone (``fe80::1%eth0``), which no network of ours knows.
    """
    if "%" in text:
        raise ValueError(f"{text[:60]!r} has a zone, behind %")
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


def parse_subnet(text: str) -> Subnet:
    """Raises ValueError: it is none, or not one of addresses that hosts may have."""
    subnet = ipaddress.ip_network(text)
    if "%" in text:
        raise ValueError(f"{text[:60]!r} has a zone, behind %")
    other = next((s for s in _NOT_OF_HOSTS if overlaps(s, subnet)), None)
    if other is not None:
        raise ValueError(f"{other} in it is not for hosts; take a part of 10.0.0.0/8 or fd00::/8")
    return subnet


def may_be_hosts(address: Address, subnet: Subnet) -> bool:
    """Whether it is neither the subnet's own nor its broadcast address."""
    return int(subnet.network_address) < int(address) <= _last(subnet)


def gateway_of(subnet: Subnet) -> Address:
    """The host's own address in it, if none is asked for: the first."""
    return subnet.network_address + 1


def next_address(
    subnet: Subnet, taken: Container[Address], after: Address | None, within: Subnet | None = None
) -> Address:
    """The first one behind `after` that is not taken, of all that hosts may have; then from start.

    `within` is the part of the subnet that is given from.

    Raises:
        ConflictError: all are taken.
    """
    part = within or subnet
    first = max(int(part.network_address), int(subnet.network_address) + 1)
    last = min(int(part.broadcast_address), _last(subnet))
    begin = first if after is None or not first <= int(after) < last else int(after) + 1
    make = type(subnet.network_address)
    for number in _ring(first, last, begin):
        address = make(number)
        if address not in taken:
            return address
    raise ConflictError(
        f"no address of {part} is free: all are given to containers; "
        "remove containers or make a larger network"
    )


def _ring(first: int, last: int, begin: int) -> Iterable[int]:
    yield from range(begin, last + 1)
    yield from range(first, begin)


def _last(subnet: Subnet) -> int:
    """The broadcast address is nobody's in IPv4."""
    return int(subnet.broadcast_address) - (subnet.version == _IPV4)


def link_local(text: str) -> Interface:
    """A link-local address, with the prefix of its link."""
    return ipaddress.ip_interface(f"{text}/{64 if ':' in text else 16}")


def with_prefix(address: Address, subnet: Subnet) -> Interface:
    return ipaddress.ip_interface(f"{address}/{subnet.prefixlen}")
