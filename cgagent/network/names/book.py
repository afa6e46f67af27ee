"""All names of all networks, and who sees which."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeVar

from cgagent.network.names.packets import Key, key_of, wire_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.network.names.values import Member, Place

T = TypeVar("T")
Addresses = tuple[bytes, ...]


class _Network:
    __slots__ = ("addresses", "names")

    def __init__(self) -> None:
        self.names: dict[Key, dict[str, Addresses]] = {}
        """By name and container."""
        self.addresses: dict[Key, dict[str, bytes]] = {}
        """By the name of an address (``2.0.17.172.in-addr.arpa``) and container: its name."""


class Viewer:
    """A container that asks: its networks, and its links by their name."""

    __slots__ = ("links", "member", "networks")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.networks = tuple(place.network for place in member.places)
        self.links = {key_of(link.alias): link.target for link in member.links}


class Book:
    def __init__(self) -> None:
        self._viewers: dict[str, Viewer] = {}
        self._networks: dict[str, _Network] = {}

    def put(self, member: Member) -> Viewer:
        """Returns the container as one that asks, until it is put again."""
        self.remove(member.container)
        viewer = self._viewers[member.container] = Viewer(member)
        for place in member.places:
            network = self._networks.setdefault(place.network, _Network())
            addresses = tuple(ip_address(address) for address in place.addresses)
            packed = tuple(address.packed for address in addresses)
            for key in _keys(place):
                owners = network.names.setdefault(key, {})
                owners[member.container] = owners.get(member.container, ()) + packed
            name = key_of(member.name)
            for address in addresses if name else ():
                reverse = _reverse(address.reverse_pointer)
                network.addresses.setdefault(reverse, {})[member.container] = wire_of(name or ())
        return viewer

    def containers(self) -> set[str]:
        return set(self._viewers)

    def viewer(self, container: str) -> Viewer:
        """Raises KeyError: it was not put."""
        return self._viewers[container]

    def remove(self, container: str) -> None:
        viewer = self._viewers.pop(container, None)
        for place in viewer.member.places if viewer else ():
            network = self._networks.get(place.network)
            if network is None:
                continue  # it was there twice
            for key in _keys(place):
                _drop(network.names, key, container)
            for address in place.addresses:
                _drop(network.addresses, _reverse(ip_address(address).reverse_pointer), container)
            if not network.names and not network.addresses:
                del self._networks[place.network]

    def addresses(self, viewer: Viewer, key: Key) -> list[bytes] | None:
        """Of all that have this name in its view; None: the name is not ours."""
        if key in viewer.links:
            return self._linked(viewer, viewer.links[key])
        found: dict[bytes, None] = {}  # in their order, each once
        is_ours = False
        for network in self._of(viewer):
            for addresses in network.names.get(key, {}).values():
                is_ours = True
                found.update(dict.fromkeys(addresses))
        return list(found) if is_ours else None

    def _linked(self, viewer: Viewer, target: str) -> list[bytes]:
        other = self._viewers.get(target)
        if other is None:
            key = key_of(target)
            named = [n.names[key].values() for n in self._of(viewer) if key in n.names]
            return [a for owners in named for addresses in owners for a in addresses]
        places = (p for p in other.member.places if p.network in viewer.networks)
        return [ip_address(address).packed for place in places for address in place.addresses]

    def names(self, viewer: Viewer, key: Key) -> list[bytes] | None:
        """Names of an address in its view, as a PTR record has them; None: it is not ours."""
        owners = [n.addresses[key] for n in self._of(viewer) if key in n.addresses]
        return list(dict.fromkeys(name for them in owners for name in them.values())) or None

    def _of(self, viewer: Viewer) -> Iterator[_Network]:
        for network in viewer.networks:
            if network in self._networks:
                yield self._networks[network]


def _keys(place: Place) -> set[Key]:
    return {key for key in map(key_of, place.names) if key}


def _reverse(name: str) -> Key:
    return (*name.encode().split(b"."), b"")


def _drop(entries: dict[Key, dict[str, T]], key: Key, container: str) -> None:
    owners = entries.get(key)
    if owners is not None:
        owners.pop(container, None)
        if not owners:
            del entries[key]
