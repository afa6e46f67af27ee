"""Connections that stop being HTTP: ``Connection: Upgrade, Upgrade: tcp``.

uvicorn upgrades to websockets only. This protocol lets an endpoint take the socket over instead:
it returns a `Hijack` response, whose handler gets the descriptor once everything before it has
been sent. The way Docker's clients attach.
"""

from __future__ import annotations

import asyncio
import contextvars
import fcntl
import os
import sys
import termios
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import httptools
from starlette.responses import Response

from cgagent.api.access import peers
from cgagent.api.bounds import MOST_AHEAD_BYTES, Bounded
from cgagent.api.endless import EXTENSION as ENDLESS
from cgagent.api.errors import answer
from cgagent.api.turns import is_urgent
from cgagent.errors import CgagentError, InvalidInputError, UnavailableError
from cgagent.loopwatch import URGENT, WATCH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    Take = Callable[..., Awaitable["TakenOver"]]
    """With the arguments of `HijackProtocol.take`."""

EXTENSION: Final = "cgagent.hijack"
_FRAMED: Final = "application/vnd.docker.multiplexed-stream"
_AHEAD_BYTES: Final = 64 * 1024
_READ_TRIES: Final = 100
_READ_PAUSE_S: Final = 0.0002
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
        self.scope["extensions"] = {
            EXTENSION: {"take": self.take},
            peers.EXTENSION: self.peer,  # type: ignore[dict-item]
            ENDLESS: self,  # type: ignore[dict-item]
        }

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """A request that was sent ahead begins where the one before it, or another's, has ended."""
        context = contextvars.copy_context()
        context.run(URGENT.set, is_urgent(self.scope["path"]))
        context.run(super()._start_asgi_task, cycle, app)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        WATCH.begins(f"{self.scope.get('method')} {self.scope.get('path', '')!r}")

    def data_received(self, data: bytes) -> None:
        if self._upgrading:
            self._after_upgrade(data)
        else:
            super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep a connection that is to be taken over: its client may have ended its input alone.

        One that has gone altogether is noticed when it is written to.
        """
        return self._upgrading

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

    async def take(
        self,
        *,
        raw: bool = False,
        location: str | None = None,
        apart: bool = False,
        head: tuple[str, ...] = (),
    ) -> TakenOver:
        """Answer 101, or 200 to who asked for no upgrade, and give the connection away.

        Raises:
            UnavailableError: the client has hung up.

        `raw`: what is sent will have no frames; `location`: the path of what it is connected to.
        `apart`: the client has read the answer's head when this returns, if it does so soon:
        docker's client for Python loses what comes together with it. `head` is the answer's, if it
        is another one.
        """
        switching = ("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: tcp")
        lines = head or [
            *(switching if self._upgrading else ("HTTP/1.1 200 OK",)),
            f"Content-Type: {_RAW if raw else _FRAMED}",
            *([f"Location: {location}"] if location else []),
        ]
        self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        await self.flow.drain()
        if self.transport.is_closing():  # nobody reads: what was asked for is not to begin
            raise UnavailableError("the client has hung up")
        fd = os.dup(self.transport.get_extra_info("socket").fileno())
        try:
            if apart:
                await _has_been_read(fd)
        except BaseException:
            os.close(fd)
            raise
        self.scope["extensions"][EXTENSION]["taken"] = True
        self.cycle.response_started = True
        self.cycle.response_complete = True
        tail = self._tail + self._held
        self.transport.abort()
        return TakenOver(fd, tail)


async def _has_been_read(fd: int) -> None:
    """Until the other end of a unix socket has taken everything, for a short time at most."""
    for _ in range(_READ_TRIES):
        if not int.from_bytes(fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)), sys.byteorder):
            return
        await asyncio.sleep(_READ_PAUSE_S)


class Hijack(Response):
    """A response that is the connection itself.

    `handler` runs with a function that takes the connection over. An error it raises before that
    is answered as any other; one after that has gone to the client in band.
    """

    def __init__(
        self,
        handler: Callable[[Take], Awaitable[None]],
        explain: Callable[[CgagentError], Response] | None = None,
    ) -> None:
        """`explain` makes the answer to an error; None: as the native API has it."""
        super().__init__()
        self._handler = handler
        self._explain = explain

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
                explain = self._explain or partial(answer, path=scope["path"])
                await explain(e)(scope, receive, send)


def require_upgrade(headers: Any) -> None:
    """Raises InvalidInputError where the request does not ask for ``Upgrade: tcp``."""
    if headers.get("upgrade", "").lower() != "tcp":
        raise InvalidInputError(
            "this takes the connection over: send 'Connection: Upgrade' and 'Upgrade: tcp'"
        )
