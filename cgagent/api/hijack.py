"""Connections that stop being HTTP: ``Connection: Upgrade, Upgrade: tcp``.

uvicorn upgrades to websockets only. This protocol lets an endpoint take the socket over instead:
it returns a `Hijack` response, whose handler gets the descriptor once everything before it has
been sent. The way Docker's clients attach.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httptools
from starlette.responses import Response

from cgagent.api.answers import Json
from cgagent.api.bounds import MOST_AHEAD_BYTES, Bounded
from cgagent.api.errors import body_of
from cgagent.errors import HTTP_STATUS, CgagentError, InvalidInputError, UnavailableError
from cgagent.loopwatch import WATCH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    Take = Callable[..., Awaitable["TakenOver"]]
    """With the arguments of `HijackProtocol.take`."""

EXTENSION: Final = "cgagent.hijack"
_FRAMED: Final = "application/vnd.docker.multiplexed-stream"
_AHEAD_BYTES: Final = 64 * 1024
_RAW: Final = "application/vnd.docker.raw-stream"


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The connection's descriptor, now the handler's to close, and input already read from it."""

    fd: int
    tail: bytes


class HijackProtocol(Bounded):
    """uvicorn's protocol, bounded, with one more way out."""

    _upgrading = False
    _tail = b""
    _body_left = 0

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: {"take": self.take}}

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        WATCH.begins(f"{self.scope.get('method')} {self.scope.get('path', '')!r}")

    def data_received(self, data: bytes) -> None:
        if self._upgrading:
            self._after_upgrade(data)
        else:
            super().data_received(data)

    def parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as e:
            self._upgrading = True
            self._body_left = int(dict(self.headers).get(b"content-length", b"0"))
            self.cycle.keep_alive = False
            self._after_upgrade(data[e.args[0] :])
        except httptools.HttpParserError:
            self.refuse_nonsense()

    def _after_upgrade(self, data: bytes) -> None:
        """The parser stops at the headers of an upgrade: the body is for us, the rest for later."""
        if self.cycle.response_complete:  # nothing was taken over: nobody will want it
            return
        body, rest = data[: self._body_left], data[self._body_left :]
        self.cycle.body += body
        self._body_left -= len(body)
        self._tail += rest
        self.cycle.more_body = self._body_left > 0
        self.cycle.message_event.set()
        if not self._body_left or len(self.cycle.body) > _AHEAD_BYTES:
            self.flow.pause_reading()
        if len(self._tail) > MOST_AHEAD_BYTES:  # an answer that waits for its client's end reads on
            self.abort()

    async def take(self, *, raw: bool = False, location: str | None = None) -> TakenOver:
        """Answer 101 and give the connection away.

        Raises:
            UnavailableError: the client has hung up.

        `raw`: what is sent will have no frames; `location`: the path of what it is connected to.
        """
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            f"Content-Type: {_RAW if raw else _FRAMED}",
            "Connection: Upgrade",
            "Upgrade: tcp",
            *([f"Location: {location}"] if location else []),
        ]
        self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        await self.flow.drain()
        if self.transport.is_closing():  # nobody reads: what was asked for is not to begin
            raise UnavailableError("the client has hung up")
        fd = os.dup(self.transport.get_extra_info("socket").fileno())
        self.cycle.response_started = True
        self.cycle.response_complete = True
        self.transport.abort()
        return TakenOver(fd, self._tail)


class Hijack(Response):
    """A response that is the connection itself.

    `handler` runs with a function that takes the connection over. An error it raises before that
    is answered as any other; one after that has gone to the client in band.
    """

    def __init__(self, handler: Callable[[Take], Awaitable[None]]) -> None:
        super().__init__()
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        take: Take = scope["extensions"][EXTENSION]["take"]
        taken = False

        async def take_once(**arguments: Any) -> TakenOver:
            nonlocal taken
            taken = True
            return await take(**arguments)

        try:
            await self._handler(take_once)
        except CgagentError as e:
            if not taken:
                answer = Json(body_of(e), HTTP_STATUS[e.kind])
                await answer(scope, receive, send)


def require_upgrade(headers: Any) -> None:
    """Raises InvalidInputError where the request does not ask for ``Upgrade: tcp``."""
    if headers.get("upgrade", "").lower() != "tcp":
        raise InvalidInputError(
            "this takes the connection over: send 'Connection: Upgrade' and 'Upgrade: tcp'"
        )
