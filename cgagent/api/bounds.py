"""Bounds on what one client may take of a listener: bytes of a head, time, connections.

uvicorn bounds none of it before a request is whole, and reads on while it answers. `Bounded` is
its protocol with bounds, and `Door` what the connections of one listener have in common: each
second it is asked to `sweep`, and closes those that had their time.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cgagent.api.access import peers
from cgagent.api.whole import Whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cgagent.api.access.peers import Peer

    Refused = Callable[[Peer, str], None]

_HEAD_END: Final = b"\r\n\r\n"
_HEAD_BYTES: Final = 64 * 1024
_HEADERS: Final = 128
_HELD_BYTES: Final = 64 * 1024
"""A client that has sent this much while its request is answered is not read any more."""
MOST_AHEAD_BYTES: Final = 256 * 1024
"""A connection with more than this that nobody has asked for is closed."""
_STALLED_S: Final = 0.05
_TURN_S: Final = 1.0
"""So long the requests that were sent ahead wait for the answer to one of them."""
_LAST_S: Final = 1.5
"""So long a connection that has sent no request yet may still send one when the server stops."""
_ROOT: Final = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """`connections` in all, and `of_one` address, or user where it is a unix socket.

    `idle_s` without a request, `head_s` from its first byte to the end of its headers, and
    `answer_s` from there to the last byte of the answer; None: as long as it takes.
    """

    connections: int
    of_one: int
    idle_s: float = 30
    head_s: float = 10
    answer_s: float | None = None
    linger_s: float = 10
    """So long a closed connection may take the rest of its answer."""
    pause_s: float = 0
    """So long the listener's thread stands still for each connection that is one too many.

    A flood of them is then little work for the process. It is for a thread of its own alone.
    """


class Door:
    """The connections of one listener; belongs to its event loop.

    A request that was sent before the answer to the one before it waits for its turn, and of all
    connections one is answered at a time: whoever asks one thing at a time comes between them.
    """

    def __init__(self, bounds: Bounds, refused: Refused | None = None) -> None:
        """`refused` is told of everyone who does not keep within the bounds, and why."""
        self.bounds = bounds
        self.refused = refused or (lambda _peer, _why: None)
        self._ahead: dict[Bounded, None] = {}  # those that have sent ahead, in their order
        self._turn: tuple[Bounded, asyncio.TimerHandle] | None = None
        self._inside: dict[Bounded, None] = {}  # in the order of their arrival
        self._of: dict[object, int] = {}

    def enter(self, one: Bounded) -> bool:
        """Whether there is room; the one that has waited longest makes room, where one waits."""
        self._inside[one] = None
        self._of[one.who] = self._of.get(one.who, 0) + 1
        crowd: list[Bounded] = []
        if one.who != _ROOT and self._of[one.who] > self.bounds.of_one:
            crowd = [other for other in self._inside if other.who == one.who]
        elif len(self._inside) > self.bounds.connections:
            crowd = list(self._inside)
        if not crowd:
            return True
        time.sleep(self.bounds.pause_s)
        return self._make_room(crowd[:-1])

    def _make_room(self, crowd: list[Bounded]) -> bool:
        """Close the oldest that has sent no request, else the oldest that does not read."""
        waiting = [other for other in crowd if not other.busy]
        if not waiting and self.bounds.answer_s is not None:
            before = time.monotonic() - _STALLED_S
            waiting = [o for o in crowd if o.flow.write_paused and o.since < before]
        if waiting:
            min(waiting, key=lambda one: one.since).abort()
        return bool(waiting)

    def queue(self, one: Bounded) -> None:
        """`one` has sent ahead: its `go_on` is called when it is its turn."""
        self._ahead[one] = None
        if self._turn is None:
            self._next_turn()

    def answered(self, one: Bounded) -> None:
        if self._turn is not None and self._turn[0] is one:
            self._turn[1].cancel()
            self._next_turn()

    def _next_turn(self) -> None:
        """In the loop's next round: others are heard before it."""
        self._turn = None
        if self._ahead:
            one = next(iter(self._ahead))
            del self._ahead[one]
            loop = asyncio.get_running_loop()
            self._turn = one, loop.call_later(_TURN_S, self._next_turn)
            loop.call_soon(self._go_on, one)

    def _go_on(self, one: Bounded) -> None:
        one.go_on()
        if not one.busy:
            self.answered(one)

    def leave(self, one: Bounded) -> None:
        self._ahead.pop(one, None)
        self.answered(one)
        if one in self._inside:
            del self._inside[one]
            self._of[one.who] -= 1
            if not self._of[one.who]:
                del self._of[one.who]

    def sweep(self) -> None:
        now = time.monotonic()
        for one in [one for one in self._inside if one.is_overdue(now, self.bounds)]:
            if one.is_half_open and one.peer is not None:
                self.refused(one.peer, "its request did not come in time")
            one.abort()


class Bounded(HttpToolsProtocol):
    """A connection that answers one request at a time and keeps within its door's bounds."""

    door: Door
    """Given by a subclass that is made for the listener."""
    peer: Peer | None = None
    """The peer at the other end; None: the kernel is asked."""
    who: object = None
    """Whose it is: a user's id, or an address."""
    since = 0.0
    """When it last began to wait, to send a head or to be answered."""
    busy = False
    """A request is being answered."""
    _head_bytes = 0
    _in_head = True
    _is_fresh = True
    """No request has come so far."""
    _refused = False
    _superfluous = False
    _held = b""
    rest: Callable[[Any], Awaitable[None]] | None = None
    """See `cgagent.api.endless`."""
    _following: asyncio.Task[Any] | None = None
    _is_last = False
    """The server stops after the answer to what comes now."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.since = time.monotonic()
        if self.peer is None:
            self.peer = peers.of(transport.get_extra_info("socket"))
        if self.peer.over_tls:
            self.scheme = "https"
        self.who = self.peer.who
        self._superfluous = not self.door.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.door.leave(self)
        self._held = b""
        super().connection_lost(exc)
        self._end_following()

    @property
    def is_gone(self) -> bool:
        return self.transport.is_closing()

    def follow(self, task: asyncio.Task[Any] | None) -> None:
        """An answer without an end begins, which is the task's work; None: it has ended."""
        self._following = task
        if self.transport.is_closing():
            self._end_following()

    def _end_following(self) -> None:
        task, self._following = self._following, None
        if task is not None:
            task.cancel()

    def shutdown(self) -> None:
        """The server stops: the answer under way is the last one.

        A client whose connection was only just taken has sent its request, or is about to: it gets
        its answer, too, if the request is there soon.
        """
        if self._following is not None:
            self.cycle.keep_alive = False
            self._end_following()
        elif self.is_half_open and not self._is_last:
            self._is_last = True
            self.loop.call_later(_LAST_S, self._close_if_waiting)
        else:
            super().shutdown()

    def _close_if_waiting(self) -> None:
        if not self.busy:
            self.transport.close()

    def abort(self) -> None:
        self.door.leave(self)
        self.transport.abort()

    @property
    def is_half_open(self) -> bool:
        """Whether the client has sent nothing so far, or only the beginning of a head."""
        return not self.busy and (self._is_fresh or self._head_bytes > 0)

    def is_overdue(self, now: float, bounds: Bounds) -> bool:
        if self.transport.is_closing():
            longest: float | None = bounds.linger_s
        elif self.busy:
            longest = bounds.answer_s
        else:
            longest = bounds.head_s if self._head_bytes else bounds.idle_s
        return longest is not None and now - self.since > longest

    # -- what comes in ----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._refused or self.transport.is_closing():
            return
        if self._superfluous:  # told now: an answer before its request would be lost by a reset
            self._refuse(503, "too many connections")
        elif self._must_wait():
            self._hold(data)
        else:
            self._feed(data)

    def _must_wait(self) -> bool:
        """Is what comes sent ahead: of an answer, or behind what waits for its turn?"""
        if self.busy:
            return not self.cycle.more_body
        return bool(self._held) or (self._in_head and self.flow.write_paused)

    def _feed(self, data: bytes) -> None:
        """To the parser, one request at a time: it cannot be stopped between two of them."""
        piece, rest = data, b""
        if self._in_head:
            if not self._head_bytes:
                self.since = time.monotonic()
            end = data.find(_HEAD_END)
            if end >= 0:
                piece, rest = data[: end + len(_HEAD_END)], data[end + len(_HEAD_END) :]
            self._head_bytes += len(piece)
            if self._head_bytes > _HEAD_BYTES:
                self._refuse(431, f"the request's head has over {_HEAD_BYTES} bytes")
                return
        self.parse(piece)
        if rest and not self._refused and not self.transport.is_closing():
            self.data_received(rest)

    def parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # answered as what it is otherwise
            self.cycle.keep_alive = False
            self._refused = True
        except httptools.HttpParserError:
            self.refuse_nonsense()

    def refuse_nonsense(self) -> None:
        if not self._refused and not self.transport.is_closing():
            self._refuse(400, "this is no HTTP request")

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > _HELD_BYTES:
            self.flow.pause_reading()
        if len(self._held) > MOST_AHEAD_BYTES:  # somebody waits for its end, and so reads on
            self.abort()

    # -- the parser's calls -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.busy:  # behind a body in one piece: its answer is the last of this connection
            self.cycle.keep_alive = False
            self._refused = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > _HEADERS:
            self._refuse(431, f"the request has over {_HEADERS} headers")
            raise ValueError("too many headers")  # which stops the parser

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        self._in_head = self._is_fresh = False
        self._head_bytes = 0
        self.busy = True
        self.since = time.monotonic()
        super().on_headers_complete()
        if self._is_last:
            self.cycle.keep_alive = False
        if self.scope["method"] != "HEAD":
            self.cycle.transport = Whole(self.transport)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refused:
            self._in_head = True
            super().on_message_complete()

    def on_response_complete(self) -> None:
        self.busy = False
        self.since = time.monotonic()
        super().on_response_complete()
        self.door.answered(self)
        self._may_go_on()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._may_go_on()

    def _may_go_on(self) -> None:
        if self._held and not self.busy and not self.flow.write_paused:
            self.door.queue(self)

    def go_on(self) -> None:
        """To the next request, when the answer to the last one has gone."""
        if self._held and not self.busy and not self.flow.write_paused:
            held, self._held = self._held, b""
            self.data_received(held)

    def _refuse(self, status: int, why: str) -> None:
        """Answer and close, whatever more comes."""
        self._refused = True
        self.since = time.monotonic()
        if self.peer is not None:
            self.door.refused(self.peer, why)
        reason = {400: "Bad Request", 431: "Request Header Fields Too Large"}
        body = f"{why}\n".encode()
        self.transport.write(
            f"HTTP/1.1 {status} {reason.get(status, 'Service Unavailable')}\r\n"
            f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n".encode()
            + body
        )
        self.transport.close()


def protocol(door: Door, base: type[Bounded] = Bounded) -> type[Bounded]:
    """`base` for the connections of `door`."""
    attributes: dict[str, Any] = {"door": door}
    return type(base.__name__, (base,), attributes)
