"""The container's end of a link, for a thread that has joined its network namespace."""

from __future__ import annotations

import errno
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from cgagent.errors import NotFoundError
from cgagent.network import rtmessages as rt
from cgagent.network.interfaces import (
    announce_changes,
    await_ready,
    families,
    has,
    set_ipv6,
    with_link_local,
)
from cgagent.network.rtnetlink import Route
from cgagent.network.values import IPV4, IPV6

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgagent.network.netlink import Message
    from cgagent.network.values import Address, Interface, Link

    Neighbours: TypeAlias = Mapping[Address, str]


def set_up(
    link: Link,
    neighbours: Neighbours = MappingProxyType({}),
    *,
    loopback: bool,
    carrier: bool = True,
    announce: bool = False,
) -> None:
    """Give a link that was just made all that it is to have.

    `neighbours`, by address with their MACs, need not be asked where they are.

    `carrier`: wait until it works. `announce`: the kernel tells neighbours where it is when it is
    set up and when its MAC changes.
    """
    route = Route.of_this_process()
    try:
        if announce:
            announce_changes(link.name)
        first = (rt.loopback_up(),) if loopback else ()
        index = route.index(link.name) or 0
        addresses = _configure(route, link, index, neighbours, *first)
        if carrier:
            await_ready(route, link.name, addresses)
    finally:
        route.close()


def remove(index: int) -> None:
    """Delete an interface, if it is there, whatever its name is now."""
    route = Route.of_this_process()
    try:
        (refused,) = route.attempt(rt.delete_index(index))
        if refused is not None and refused.errno != errno.ENODEV:
            raise refused
    finally:
        route.close()


def _configure(
    route: Route, link: Link, index: int, neighbours: Neighbours, *first: Message
) -> tuple[Interface, ...]:
    """Returns its addresses with the link-local one."""
    ipv6 = has(IPV6, link.addresses)
    set_ipv6(link.name, on=ipv6)
    addresses = with_link_local(link.addresses, link.mac)
    own = [rt.change_link(link.name, families(link.mtu))] if ipv6 else []
    own += [rt.add_address(index, address) for address in addresses]
    routes = [
        rt.default_route(index, gateway, onlink=not any(gateway in a.network for a in addresses))
        for gateway in link.gateways
    ]
    route.batch(*first, *own, rt.change_link(link.name, up=True), *routes)  # routes need it up
    route.attempt(
        *(
            rt.neighbour(index, address, mac, uncounted=True)
            for address, mac in neighbours.items()
            if ipv6 or address.version == IPV4
        )
    )
    return addresses


def readdress(link: Link, neighbours: Neighbours) -> None:
    """Give it another MAC, other addresses and gateways; a `Child` keeps its MAC."""
    route = Route.of_this_process()
    try:
        index = route.index(link.name)
        if index is None:
            raise NotFoundError(f"interface {link.name} is not in the container's network")
        old = [rt.remove_address(index, a.interface) for a in route.addresses(index)]
        mac = () if link.child else (rt.change_link(link.name, rt.mac(link.mac)),)
        route.batch(*old, *mac)
        await_ready(route, link.name, _configure(route, link, index, neighbours))
    finally:
        route.close()
