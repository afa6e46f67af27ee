"""The links of containers to the bridges of one host namespace, and what is there of ours.

A link is a veth pair whose far end is made inside the container's namespace. Everything of ours
carries an alias ``cgagent:<owner>:<network>``: it is known after a crash, and another agent's is
left alone. Owned by the engine; thread-safe. A death of this process at any instant leaves at most
an interface that `Links.ours` finds.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from cgagent.errors import ConflictError, InvalidInputError, NotFoundError
from cgagent.network import children, rates
from cgagent.network import rtmessages as rt
from cgagent.network.announce import Announcer
from cgagent.network.bridges import STANDING, Bridges
from cgagent.network.inside import readdress, set_up
from cgagent.network.interfaces import (
    await_ready,
    checked_name,
    delete,
    explained,
    families,
    mac_of,
    new_host_name,
)
from cgagent.network.netlink import NetlinkError
from cgagent.network.netns import in_network_of
from cgagent.network.parents import Parents
from cgagent.network.rtnetlink import Route
from cgagent.network.values import BRIDGE_PORTS_MAX, FoundLink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cgagent.network.rates import Rates
    from cgagent.network.rtrecords import LinkRecord
    from cgagent.network.values import Address, Bridge, Counters, Link, Subnet

__all__ = ["Links", "mac_of", "new_host_name"]

_RT_TABLE_LOCAL: Final = 255
_RTN_MULTICAST: Final = 5
_KINDS: Final[dict[str, Literal["bridge", "vlan", "ifb"]]] = {
    "bridge": "bridge",
    "vlan": "vlan",
    "ifb": "ifb",
}
_PREFIX_MIN: Final = 4
"""What is wider is a default route, or a part of one as VPNs make them (0.0.0.0/1)."""


class Links:
    """Those of one owner in one host namespace."""

    def __init__(self, owner: str, netns_fd: int | None = None) -> None:
        """`owner`: the data root's id. `netns_fd`: the host's; None: this process's own."""
        self._prefix = f"cgagent:{owner}:"
        self._netns_fd = netns_fd
        self._route = self._opened()
        # What waits for the kernel's readers does not keep others from their requests.
        self._slow = self._opened()
        self._announcer = Announcer(netns_fd)
        self._introduced: dict[str, tuple[int, frozenset[Address]]] = {}
        """By the host's end: its bridge, and the addresses that the host knows to be behind it."""
        self._bridges = Bridges(self._prefix, self._route, self._slow, self._in_host)
        self.parents = Parents(self._prefix, self._route, self._slow)

    def _opened(self) -> Route:
        return Route.of_this_process() if self._netns_fd is None else Route.of(self._netns_fd)

    def _in_host(self, work: Callable[[], None]) -> None:
        if self._netns_fd is None:
            work()
        else:
            in_network_of(self._netns_fd, work)

    def make_bridge(self, bridge: Bridge) -> None:
        """Make it, or mend its addresses, its MTU, its settings; it works when this returns.

        Raises:
            ConflictError: an interface of its name is there that is not of its network.
            UnsupportedError: the kernel has no bridges, or no IPv6 for its addresses.
            InvalidInputError: no interface can have its name.
        """
        self._bridges.make(bridge)

    def rejoin(self, bridge: Bridge) -> None:
        """Put the links of its network on it that are on no bridge: theirs had been deleted."""
        master = rt.master(self._route.index(bridge.name) or 0)
        port = rt.port_settings(isolated=bridge.isolated)
        for found in self.ours():
            if found.kind == "veth" and found.network == bridge.network and not found.bridge:
                with suppress(NetlinkError):  # it ends just now
                    self._route.batch(
                        rt.change_link(found.name, master), rt.change_link(found.name, port)
                    )

    def remove_bridge(self, name: str) -> None:
        """No error if it is not there. Waits 31 ms for the kernel's readers.

        Raises:
            ConflictError: the interface is not ours.
        """
        self._bridges.remove(name)

    def attach(self, link: Link, netns_fd: int, *, loopback: bool = True) -> None:
        """Connect a namespace to a bridge: packets pass, in both directions, when this returns.

        A `Child` is made of the host's interface `link.bridge` instead. `loopback`: set lo up as
        well. On an error nothing is left.

        Raises:
            NotFoundError: no such bridge or parent.
            ConflictError: the bridge is full or down, or an interface of this name is there, or the
                parent has another use.
            InvalidInputError: no interface can have this name, MAC or mode.
            UnsupportedError: the kernel has no such interfaces.
        """
        if link.child is not None:
            children.attach(self._route, link.child, link, netns_fd, loopback=loopback)
            return
        checked_name(link.name)
        bridge = self._route.index(link.bridge)
        if bridge is None:
            raise NotFoundError(f"bridge {link.bridge} is not there: restart the agent")
        self._make_veth(link, bridge, netns_fd)
        try:
            beside = self._bridges.neighbours(link.bridge)
            in_network_of(netns_fd, partial(set_up, link, beside, loopback=loopback))
            self._introduce(link, bridge)
        except BaseException:
            self.detach(link.host_name)
            raise

    def _make_veth(self, link: Link, bridge: int, netns_fd: int) -> None:
        near, mtu = link.host_name, rt.mtu(link.mtu)
        own, peers = (mtu, rt.master(bridge)), (mtu, rt.mac(link.mac))
        alias = rt.alias(self._prefix + link.network)
        port = rt.port_settings(isolated=link.isolated)
        try:
            self._route.batch(
                rt.make_veth(near, link.name, *own, peers=peers, netns_fd=netns_fd),
                rt.change_link(near, alias, port, families(link.mtu), up=True),
            )
        except NetlinkError as e:
            if e.place:
                self.detach(link.host_name)
            raise self._explained(e, link) from e

    def _explained(self, error: NetlinkError, link: Link) -> Exception:
        if error.errno == errno.EADDRNOTAVAIL:
            return InvalidInputError(f"MAC address {link.mac} cannot be that of an interface")
        if error.errno == errno.EXFULL:
            return ConflictError(
                f"bridge {link.bridge} has {BRIDGE_PORTS_MAX} ports, as many as the kernel allows:"
                " use another network"
            )
        if error.errno == errno.EEXIST:
            on_host = self._route.index(link.host_name) is not None
            name, place = (link.host_name, "host") if on_host else (link.name, "container")
            return ConflictError(f"interface {name} exists already in the {place}'s network")
        return explained(error, "veth")

    def _introduce(self, link: Link, bridge: int) -> None:
        """Have bridge, host and neighbours know where its addresses are now.

        They may have known other places; what they do not take they find out by themselves.
        """
        port = await_ready(self._route, link.host_name, bridge=link.bridge)
        addresses = [a.ip for a in link.addresses]
        self._forget(link.host_name, but=addresses)
        self._introduced[link.host_name] = bridge, frozenset(addresses)
        self._route.attempt(
            rt.forwarding(port.index, link.mac),
            *(rt.neighbour(bridge, address, link.mac) for address in addresses),
        )
        for address in addresses:
            self._announcer.announce(link.bridge, link.mac, address)

    def _forget(self, host_name: str, but: Iterable[Address] = ()) -> None:
        """The kernel would keep what the host knows of its addresses, and has room for 1,024."""
        bridge, addresses = self._introduced.pop(host_name, (0, frozenset()))
        self._route.attempt(*(rt.no_neighbour(bridge, a) for a in addresses.difference(but)))

    def detach(self, *host_names: str) -> None:
        """No error for those that are gone. Waits 19 ms for the kernel's readers, once for all."""
        for name in host_names:
            self._forget(name)
        delete(self._slow, *host_names, *map(rates.ifb_of, host_names))

    def limit(self, host_name: str, wanted: Rates) -> None:
        """Hold a link to these rates, at once; no error if it is gone.

        Raises:
            UnsupportedError: the kernel lacks what it takes.
        """
        rates.limit(self._slow, host_name, wanted)

    def rates(self, host_name: str) -> Rates | None:
        """What the kernel holds a link to; None: it is gone."""
        return rates.held(self._route, host_name)

    def limited(self) -> set[str]:
        """The names of links that `limit` has limited, of an earlier agent's too."""
        return rates.limited(self._route)

    def readdress(self, link: Link, netns_fd: int) -> None:
        """Give a link that is attached the MAC, addresses and gateways of this one instead."""
        if link.child is not None:
            in_network_of(netns_fd, partial(readdress, link, {}))
            return
        bridge = self._route.index(link.bridge)
        if bridge is None:
            raise NotFoundError(f"bridge {link.bridge} is not there: restart the agent")
        beside = self._bridges.neighbours(link.bridge)
        in_network_of(netns_fd, partial(readdress, link, beside))
        self._introduce(link, bridge)

    def detach_child(self, host_name: str, netns_fd: int) -> None:
        """Delete a link that is a child, inside; no error if it is gone.

        Waits for the kernel's readers.
        """
        children.detach(host_name, netns_fd)

    def ours(self) -> list[FoundLink]:
        """The bridges and links of this owner that are there, whatever was recorded of them."""
        links = self._route.links()
        names = {link.index: link.name for link in links}
        return [
            self._found(link, names.get(link.master))
            for link in links
            if link.alias.startswith(self._prefix)
            and not (link.name.startswith(STANDING) and link.master)
        ]

    def _found(self, link: LinkRecord, bridge: str | None) -> FoundLink:
        return FoundLink(
            name=link.name,
            kind=_KINDS.get(link.kind, "veth"),
            network=link.alias.removeprefix(self._prefix),
            bridge=bridge,
            up=link.up,
        )

    def host_subnets(self) -> list[Subnet]:
        """What a new network must not overlap: the subnets of addresses and of all tables' routes.

        Default routes are none, in however many parts they come.
        """
        found: set[Subnet] = {record.subnet for record in self._route.addresses()}
        found |= {
            route.destination
            for route in self._route.routes()
            if route.table != _RT_TABLE_LOCAL and route.kind != _RTN_MULTICAST
        }
        wide = (s for s in found if s.prefixlen >= _PREFIX_MIN)
        return sorted(wide, key=lambda s: (s.version, s.network_address.packed, s.prefixlen))

    def exists(self, name: str) -> bool:
        """Is there an interface of this name, whoever's?"""
        return self._route.index(name) is not None

    def mtu_outward(self) -> int:
        """Of the interface of the default route; of Ethernet where there is none."""
        ways = {r.index for r in self._route.routes() if r.gateway and not r.destination.prefixlen}
        return min((link.mtu for link in self._route.links() if link.index in ways), default=1500)

    def counters(self, host_name: str) -> Counters | None:
        """As the container sees them; None: the link is gone."""
        found = self._route.link(host_name, counters=True)
        return None if found is None else found.counters

    def close(self) -> None:
        for part in (self._route, self._slow, self._announcer):
            with suppress(OSError):
                part.close()
