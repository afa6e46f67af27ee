"""Answers that go on until their client leaves or the agent stops: events, figures, a log's end.

An answer of this kind is its request's own task and nothing beside it: a route begins it, and what
follows is sent when the whole application has returned (see `turns`), so that thousands of streams
hold none of it. The connection knows the task, and cancels it when its client has gone, or when the
agent stops; the answer is then ended as a whole one is, so that a client which is still there sees
no fault.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    HangUp = Callable[[], None]
    Rest = Callable[[Send], Awaitable[None]]

EXTENSION: Final = "cgagent.endless"
"""The key of an ASGI scope that has the `Line`."""


class Line(Protocol):
    """The connection that an answer goes to."""

    rest: Rest | None
    """What is left to be sent when the application has returned."""

    @property
    def is_gone(self) -> bool:
        """Nobody will read the answer."""

    def follow(self, task: asyncio.Task[Any] | None) -> None:
        """Cancel `task` when there is no more use in it; None: it has ended."""

    def abort(self) -> None:
        """Hang up, whatever has not been sent yet."""


class Endless(Response):
    """`make` gets what hangs up on the client, for one that does not read."""

    def __init__(self, make: Callable[[HangUp], AsyncGenerator[bytes]], media_type: str) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        line: Line | None = scope.get("extensions", {}).get(EXTENSION)
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        if line is None:
            await _send_all(self._make(lambda: None), None, send)
        else:
            pieces = self._make(line.abort)
            line.rest = partial(_send_all, pieces, line)


async def _send_all(pieces: AsyncGenerator[bytes], line: Line | None, send: Send) -> None:
    task = asyncio.current_task()
    if line is not None:
        line.follow(task)
    try:
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except asyncio.CancelledError:
        if task is None or task.uncancel():  # by somebody else as well
            raise
    finally:
        if line is not None:
            line.follow(None)
        await pieces.aclose()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
