"""A persistent NETLINK_ROUTE socket in one network namespace: batches and dumps.

The kernel handles a request, and makes its whole answer, before `send` returns, so nothing here
ever waits for an answer. A batch is one system call: a process that is killed has sent all of it or
nothing. It is no transaction, though: what comes after a refused message is done all the same.
Owned by whoever made it; thread-safe.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cgagent.errors import InternalError
from cgagent.network import rtmessages
from cgagent.network.netlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    Message,
    NetlinkError,
    Received,
    packed,
    received,
    refusal,
)
from cgagent.network.netns import in_network_of
from cgagent.network.rtrecords import RTN_LOCAL, AddressRecord, LinkRecord, RouteRecord, route_kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cgagent.network.values import Address

_BOTH: Final = (socket.AF_INET, socket.AF_INET6)
_SOL_NETLINK: Final = 270
_CAP_ACK, _EXT_ACK, _GET_STRICT_CHK = 10, 11, 12
_PACKET_BYTES: Final = 1 << 16
"""More than the kernel puts into one packet of a dump (32 KiB)."""
_BATCH_MESSAGES: Final = 64
"""So many acknowledgements fit into a socket's buffer."""
_SEQUENCE_MAX: Final = 0xFFFFFFFF
_DUMP_TRIES: Final = 20
_SIOCGIFINDEX: Final = 0x8933
_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_GLINK: Final = 0x0A


class Route:
    """Owns the socket, which stays in the namespace that it was made in."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._sequence = 0
        for option in (_CAP_ACK, _EXT_ACK, _GET_STRICT_CHK):  # since 4.3, 4.12, 4.20
            with suppress(OSError):
                sock.setsockopt(_SOL_NETLINK, option, 1)

    @classmethod
    def of_this_process(cls) -> Route:
        """One in the calling thread's namespace: the process's, unless it has joined another."""
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        return cls(socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE))

    @classmethod
    def of(cls, netns_fd: int) -> Route:
        """One in the namespace of this nsfs file; needs CAP_SYS_ADMIN."""
        return in_network_of(netns_fd, cls.of_this_process)

    def batch(self, *messages: Message) -> None:
        """Send these at once, in order.

        Raises:
            NetlinkError: the first refusal. What came after it was done unless refused as well.
        """
        for refused in self.attempt(*messages):
            if refused is not None:
                raise refused

    def attempt(self, *messages: Message) -> list[NetlinkError | None]:
        """As `batch`; returns the refusal, or None, of each."""
        answers: list[NetlinkError | None] = []
        with self._lock:
            for at in range(0, len(messages), _BATCH_MESSAGES):
                answers += self._acknowledged(messages[at : at + _BATCH_MESSAGES], at)
        return answers

    def _acknowledged(
        self, messages: Sequence[Message], place: int
    ) -> Iterator[NetlinkError | None]:
        first = self._send(messages, NLM_F_ACK)
        answers = {answer.sequence: answer for answer in self._answers(first, len(messages))}
        for at, message in enumerate(messages):
            code, words = refusal(answers[first + at])
            yield NetlinkError(message.what, code, words, place=place + at) if code else None

    def _answers(self, first: int, count: int) -> Iterator[Received]:
        """One to each of so many messages."""
        missing = set(range(first, first + count))
        while missing:
            for answer in self._receive():
                if answer.kind == NLMSG_ERROR and answer.sequence in missing:
                    missing.remove(answer.sequence)
                    yield answer

    def _send(self, messages: Sequence[Message], flags: int) -> int:
        """Returns the first's sequence number."""
        self._drain()
        first = self._sequence + 1
        if first + len(messages) > _SEQUENCE_MAX:
            first = 1
        self._sequence = first + len(messages) - 1
        self._sock.send(b"".join(packed(m, first + n, flags) for n, m in enumerate(messages)))
        return first

    def _drain(self) -> None:
        """Read what an interrupted caller left unread; an unfinished dump would forbid the next."""
        with suppress(BlockingIOError):
            while True:
                self._sock.recv(_PACKET_BYTES)

    def _receive(self) -> Iterator[Received]:
        try:
            packet = self._sock.recv(_PACKET_BYTES)
        except OSError as e:
            if e.errno not in (errno.EAGAIN, errno.ENOBUFS):
                raise
            raise InternalError(f"the kernel did not answer all of a netlink batch: {e}") from e
        return received(packet)

    def dump(self, message: Message) -> list[Received]:
        """All answers to a dump; anew where what is dumped changed meanwhile.

        Raises:
            NetlinkError: refused, or it changed each of 20 times.
        """
        with self._lock:
            for _ in range(_DUMP_TRIES):
                answers, torn = self._dumped(message)
                if not torn:
                    return answers
        raise NetlinkError(message.what, errno.EINTR)

    def _dumped(self, message: Message) -> tuple[list[Received], bool]:
        first = self._send((message,), NLM_F_DUMP)
        answers: list[Received] = []
        torn = False
        while True:
            for answer in self._receive():
                if answer.sequence != first:
                    continue
                torn = torn or bool(answer.flags & NLM_F_DUMP_INTR)
                if answer.kind in (NLMSG_DONE, NLMSG_ERROR):
                    code, words = refusal(answer)
                    if code:
                        raise NetlinkError(message.what, code, words)
                    return answers, torn
                answers.append(answer)

    def _ask(self, message: Message) -> Received:
        """The one answer to a message that is no change."""
        with self._lock:
            first = self._send((message,), 0)
            while True:
                for answer in self._receive():
                    if answer.sequence != first:
                        continue
                    if answer.kind == NLMSG_ERROR:
                        raise NetlinkError(message.what, *refusal(answer))
                    return answer

    def link(self, name: str, *, counters: bool = False) -> LinkRecord | None:
        """The interface of this name, if there is one."""
        try:
            return LinkRecord.of(self._ask(rtmessages.get_link(name, counters=counters)).body)
        except NetlinkError as e:
            if e.errno == errno.ENODEV:
                return None
            raise

    def links(self) -> list[LinkRecord]:
        return [LinkRecord.of(a.body) for a in self.dump(rtmessages.dump_links())]

    def addresses(self, index: int = 0) -> list[AddressRecord]:
        """Those of one interface, or of all."""
        return [
            record
            for family in _BOTH
            for answer in self.dump(rtmessages.dump_addresses(family, index))
            if (record := AddressRecord.of(answer.body, family)) is not None
            and index in (0, record.index)
        ]

    def routes(self) -> list[RouteRecord]:
        """Those of both families, in all tables."""
        return [
            record
            for family in _BOTH
            for answer in self.dump(rtmessages.dump_routes(family))
            if (record := RouteRecord.of(answer.body, family)) is not None
        ]

    def takes(self, index: int, address: Address) -> bool:
        """Whether packets to this address, of the interface `index`, are delivered here."""
        try:
            body = self._ask(rtmessages.get_route(index, address)).body
        except NetlinkError:
            return False
        return route_kind(body) == RTN_LOCAL

    def index(self, name: str) -> int | None:
        """The number of the interface of this name, if there is one."""
        request = struct.pack("=16s24x", os.fsencode(name))
        try:
            answer = fcntl.ioctl(self._sock, _SIOCGIFINDEX, request)
        except OSError as e:
            if e.errno == errno.ENODEV:
                return None
            raise
        return int(struct.unpack_from("=i", answer, 16)[0])

    def hasten(self, name: str) -> None:
        """Have what waits for the carrier of this interface done now (since kernel 6.8).

        Otherwise a worker of the kernel's does it in its own time. No error if it is not there.
        """
        value = array.array("I", (_ETHTOOL_GLINK, 0))
        request = struct.pack("@16sP16x", os.fsencode(name), value.buffer_info()[0])
        with suppress(OSError):
            fcntl.ioctl(self._sock, _SIOCETHTOOL, request)

    def close(self) -> None:
        self._sock.close()
