"""What agent and names process say to each other; the order is drawn in the package."""

from __future__ import annotations

from cgagent.messages.record import Message
from cgagent.network.names.values import Member


class Begin(Message):
    """All containers are told anew; until `Complete`, those that were known are."""


class Complete(Message):
    """Containers that were not put since `Begin` are forgotten."""


class Put(Message):
    """A container is new or has changed."""

    member: Member


class Open(Message):
    """A container that was put is answered from now on, by a UDP socket and a TCP listener."""

    container: str
    namespace: int
    """The inode number of the network namespace that they are in."""


class Watch(Message):
    """A container's first process, as a pidfd: without an agent, its end is the container's."""

    container: str


class Remove(Message):
    container: str


class End(Message):
    """Nobody is to be answered any more: the process ends."""


class List(Message):
    """Answered when all before it is done."""


class Held(Message):
    """A container that the process has sockets of: descriptors as with `Open`."""

    container: str
    namespace: int


class Listed(Message):
    """Each container was told."""
