"""What is said of relayed ports, beside what is said of names, over the same connection."""

from __future__ import annotations

from typing import Final

from cgagent.messages.record import Message

RELAYED: Final = ("tcp", "udp")
"""The protocols that are."""


class Relay(Message):
    """What comes to [::1] at a port goes to a container; with the socket: bound, TCP listens."""

    container: str
    protocol: str
    """One of `RELAYED`."""
    host_port: int
    address: str
    """The container's, IPv4 or IPv6."""
    port: int


class Unrelay(Message):
    """The socket and all connections by it are closed."""

    protocol: str
    host_port: int


class HeldRelay(Message):
    """A port that the process has the socket of, which comes with it."""

    protocol: str
    host_port: int
