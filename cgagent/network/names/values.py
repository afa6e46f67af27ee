"""What the names process knows of a container. Records, so that they are sent as they are."""

from __future__ import annotations

from cgagent.messages.record import Record


class Place(Record):
    """A container in one network."""

    network: str
    """The network's id."""
    names: tuple[str, ...] = ()
    """The container's name, its short id and its aliases there: whom its members find by them."""
    addresses: tuple[str, ...] = ()
    """IPv4 and IPv6, without prefix lengths."""


class LinkedName(Record):
    """A name that one container alone has for another one."""

    alias: str
    target: str
    """The other container's id or name."""


class Member(Record):
    """A container that names are looked up for."""

    container: str
    """Its id."""
    name: str
    """What its addresses are called in answers to PTR queries."""
    places: tuple[Place, ...] = ()
    links: tuple[LinkedName, ...] = ()
    forwards: bool = True
    """False: other names than containers' are refused (it has internal networks only)."""
    resolvers: tuple[str, ...] = ()
    """Addresses of servers for other names; empty: the host's."""
