"""The kernel's side of networks: bridges, parents, links, rules and ports, made when first needed.

An agent whose containers are in none of its networks touches no interface and no rule.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from cgagent.errors import ConflictError, NotFoundError
from cgagent.network import doctor, netns
from cgagent.network.firewall import Firewall
from cgagent.network.links import Links
from cgagent.network.ports import HostPorts
from cgagent.network.rates import owner_of
from cgagent.network.tablecounters import NONE
from cgagent.network.values import Bridge, Parent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from cgagent.network.rates import Rates
    from cgagent.network.tablecounters import TableCounts
    from cgagent.network.values import Address, FoundLink, Link, Publication, Side, Subnet

log = logging.getLogger(__name__)


class Wiring:
    """Each method may be called in a thread; one change of bridges is made at a time."""

    def __init__(self, owner: str, table: str) -> None:
        """`owner` is the agent's: what of the host's interfaces is ours has its name.

        `table` is that of the firewall with its rules.
        """
        self.links = Links(owner)
        self.ports = HostPorts()
        self._table = table
        self._made_firewall: Firewall | None = None
        self._bridges: dict[str, Bridge] = {}
        self._parents: dict[str, Parent] = {}
        """By the networks' ids: several may have the same interface."""
        self._publications: set[Publication] = set()
        self._lock = threading.RLock()
        self._is_loaded = False

    @property
    def _firewall(self) -> Firewall:
        """Raises UnsupportedError: the host lacks what it takes."""
        if self._made_firewall is None:
            self._made_firewall = Firewall(table=self._table)
        return self._made_firewall

    def is_up(self, side: Side) -> bool:
        """Is it made, or looked at, by us?"""
        return side.name in self._bridges or side.network in self._parents

    def check(self, side: Side) -> None:
        """Could containers be connected to it? Nothing is made.

        Raises:
            NotFoundError, InvalidInputError: the parent. UnsupportedError: the kernel lacks it.
        """
        if isinstance(side, Parent):
            self.links.parents.check(side)
        elif side.child is not None:
            self.links.parents.require(side.child.kind)

    def is_there(self, network_id: str) -> bool:
        """Has a network a bridge on this host, whichever agent of ours has made it?"""
        return any(f.kind == "bridge" and f.network == network_id for f in self.links.ours())

    def has(self, name: str) -> bool:
        """Is there an interface of this name, whoever's?"""
        return self.links.exists(name)

    def up(self, side: Side) -> list[str]:
        """A bridge with its rules, or a parent. What of the host's settings was switched on for it.

        Raises:
            ConflictError: another interface has its name. UnsupportedError: the kernel lacks it.
            NotFoundError: the parent is not there.
        """
        with self._lock:
            if isinstance(side, Parent):
                self.links.parents.make(side)
                self._parents[side.network] = side
                return []
            return self._up(side)

    def _up(self, bridge: Bridge) -> list[str]:
        firewall = self._firewall  # where there can be none, no bridge is made
        self.links.make_bridge(bridge)
        self._bridges[bridge.name] = bridge
        try:
            return list(firewall.add_bridge(bridge)) if self._is_loaded else self._load()
        except BaseException:
            del self._bridges[bridge.name]
            self.links.remove_bridge(bridge.name)
            raise

    def restore(self, sides: Collection[Side], publications: Collection[Publication]) -> list[str]:
        """After an earlier agent: what it had made, in one step, so that no port is ever away.

        Raises: as `up`.
        """
        with self._lock:
            self._parents = {side.network: side for side in sides if isinstance(side, Parent)}
            self._bridges = {side.name: side for side in sides if isinstance(side, Bridge)}
            for bridge in self._bridges.values():
                self._make_bridge(bridge)
            self._publications = set(publications)
            return self._load() if self._bridges else []

    def down(self, side: Side) -> None:
        """It goes, and with the last bridge all rules. One that is not there is no error."""
        with self._lock:
            if isinstance(side, Parent):
                self._parents.pop(side.network, None)
                if side.name not in {parent.name for parent in self._parents.values()}:
                    self.links.parents.remove(side.name)
            else:
                self._down(side.name)

    def _down(self, name: str) -> None:
        bridge = self._bridges.pop(name, None)
        if bridge is not None and self._bridges:
            self._firewall.remove_bridge(bridge)
        elif bridge is not None:
            self._firewall.end()
            self._is_loaded = False
        with suppress(ConflictError):  # of this name, and somebody else's: it was never up
            self.links.remove_bridge(name)

    @property
    def has_rules(self) -> bool:
        """Are there bridges, and rules that somebody else could change?"""
        return self._is_loaded

    def _load(self) -> list[str]:
        switched_on = self._firewall.load(self._bridges.values(), _led(self._publications))
        self._is_loaded = True
        return list(switched_on or ())

    def changes(self) -> int:
        """A descriptor that is readable after any change of the host's rules: then `heed`."""
        return self._firewall.changes().fileno()

    def heed(self) -> bool:
        """Has somebody else changed ours? Then `reload`."""
        return self._firewall.heed()

    def close(self) -> None:
        """Let go of sockets; what is made stays."""
        self.ports.close()
        if self._made_firewall is not None:
            self._made_firewall.close()
        self.links.close()

    def reload(self) -> None:
        """After somebody else has changed our rules."""
        with self._lock:
            if self._is_loaded:
                self._load()

    def attach(self, links: Iterable[Link], namespace: str) -> None:
        """All of them, to the network namespace that is this file.

        Raises:
            NotFoundError: the namespace. ConflictError: a bridge is full.
        """
        inside = netns.opened(namespace)
        try:
            for link in links:
                self._attach(link, inside)
        finally:
            os.close(inside)

    def readdress(self, link: Link, namespace: str) -> None:
        """Give a link that is attached the addresses and default routes of this one."""
        inside = netns.opened(namespace)
        try:
            self.links.readdress(link, inside)
        finally:
            os.close(inside)

    def _attach(self, link: Link, inside: int) -> None:
        try:
            self.links.attach(link, inside)
        except NotFoundError:
            self._make_again(link.bridge)  # or it is not there again, which says why
            self.links.attach(link, inside)

    def _make_again(self, name: str) -> None:
        """A bridge or a VLAN that somebody else has deleted."""
        with self._lock:
            parent = next((p for p in self._parents.values() if p.name == name), None)
            if parent is not None:
                self.links.parents.make(parent)
            bridge = self._bridges.get(name)
            if bridge is not None and not self.links.exists(name):
                log.warning("another program has deleted bridge %s; it is made anew", name)
                self._make_bridge(bridge)
                self._firewall.add_bridge(bridge)

    def _make_bridge(self, bridge: Bridge) -> None:
        """Links of its network that lost one to somebody else come to this one."""
        is_new = not self.links.exists(bridge.name)
        self.links.make_bridge(bridge)
        if is_new:
            self.links.rejoin(bridge)

    def detach_child(self, host_name: str, namespace: str) -> None:
        """Delete a link in the network namespace that is this file; none is no error."""
        inside = netns.opened(namespace)
        try:
            self.links.detach_child(host_name, inside)
        finally:
            os.close(inside)

    def detach(self, *host_names: str) -> None:
        """About 19 ms for all; no error for those that have gone."""
        self.links.detach(*host_names)

    def publish(self, publications: Collection[Publication]) -> None:
        """Ports that are reserved already."""
        with self._lock:
            self._firewall.publish(_led(publications))
            self._publications.update(publications)

    def unpublish(self, publications: Collection[Publication]) -> None:
        with self._lock:
            self._publications.difference_update(publications)
            if self._is_loaded:
                self._firewall.unpublish(_led(publications))
            self.ports.release(publications)

    def limit(self, host_names: Iterable[str], rates: Rates) -> None:
        """Hold each of these links to the rates, as far as they are there.

        Raises:
            UnsupportedError: the kernel lacks what it takes.
        """
        for name in host_names:
            self.links.limit(name, rates)

    def prioritize(self, priorities: Mapping[Address, int]) -> None:
        """Give what these addresses send a priority; 0: none, as nearly all have."""
        new = {a: p for a, p in priorities.items() if p != self.priority(a)}
        if new:
            self._firewall.prioritize(new)

    def priority(self, address: Address) -> int:
        """Who changes it in the kernel has the rules made anew."""
        return self._firewall.priority(address) if self._is_loaded else 0

    def counts(self) -> TableCounts:
        """What the rules have dropped, and which published ports were used."""
        return self._firewall.counts() if self._is_loaded else NONE

    def findings(self) -> list[doctor.Finding]:
        """Find settings and firewalls of the host that block containers' traffic."""
        return list(doctor.findings(list(self._bridges.values())))

    def sweep(
        self, known: Iterable[str], is_kept: Callable[[FoundLink], bool] = lambda _: False
    ) -> list[FoundLink]:
        """Remove interfaces that are ours, but for the links that are known and bridges in use.

        Without a bridge in use, the rules go as well. Returns what is neither known nor removed,
        as `is_kept` says; what has outlived the link that it went with is not asked about.
        """
        with self._lock:
            in_use = {*known, *self._bridges, *(p.name for p in self._parents.values())}
            there = self.links.ours()
            names = {found.name for found in there}
            left = [found for found in there if owner_of(found) not in in_use]
            kept = [found for found in left if is_kept(found) and owner_of(found) in names]
            gone = [found for found in left if found not in kept]
            self.detach(*(found.name for found in gone if found.kind != "bridge"))
            for found in gone:
                if found.kind == "bridge":
                    self.links.remove_bridge(found.name)
            if gone and not kept and not self._bridges:
                self._firewall.end()
            return kept

    def host_subnets(self) -> list[Subnet]:
        return self.links.host_subnets()

    def mtu_outward(self) -> int:
        """Of the host's way to other hosts."""
        return self.links.mtu_outward()

    def mtu(self, side: Side) -> int:
        """Of the links to one that is up; 0: a parent's own."""
        return side.mtu if isinstance(side, Parent) else self._bridges[side.name].mtu


def _led(publications: Iterable[Publication]) -> list[Publication]:
    """Those that the firewall leads to containers; the others are relayed."""
    return [p for p in publications if not p.is_relayed]
