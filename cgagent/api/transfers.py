"""Bodies of any length, sent as they are made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from cgagent.engine.receiving import Received, received
from cgagent.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from cgagent.engine.engine import Engine

    Sender = Callable[[bytes], Awaitable[None]]

NO_LIMIT: Final = 1 << 62
TAR: Final = "application/x-tar"
_AHEAD: Final = 4


class Archive(StreamingResponse):
    """A tar; what makes its body is closed however the response ends."""

    def __init__(
        self,
        body: AsyncIterator[bytes],
        close: Callable[[], Awaitable[object]],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(body, headers=headers, media_type=TAR)
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._close()


async def uploaded(request: Request, engine: Engine) -> Received:
    """The body as a file, to be closed. Raises UnavailableError: the client has hung up."""
    try:
        return await received(request.stream(), engine.images.scratch())
    except ClientDisconnect:
        raise UnavailableError("the client has hung up") from None  # nobody will read this


async def downloaded(work: Callable[[Sender], Coroutine[Any, Any, None]]) -> StreamingResponse:
    """A body that `work` sends piece by piece; it is cancelled when the client goes away.

    A failure before its first piece is the answer's; a later one cuts the body off.
    """
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)

    async def run() -> None:
        try:
            await work(queue.put)
        finally:
            if not _is_cancelled():
                await queue.put(None)

    task = asyncio.create_task(run())
    try:
        first = await queue.get()
    except BaseException:
        task.cancel()
        raise
    if first is None:
        await task

    async def pieces() -> AsyncIterator[bytes]:
        piece = first
        while piece is not None:
            yield piece
            piece = await queue.get()
        await task

    async def close() -> None:
        task.cancel()
        await asyncio.wait([task])

    return Archive(pieces(), close)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
