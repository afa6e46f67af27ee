"""The first packet for a container, told by the kernel: a filter on its interfaces, no polling.

A packet socket in its network namespace sees what comes in before the container's own firewall
does. Its filter lets through what is for the interface's own MAC, and IPv4 or IPv6, but for what
keeps a link known: neighbour discovery, router advertisements. ARP, broadcasts and multicast, and
the container's own lo, are no traffic. What the packet says is not looked at.

Whoever armed it owns it, and disarms it at the container's end: an open socket keeps its namespace.
"""

from __future__ import annotations

import array
import os
import socket
import struct
from functools import partial
from typing import TYPE_CHECKING, Final

from cgagent.errors import NotFoundError
from cgagent.network.netns import in_network_of, opened

if TYPE_CHECKING:
    from collections.abc import Iterable

_ETH_P_ALL, _IPV4, _IPV6 = 0x0003, 0x0800, 0x86DD
_SO_ATTACH_FILTER: Final = 26
_ICMPV6: Final = 58
_DISCOVERY: Final = (133, 137)
"""ICMPv6 from router solicitation to redirect (RFC 4861)."""
_ANCILLARY, _NETWORK = 0xFFFFF000, 0xFFF00000
"""Where the kernel's own offsets begin (SKF_AD_OFF, SKF_NET_OFF)."""
_PROTOCOL, _PACKET_TYPE, _TO_US = 0, 4, 0
_LOAD_HALF, _LOAD_BYTE, _IF_EQUAL, _IF_GREATER, _IF_NOT_LESS, _RETURN = (
    *(0x28, 0x30, 0x15, 0x25, 0x35, 0x06),
)
_INSTRUCTION: Final = struct.Struct("=HBBI")  # struct sock_filter: code, if true, if false, k


def _program() -> bytes:
    """Classic BPF; a jump counts from the next instruction."""
    instructions = (
        (_LOAD_BYTE, 0, 0, _ANCILLARY + _PACKET_TYPE),
        (_IF_EQUAL, 0, 9, _TO_US),
        (_LOAD_HALF, 0, 0, _ANCILLARY + _PROTOCOL),
        (_IF_EQUAL, 6, 0, _IPV4),
        (_IF_EQUAL, 0, 6, _IPV6),
        (_LOAD_BYTE, 0, 0, _NETWORK + 6),  # the next header
        (_IF_EQUAL, 0, 3, _ICMPV6),
        (_LOAD_BYTE, 0, 0, _NETWORK + 40),  # its type
        (_IF_NOT_LESS, 0, 1, _DISCOVERY[0]),
        (_IF_GREATER, 0, 1, _DISCOVERY[1]),
        (_RETURN, 0, 0, 1),
        (_RETURN, 0, 0, 0),
    )
    return b"".join(_INSTRUCTION.pack(*each) for each in instructions)


class Signal:
    """One interface of a container's, armed. Not thread-safe."""

    def __init__(self, interface: str, sock: socket.socket) -> None:
        self.interface = interface
        self._sock = sock

    @property
    def descriptor(self) -> int:
        """Readable after the first packet, and when the interface goes: then `has_come`."""
        return self._sock.fileno()

    def has_come(self) -> bool:
        try:
            self._sock.recv(1)
        except OSError:  # the interface has gone
            return False
        return True

    def close(self) -> None:
        """Waits some milliseconds for the kernel's readers."""
        self._sock.close()


def arm(interfaces: Iterable[str], namespace: str) -> list[Signal]:
    """Have the first packet told that comes to each from now on, of those that are there.

    Args:
        interfaces: their names inside; the container may have renamed or deleted some.
        namespace: the file of the network namespace.

    Raises:
        NotFoundError: the namespace is gone, or none of the interfaces is there.
    """
    inside = opened(namespace)
    signals: list[Signal] = []
    missing: NotFoundError | None = None
    try:
        for name in interfaces:
            try:
                signals.append(Signal(name, in_network_of(inside, partial(_socket, name))))
            except NotFoundError as e:
                missing = e
        if missing is not None and not signals:
            raise missing
    except BaseException:
        for signal in signals:
            signal.close()
        raise
    finally:
        os.close(inside)
    return signals


def _socket(interface: str) -> socket.socket:
    """It receives only once it is bound, when it has its filter."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
    try:
        program = array.array("B", _program())
        address, length = program.buffer_info()
        head = struct.pack("@HP", length // _INSTRUCTION.size, address)
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)
        sock.bind((interface, _ETH_P_ALL))
    except OSError as e:
        sock.close()
        raise NotFoundError(f"interface {interface} is not in the container's network: {e}") from e
    return sock
