"""Queries for other names: servers are asked one after the other, each has its share of the time.

Each question is asked by a socket of its own, connected to the server: its port is chosen by the
kernel at random, and packets from others do not reach it. A query that came by UDP is asked by UDP,
and an answer that is cut off goes to who asked, who asks again by TCP.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
from typing import TYPE_CHECKING, Final

from cgagent.network.names import packets, resolvers
from cgagent.network.names.deadlines import Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.kernel.loop import Loop
    from cgagent.network.names.packets import Query

MAX: Final = 1024
"""Queries that are waiting for an answer."""
MAX_EACH: Final = 128
"""Of one container."""
_PORT: Final = 53
_TIME_S: Final = 4.5
"""For all servers of a query: libc gives up or repeats itself after 5 s."""
_ANSWER_BYTES: Final = 0xFFFF
_WORSE: Final = (packets.SERVFAIL, packets.NOTIMP, packets.REFUSED)
"""Answers after which the next server is asked."""


class _Exchange:
    """One query that others are asked."""

    def __init__(
        self,
        owner: str,
        query: Query,
        servers: tuple[str, ...],
        share: Deadlines[_Exchange],
        reply: Callable[[bytes], None],
        *,
        udp: bool,
    ) -> None:
        self.owner = owner
        self.query = query
        self.left = list(servers)
        self.share = share
        """Where the time of one server runs."""
        self.reply = reply
        self.udp = udp
        self.number = os.urandom(2)
        self.sock: socket.socket | None = None
        self.unsent = b""
        self.received = b""
        self.worse: bytes | None = None
        """The answer of a server that could not help."""


class Forwarder:
    def __init__(self, loop: Loop, host: resolvers.HostResolvers) -> None:
        self._loop = loop
        self._host = host
        self._shares: dict[int, Deadlines[_Exchange]] = {
            n: Deadlines(loop, _TIME_S / n, self._ask_next) for n in range(1, resolvers.MAX + 1)
        }
        self._waiting: dict[str, set[_Exchange]] = {}
        """By owner."""
        self.waiting = 0

    def ask(
        self,
        owner: str,
        query: Query,
        servers: tuple[str, ...],
        reply: Callable[[bytes], None],
        *,
        udp: bool,
    ) -> None:
        """Have `reply` called with the answer, perhaps before this returns.

        Without `servers` the host's are asked.
        """
        asked = resolvers.usable(servers) if servers else self._host.servers()
        too_many = self.waiting >= MAX or len(self._waiting.get(owner, ())) >= MAX_EACH
        if not asked or too_many:
            reply(packets.answer(query, packets.SERVFAIL, udp=udp))
            return
        exchange = _Exchange(owner, query, asked, self._shares[len(asked)], reply, udp=udp)
        self._waiting.setdefault(owner, set()).add(exchange)
        self.waiting += 1
        self._ask_next(exchange)

    def forget(self, owner: str) -> None:
        """Nobody waits for answers to its queries any more."""
        for exchange in list(self._waiting.get(owner, ())):
            self._end(exchange)

    def _ask_next(self, exchange: _Exchange) -> None:
        self._hang_up(exchange)
        while exchange.left:
            try:
                self._ask(exchange, exchange.left.pop(0))
            except OSError:  # nobody is there, or there is no way
                self._hang_up(exchange)
                continue
            exchange.share.start(exchange)
            return
        self._end(exchange)
        failed = packets.answer(exchange.query, packets.SERVFAIL, udp=exchange.udp)
        exchange.reply(exchange.worse or failed)

    def _ask(self, exchange: _Exchange, server: str) -> None:
        """Raises OSError."""
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        kind = socket.SOCK_DGRAM if exchange.udp else socket.SOCK_STREAM
        sock = exchange.sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        data = packets.renumbered(exchange.query.data, exchange.number)
        if exchange.udp:
            sock.connect((server, _PORT))
            sock.send(data)
            self._loop.watch(sock.fileno(), selectors.EVENT_READ, lambda: self._hear(exchange))
            return
        exchange.unsent = len(data).to_bytes(2, "big") + data
        exchange.received = b""
        error = sock.connect_ex((server, _PORT))
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, os.strerror(error))
        self._loop.watch(sock.fileno(), selectors.EVENT_WRITE, lambda: self._go_on(exchange))

    def _hear(self, exchange: _Exchange) -> None:
        """A datagram of the server's, or the news that it is not there."""
        assert exchange.sock is not None  # noqa: S101 # it is watched
        try:
            data = exchange.sock.recv(_ANSWER_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._ask_next(exchange)
            return
        self._take(exchange, data)

    def _go_on(self, exchange: _Exchange) -> None:
        """By TCP: what is left of the query goes, then what is there of the answer comes."""
        sock = exchange.sock
        assert sock is not None  # noqa: S101 # it is watched
        try:
            if exchange.unsent:
                exchange.unsent = exchange.unsent[sock.send(exchange.unsent) :]
                events = selectors.EVENT_WRITE if exchange.unsent else selectors.EVENT_READ
                self._loop.watch(sock.fileno(), events, lambda: self._go_on(exchange))
                return
            received = sock.recv(_ANSWER_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._ask_next(exchange)
            return
        exchange.received += received
        length = int.from_bytes(exchange.received[:2], "big") + 2
        if 2 <= len(exchange.received) >= length:  # noqa: PLR2004 # the length's own bytes
            self._take(exchange, exchange.received[2:length])

    def _take(self, exchange: _Exchange, data: bytes) -> None:
        rcode = packets.rcode_if_answers(data, exchange.query, exchange.number)
        if rcode is None:
            if not exchange.udp:
                self._ask_next(exchange)
            return  # by UDP somebody guesses: the right one may yet come
        answer = packets.renumbered(data, exchange.query.data[:2])
        if rcode in _WORSE and exchange.left:
            exchange.worse = answer
            self._ask_next(exchange)
            return
        self._end(exchange)
        exchange.reply(answer)

    def _hang_up(self, exchange: _Exchange) -> None:
        if exchange.sock is not None:
            self._loop.forget(exchange.sock.fileno())
            exchange.sock.close()
            exchange.sock = None
        exchange.share.stop(exchange)

    def _end(self, exchange: _Exchange) -> None:
        self._hang_up(exchange)
        self.waiting -= 1
        own = self._waiting[exchange.owner]
        own.discard(exchange)
        if not own:
            del self._waiting[exchange.owner]
