"""The container's end of a link, for a thread that has joined its network namespace."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

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
from cgagent.network.values import IPV6

if TYPE_CHECKING:
    from cgagent.network.netlink import Message
    from cgagent.network.values import Interface, Link


def set_up(link: Link, *, loopback: bool, carrier: bool = True, announce: bool = False) -> None:
    """Give a link that was just made all that it is to have.

    `carrier`: wait until it works. `announce`: the kernel tells neighbours where it is when it is
    set up and when its MAC changes.
    """
    route = Route.of_this_process()
    try:
        if announce:
            announce_changes(link.name)
        first = (rt.loopback_up(),) if loopback else ()
        addresses = _configure(route, link, route.index(link.name) or 0, *first)
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


def _configure(route: Route, link: Link, index: int, *first: Message) -> tuple[Interface, ...]:
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
    return addresses


def readdress(link: Link) -> None:
    """Give it another MAC, other addresses and gateways; a `Child` keeps its MAC."""
    route = Route.of_this_process()
    try:
        index = route.index(link.name)
        if index is None:
            raise NotFoundError(f"interface {link.name} is not in the container's network")
        old = [rt.remove_address(index, a.interface) for a in route.addresses(index)]
        mac = () if link.child else (rt.change_link(link.name, rt.mac(link.mac)),)
        route.batch(*old, *mac)
        await_ready(route, link.name, _configure(route, link, index))
    finally:
        route.close()
