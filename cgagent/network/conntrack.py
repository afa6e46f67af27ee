"""Connections that the kernel's connection tracking remembers, and that are better forgotten.

A UDP flow keeps the translation that it had at its first packet for as long as packets come. When
a port is published, flows to it that began before would still miss the container; when it is no
longer, they would still go to an address that is another container's by then (moby#8795). TCP
needs none of this: its connections end.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

from cgagent.errors import UnsupportedError
from cgagent.network import netfilter
from cgagent.network.netlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NetlinkError,
    attribute,
    attributes,
    nest,
    u32,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cgagent.network.values import Address, Publication

_GET, _DELETE, _GET_STATS = 1, 2, 5
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_IP, _PROTOCOL = 1, 2
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_SOURCE: Final = {4: 1, 6: 3}
_DESTINATION: Final = {4: 2, 6: 4}
_FAMILY: Final = {4: netfilter.IPV4, 6: netfilter.IPV6}
_BY_SOURCE, _BY_DESTINATION, _BY_PROTOCOL, _BY_SOURCE_PORT, _BY_DESTINATION_PORT = 1, 2, 8, 16, 32
_UDP: Final = bytes([socket.IPPROTO_UDP])
_PORT: Final = struct.Struct(">H")
_ANY: Final = {4: bytes(4), 6: bytes(16)}


@dataclass(frozen=True, slots=True)
class Flows:
    """UDP flows of one family that have a port at one place."""

    version: int
    """4 or 6"""
    port: int
    address: Address | None
    """None: any."""
    answered: bool
    """They are where answers come from, not where the first packet went to."""

    def include(self, ends: _Ends) -> bool:
        address, port = ends.answering if self.answered else ends.asked
        return port == self.port and self.address in {None, ip_address(address)}


class _Ends(NamedTuple):
    """Of one flow, each an address and a port."""

    asked: tuple[bytes, int]
    """Where its first packet was sent to."""
    answering: tuple[bytes, int]
    """Where answers come from: another one, where the destination was translated."""


class Conntrack:
    """Owns a socket of conntrack's. Not thread-safe."""

    def __init__(self, netns_fd: int | None = None) -> None:
        """Open it.

        Raises:
            UnsupportedError: the kernel does not let us.
        """
        self._sock = netfilter.Socket(netns_fd)
        self.filters = True
        """Whether the kernel deletes by a filter: since 6.11."""
        try:
            self._sock.ask(netfilter.CONNTRACK, _GET_STATS, what="ask conntrack for its size")
        except NetlinkError as e:
            self._sock.close()
            raise UnsupportedError(
                f"connection tracking of the kernel cannot be used: {os.strerror(e.errno)}; "
                "networks need CONFIG_NF_CT_NETLINK (modprobe nf_conntrack_netlink) and "
                "CAP_NET_ADMIN"
            ) from e

    def forget(self, flows: Iterable[Flows]) -> None:
        """Delete their entries. The kernel goes through all that it has, once for each of `flows`.

        Raises:
            NetlinkError: the kernel refuses.
        """
        for these in flows:
            if self.filters:
                try:
                    self._delete_matching(these)
                    continue
                except NetlinkError as e:
                    if e.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT}:
                        raise
                    self.filters = False
            self._delete_if(these.version, these.include)

    def forget_stale(self, publications: Iterable[Publication]) -> None:
        """Delete entries of UDP flows to these that somebody else than the container answers.

        Raises:
            NetlinkError: the kernel refuses.
        """
        wanted: dict[int, dict[tuple[bytes, int], tuple[bytes, int]]] = {}
        for p in publications:
            if p.protocol == "udp":
                host = _ANY[p.container.version] if p.host is None else p.host.packed
                answer = p.container.packed, p.container_port
                wanted.setdefault(p.container.version, {})[host, p.host_port] = answer
        for version, answers in wanted.items():

            def stale(ends: _Ends) -> bool:
                address, port = ends.asked
                answer = answers.get((address, port)) or answers.get((_ANY[version], port))  # noqa: B023
                return answer is not None and answer != ends.answering

            self._delete_if(version, stale)

    def _delete_matching(self, flows: Flows) -> None:
        """By one message; a kernel before 6.11 refuses it, as no entry has such a tuple."""
        if flows.answered:
            number, address, port = _TUPLE_REPLY, _SOURCE[flows.version], _SOURCE_PORT
            by_address, by_port = _BY_SOURCE, _BY_SOURCE_PORT
        else:
            number, address, port = _TUPLE_ORIGINAL, _DESTINATION[flows.version], _DESTINATION_PORT
            by_address, by_port = _BY_DESTINATION, _BY_DESTINATION_PORT
        flags = {_TUPLE_ORIGINAL: 0, _TUPLE_REPLY: 0}
        flags[number] = _BY_PROTOCOL | by_port | (by_address if flows.address else 0)
        value = flows.address.packed if flows.address else _ANY[flows.version]
        body = nest(
            number,
            nest(_IP, attribute(address, value)),
            nest(_PROTOCOL, attribute(_NUMBER, _UDP), attribute(port, _PORT.pack(flows.port))),
        )
        body += nest(_FILTER, *(u32(n, f) for n, f in flags.items()))
        self._ask(_DELETE, flows.version, body)

    def _ask(
        self, number: int, version: int, body: bytes = b"", flags: int = NLM_F_ACK
    ) -> list[netfilter.Answer]:
        return self._sock.ask(
            *(netfilter.CONNTRACK, number, _FAMILY[version], body),
            flags=flags,
            what="forget UDP flows of a published port",
        )

    def _delete_if(self, version: int, unwanted: Callable[[_Ends], bool]) -> None:
        """Go through all entries once."""
        for answer in self._ask(_GET, version, flags=NLM_F_DUMP):
            entry = answer.attributes()
            ends = _udp_ends(version, entry)
            if ends is None or not unwanted(ends):
                continue
            body = nest(_TUPLE_ORIGINAL, entry[_TUPLE_ORIGINAL])
            body += b"".join(attribute(n, entry[n]) for n in (_ID, _ZONE) if n in entry)
            try:
                self._ask(_DELETE, version, body)
            except NetlinkError as e:
                if e.errno != errno.ENOENT:  # gone by itself
                    raise

    def close(self) -> None:
        self._sock.close()


def _udp_ends(version: int, entry: dict[int, bytes]) -> _Ends | None:
    found = []
    for number, address, port in (
        (_TUPLE_ORIGINAL, _DESTINATION[version], _DESTINATION_PORT),
        (_TUPLE_REPLY, _SOURCE[version], _SOURCE_PORT),
    ):
        parts = attributes(entry.get(number, b""))
        addresses = attributes(parts.get(_IP, b""))
        protocol = attributes(parts.get(_PROTOCOL, b""))
        if protocol.get(_NUMBER) != _UDP or address not in addresses:
            return None
        found.append((addresses[address], *_PORT.unpack(protocol[port])))
    return _Ends(*found)
