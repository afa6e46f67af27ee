"""Telling the neighbours on a bridge where an address is now: gratuitous ARP, unsolicited NA.

The frames leave by the bridge itself, in the name of the one who has the address: so one socket is
enough for all, and none is made, and closed for milliseconds, in each container's namespace.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from cgagent.network.interfaces import mac_of
from cgagent.network.netns import in_network_of
from cgagent.network.rtmessages import address_bytes
from cgagent.network.values import IPV6

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from cgagent.network.values import Address

_ARP, _IPV6 = 0x0806, 0x86DD
_ARP_HEAD: Final = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)  # Ethernet, IPv4, their sizes, request
_EVERYBODY: Final = b"\xff" * 6
_ALL_NODES: Final = bytes.fromhex("ff02" + "0" * 27 + "1")
_ALL_NODES_MAC: Final = bytes.fromhex("333300000001")
_ICMPV6, _ADVERTISEMENT, _OVERRIDE = 58, 136, 0x20000000
_OUR_MAC_OPTION: Final = b"\x02\x01"


class Announcer:
    """Owns a packet socket of the host's, which receives nothing."""

    def __init__(self, netns_fd: int | None) -> None:
        self._sock = _socket() if netns_fd is None else in_network_of(netns_fd, _socket)
        self._odd: set[tuple[str, Address]] = set()
        """IPv4 addresses that were last seen with a MAC that is not theirs (`mac_of`)."""

    def announce(self, bridge: str, mac: str, address: Address) -> None:
        """Best effort, as such announcements are: who does not hear it asks again by himself.

        None is sent where all who know the address know this MAC, as each goes to all ports.
        """
        if not self._is_news(bridge, mac, address):
            return
        if isinstance(address, IPv4Address):
            frame, kind = arp(mac, address), _ARP
        else:
            frame, kind = advertisement(mac, address), _IPV6
        with suppress(OSError):
            self._sock.sendto(frame, (bridge, kind))

    def _is_news(self, bridge: str, mac: str, address: Address) -> bool:
        if address.version == IPV6:  # its MAC is mostly made of an IPv4 address
            return True
        key = bridge, address
        if mac != mac_of(address):
            self._odd.add(key)
            return True
        was_odd = key in self._odd
        self._odd.discard(key)
        return was_odd

    def close(self) -> None:
        self._sock.close()


def _socket() -> socket.socket:
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)


def arp(mac: str, address: IPv4Address) -> bytes:
    """A request for one's own address (RFC 5227, 3)."""
    own = address_bytes(mac)
    asked = _ARP_HEAD + own + address.packed + bytes(6) + address.packed
    return _EVERYBODY + own + _ARP.to_bytes(2) + asked


def advertisement(mac: str, address: IPv6Address) -> bytes:
    """An unsolicited neighbour advertisement that overrides what was known (RFC 4861, 7.2.6)."""
    own = address_bytes(mac)
    rest = struct.pack("!I", _OVERRIDE) + address.packed + _OUR_MAC_OPTION + own
    ends = address.packed + _ALL_NODES
    pseudo = ends + struct.pack("!II", 4 + len(rest), _ICMPV6)
    kind = bytes((_ADVERTISEMENT, 0))
    checksum = _checksum(pseudo + kind + bytes(2) + rest)
    head = struct.pack("!IHBB", 6 << 28, 4 + len(rest), _ICMPV6, 255)
    packet = head + ends + kind + checksum.to_bytes(2) + rest
    return _ALL_NODES_MAC + own + _IPV6.to_bytes(2) + packet


def _checksum(data: bytes) -> int:
    """The Internet's (RFC 1071), of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
