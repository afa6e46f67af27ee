"""Whose request is begun next, when there are more of them than can be worked on.

An event loop does what is ready in the order in which it came: behind the creations of 200 clients
a freeze would wait for all of them. So a few requests are worked on at a time, of each client in
turn, and what holds a container, lets it go or ends it waits for nobody.

    client A: r r r r ──┐
    client B: r ────────┼── in turn ──> a few at work ──> the routes
    freeze, thaw, kill ─┴─────────────────────────────────> the routes

A request gives its place away when its answer begins, or after a while: then it waits for something
(a container's end, a registry), and takes little of the loop's time.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, Final

from cgagent.api.access import peers
from cgagent.api.endless import EXTENSION as LINE

if TYPE_CHECKING:
    from collections.abc import Hashable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from cgagent.api.access.peers import Peer
    from cgagent.api.endless import Line

_AT_WORK: Final = 6
_PLACE_S: Final = 0.25
_URGENT: Final = re.compile(
    r"(/v[0-9.]+)?/containers/[^/]+/(freeze|thaw|pause|unpause|kill|stop)|/-/healthy"
    r"|(/v[0-9.]+)?/_ping|/v1/containers/[^/]+/wait"
)


def is_urgent(path: str) -> bool:
    """Is a request for this path one that waits for no others?"""
    return _URGENT.fullmatch(path) is not None


class Turns:
    """At most `most` have a place at a time; belongs to one event loop."""

    def __init__(self, most: int = _AT_WORK) -> None:
        self._free = most
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}
        """By client; the first one is next."""

    async def take(self, who: Hashable) -> Place:
        """A place, when it is the turn of `who`."""
        if self._free and not self._waiting:
            self._free -= 1
            return Place(self)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was its turn
                self.give()
            raise
        return Place(self)

    def give(self) -> None:
        """A place is free: to the client that has waited longest for one."""
        self._free += 1
        while self._free and self._waiting:
            who = next(iter(self._waiting))
            queue = self._waiting.pop(who)
            turn = queue.popleft()
            if queue:
                self._waiting[who] = queue  # behind the others
            if not turn.done():
                self._free -= 1
                turn.set_result(None)


class Place:
    """One of the few. It is given away once, by its owner or when its time is over."""

    def __init__(self, turns: Turns) -> None:
        self._turns: Turns | None = turns
        self._timer = asyncio.get_running_loop().call_later(_PLACE_S, self.give)

    def give(self) -> None:
        turns, self._turns = self._turns, None
        if turns is not None:
            self._timer.cancel()
            turns.give()


class InTurn:
    """Around an application."""

    def __init__(self, app: ASGIApp, turns: Turns | None = None) -> None:
        self._app = app
        self._turns = turns or Turns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_urgent(scope["path"]):
            await self._app(scope, receive, send)
            return
        line: Line = scope["extensions"][LINE]
        await self._in_turn(line, scope, receive, send)
        if line.rest is not None:
            rest, line.rest = line.rest, None
            await rest(send)

    async def _in_turn(self, line: Line, scope: Scope, receive: Receive, send: Send) -> None:
        extensions = scope["extensions"]
        peer: Peer = extensions[peers.EXTENSION]
        place = await self._turns.take((peer.who, peer.pid))

        async def sent(message: Message) -> None:
            place.give()
            await send(message)

        try:
            if not line.is_gone:  # while it waited
                await self._app(scope, receive, sent)
        finally:
            place.give()
