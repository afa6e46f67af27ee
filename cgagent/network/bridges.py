"""Bridges of the host's for networks, each with a standing port.

A bridge without a working port has no carrier, its IPv6 addresses do not work, and the first
packets after its first port's coming are lost. So each has one that stays: a veth whose other end
is on the host as well, and into which nothing is flooded.
"""

from __future__ import annotations

import hashlib
import os
import threading
import zlib
from functools import partial
from typing import TYPE_CHECKING, Final

from cgagent.errors import ConflictError
from cgagent.network import rtmessages as rt
from cgagent.network.interfaces import (
    await_ready,
    checked_name,
    delete,
    explained,
    families,
    has,
    local_mac,
    mac_of,
    set_ipv6,
    with_link_local,
)
from cgagent.network.netlink import NetlinkError
from cgagent.network.values import IPV6

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cgagent.network.netlink import Message
    from cgagent.network.rtnetlink import Route
    from cgagent.network.rtrecords import LinkRecord
    from cgagent.network.values import Address, Bridge

STANDING: Final = "cgp"
"""How a standing port's name begins: no digit of the random names."""
_STANDING_PEER: Final = "cgq"


class Bridges:
    """Those of one host namespace and one owner."""

    def __init__(
        self, prefix: str, route: Route, slow: Route, inside: Callable[[Callable[[], None]], None]
    ) -> None:
        """`prefix`: of our aliases; `inside` calls something in the host's namespace."""
        self._prefix = prefix
        self._route = route
        self._slow = slow
        self._inside = inside
        self._lock = threading.Lock()
        self._neighbours: dict[str, Mapping[Address, str]] = {}

    def make(self, bridge: Bridge) -> None:
        name = checked_name(bridge.name)
        with self._lock:
            found = self._route.link(name)
            if found is None:
                self._create(bridge)
            else:
                self._check(bridge, found)
            try:
                self._mend(bridge)
            except BaseException:
                if found is None:
                    self._delete(name)
                raise

    def _check(self, bridge: Bridge, found: LinkRecord) -> None:
        if found.kind != "bridge" or found.alias != self._prefix + bridge.network:
            raise ConflictError(
                f"interface {bridge.name} exists and is not of this network: give the network's"
                " bridge another name, or delete the interface"
            )

    def _create(self, bridge: Bridge) -> None:
        alias = rt.alias(self._prefix + bridge.network)
        made = rt.make_link(bridge.name, "bridge", rt.mac(_mac(bridge)))
        try:
            self._route.batch(made, rt.change_link(bridge.name, alias))
        except NetlinkError as e:
            raise explained(e, "bridge") from e

    def _mend(self, bridge: Bridge) -> None:
        name = bridge.name
        self._inside(partial(set_ipv6, name, on=has(IPV6, bridge.addresses)))
        self._keep_standing(bridge)
        settings = rt.bridge_settings(), families(bridge.mtu, loose=True)
        self._route.batch(
            rt.change_link(name, rt.mtu(bridge.mtu), *settings), *self._other_mac(bridge)
        )
        self._address(bridge)
        self._route.batch(rt.change_link(name, up=True))
        addresses = with_link_local(bridge.addresses, _mac(bridge))
        await_ready(self._route, name, addresses)
        self._neighbours[name] = dict.fromkeys((a.ip for a in addresses), _mac(bridge))

    def neighbours(self, name: str) -> Mapping[Address, str]:
        """The addresses of a bridge that was made, and its MAC."""
        return self._neighbours.get(name, {})

    def _other_mac(self, bridge: Bridge) -> Iterator[Message]:
        """The kernel forgets all neighbours even where it is the same again."""
        found = self._route.link(bridge.name)
        if found is None or found.mac != _mac(bridge):
            yield rt.change_link(bridge.name, rt.mac(_mac(bridge)))

    def _keep_standing(self, bridge: Bridge) -> None:
        near, far = self._standing(bridge.name)
        master = self._route.index(bridge.name) or 0
        if self._route.index(near) is None:
            self._route.batch(rt.make_veth(near, far))
        silent = families(bridge.mtu)
        alias = rt.alias(self._prefix + bridge.network)
        self._route.batch(
            rt.change_link(near, alias, rt.master(master), silent),
            rt.change_link(far, silent),  # the kernel would set it up first
            rt.change_link(near, rt.port_settings(flood=False, isolated=True), up=True),
            rt.change_link(far, up=True),
        )

    def _address(self, bridge: Bridge) -> None:
        index = self._route.index(bridge.name) or 0
        wanted = with_link_local(bridge.addresses, _mac(bridge))
        have = {a.interface for a in self._route.addresses(index)}
        self._route.batch(
            *(rt.remove_address(index, old) for old in have.difference(wanted)),
            *(rt.add_address(index, new) for new in wanted),
        )

    def remove(self, name: str) -> None:
        with self._lock:
            found = self._route.link(checked_name(name))
            if found is not None and not found.alias.startswith(self._prefix):
                raise ConflictError(f"interface {name} is not ours: delete it by hand (ip link)")
            self._delete(name)

    def _delete(self, name: str) -> None:
        self._neighbours.pop(name, None)
        near, _ = self._standing(name)
        delete(self._slow, name, near)

    def _standing(self, bridge: str) -> tuple[str, str]:
        """The names of a bridge's standing port and of that one's other end."""
        digest = hashlib.sha256(os.fsencode(self._prefix + bridge)).hexdigest()[:10]
        return STANDING + digest, _STANDING_PEER + digest


def _mac(bridge: Bridge) -> str:
    """One that stays: a bridge without an address of its own has that of its lowest port."""
    if bridge.addresses:
        return mac_of(bridge.addresses[0].ip)
    return local_mac(zlib.crc32(os.fsencode(bridge.name)).to_bytes(4))
