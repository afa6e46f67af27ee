"""Answers that go on: JSON lines, or server-sent events for who asks for these.

    Accept: text/event-stream        id: 42
    Last-Event-ID: 41                data: {"type": "container", ...}

An id says where to go on: a client that lost its connection sends the last one it has got.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers

from cgagent.api.endless import Endless
from cgagent.api.progress import Streamed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from fastapi import Request, Response
    from starlette.types import Receive, Scope, Send

    from cgagent.api.endless import HangUp

EVENTS: Final = "text/event-stream"
LINES: Final = "application/x-ndjson"
_LONGEST_ID: Final = 100


class Line:
    """One object as JSON, and the id of its place in the stream if it has one."""

    __slots__ = ("data", "id")

    def __init__(self, data: bytes, id_: str = "") -> None:
        self.data = data
        self.id = id_


def wants_events(headers: Mapping[str, str]) -> bool:
    return EVENTS in headers.get("accept", "")


def last_id(request: Request) -> str:
    """Where the client's last stream was cut off; empty: it begins."""
    return request.headers.get("last-event-id", "")[:_LONGEST_ID]


class Lines(Streamed):
    """The answer that tells of work which has an end."""

    def __init__(
        self,
        lines: AsyncGenerator[list[Line]],
        end: Callable[[], None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`lines` gives those together that come together."""
        super().__init__(_as_lines(lines), end, LINES, headers)
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if wants_events(Headers(scope=scope)):
            _be_events(self)
            self.body_iterator = _as_events(self._lines)
        await super().__call__(scope, receive, send)


class EndlessLines(Endless):
    """The answer that tells what goes on until its client leaves; `make` as `Endless` has it."""

    def __init__(self, make: Callable[[HangUp], AsyncGenerator[list[Line]]]) -> None:
        super().__init__(lambda hang_up: _as_lines(make(hang_up)), LINES)
        self._make_lines = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if wants_events(Headers(scope=scope)):
            _be_events(self)
            self._make = lambda hang_up: _as_events(self._make_lines(hang_up))
        await super().__call__(scope, receive, send)


def _be_events(answer: Response) -> None:
    answer.headers["content-type"] = EVENTS
    answer.headers["cache-control"] = "no-store"


async def _as_lines(lines: AsyncGenerator[list[Line]]) -> AsyncGenerator[bytes]:
    async with aclosing(lines):
        async for some in lines:
            yield b"".join(b"%b\n" % one.data for one in some)


async def _as_events(lines: AsyncGenerator[list[Line]]) -> AsyncGenerator[bytes]:
    async with aclosing(lines):
        async for some in lines:
            yield b"".join(
                (b"id: %b\n" % one.id.encode() if one.id else b"") + b"data: %b\n\n" % one.data
                for one in some
            )
