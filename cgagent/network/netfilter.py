"""Netfilter's netlink sockets: events and lists of nf_tables, conntrack's entries.

The rules of the host are not written here: `cgagent.network.nftables` has libnftables for that.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Final

from cgagent.errors import UnsupportedError
from cgagent.network import netlink
from cgagent.network.netns import in_network_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONNTRACK: Final = 1
NFTABLES: Final = 10
"""Subsystems."""
INET: Final = 1
IPV4: Final = 2
IPV6: Final = 10
"""Families of tables, and of conntrack's entries."""

_NETLINK_NETFILTER: Final = 12
_SOL_NETLINK: Final = 270
_ADD_MEMBERSHIP: Final = 1
_SO_RCVBUFFORCE: Final = 33
_EVENTS_BYTES: Final = 8 << 20
_PACKET_BYTES: Final = 1 << 17
_FAMILY: Final = struct.Struct(">BBH")  # nfgenmsg: family, version, resource
_NETLINKS_OWN: Final = 0xFF
_BATCH_BEGIN: Final = 0x10
_BATCH_END: Final = 0x11


class Answer:
    """One message of netfilter's."""

    __slots__ = ("body", "family", "number", "port", "subsystem")

    def __init__(self, message: netlink.Received) -> None:
        self.subsystem, self.number = divmod(message.kind, 0x100)
        self.family = message.body[0]
        self.port = message.port
        self.body = message.body[_FAMILY.size :]

    def attributes(self) -> dict[int, bytes]:
        return netlink.attributes(self.body)


class Socket:
    """Owns a socket in one network namespace, or in this process's. Not thread-safe."""

    def __init__(self, netns_fd: int | None, group: int | None = None) -> None:
        """Open it; with a group for that group's events, and then it never blocks.

        Raises:
            UnsupportedError: the kernel has no netfilter.
        """

        def made() -> socket.socket:
            return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)

        try:
            self._sock = made() if netns_fd is None else in_network_of(netns_fd, made)
        except OSError as e:
            raise UnsupportedError(
                f"netfilter of the kernel cannot be reached: {e.strerror}; networks need "
                "CONFIG_NETFILTER_NETLINK (modprobe nfnetlink)"
            ) from e
        if group is not None:
            try:
                self._sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _EVENTS_BYTES)
                self._sock.bind((0, 0))  # the kernel sends events to all ports but 0
                self._sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
                self._sock.setblocking(False)
            except BaseException:
                self._sock.close()
                raise

    def fileno(self) -> int:
        return self._sock.fileno()

    def ask(
        self,
        subsystem: int,
        number: int,
        family: int = 0,
        body: bytes = b"",
        *,
        flags: int = netlink.NLM_F_ACK,
        what: str,
    ) -> list[Answer]:
        """What the kernel answers to one message, whose `body` is attributes.

        Raises:
            NetlinkError: it refuses.
        """
        whole = _FAMILY.pack(family, 0, 0) + body
        self._sock.send(netlink.packed(netlink.Message(subsystem << 8 | number, whole), 0, flags))
        answers: list[Answer] = []
        while True:
            for message in netlink.received(self._sock.recv(_PACKET_BYTES)):
                if message.kind == netlink.NLMSG_DONE:
                    return answers
                if message.kind == netlink.NLMSG_ERROR:
                    code, words = netlink.refusal(message)
                    if code:
                        raise netlink.NetlinkError(what, code, words)
                    return answers
                answers.append(Answer(message))

    def change(self, messages: Sequence[netlink.Message], *, what: str) -> None:
        """Changes of nf_tables, whose bodies begin with a family: all of them or none.

        Raises:
            NetlinkError: one is refused.
        """
        begin, end = (
            netlink.packed(netlink.Message(kind, _FAMILY.pack(0, 0, NFTABLES)), 0)
            for kind in (_BATCH_BEGIN, _BATCH_END)
        )
        *first, last = messages
        changes = [netlink.packed(message, 0) for message in first]
        changes.append(netlink.packed(last, 0, netlink.NLM_F_ACK))
        self._sock.send(b"".join((begin, *changes, end)))
        # The first that is refused, or that all is done.
        answer = next(netlink.received(self._sock.recv(_PACKET_BYTES)))
        code, words = netlink.refusal(answer)
        if code:
            raise netlink.NetlinkError(what, code, words)

    def events(self) -> Iterator[Answer]:
        """What came in the meantime.

        Raises:
            OSError: ENOBUFS, some are lost.
        """
        while True:
            try:
                packet = self._sock.recv(_PACKET_BYTES)
            except BlockingIOError:
                return
            for message in netlink.received(packet):
                if message.kind > _NETLINKS_OWN:
                    yield Answer(message)

    def close(self) -> None:
        self._sock.close()
