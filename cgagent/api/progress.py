"""Long work that tells how far it is while it goes on, for answers that are streams."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.responses import StreamingResponse

from cgagent.errors import CgagentError, ConflictError, InternalError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from cgagent.engine.values import Progress

    Tell = Callable[[Progress], None]

Message = TypeVar("Message")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """The last message: what came of the work."""

    result: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The last message of work that came to nothing."""

    error: CgagentError


async def told(
    work: Callable[[Callable[[Message], None]], Awaitable[Any]],
) -> AsyncGenerator[Message | Done | Failed]:
    """What the work tells, and at the end what came of it; closing this cancels the work."""
    queue: asyncio.Queue[Message | Done | Failed] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def tell(progress: Message) -> None:  # also called from worker threads
        loop.call_soon_threadsafe(queue.put_nowait, progress)

    async def run() -> None:
        last: Done | Failed
        try:
            last = Done(await work(tell))
        except CgagentError as e:
            last = Failed(e)
        except Exception as e:
            log.exception("a stream failed")
            last = Failed(InternalError(f"{type(e).__name__}: {e}"))
        except asyncio.CancelledError:
            last = Failed(ConflictError("cancelled: nothing was kept"))
        await asyncio.sleep(0)  # what worker threads told before comes first
        queue.put_nowait(last)

    task = asyncio.create_task(run())
    try:
        while True:
            message = await queue.get()
            yield message
            if isinstance(message, Done | Failed):
                return
    finally:
        task.cancel()
        await asyncio.wait([task])


class Streamed(StreamingResponse):
    """Closes the lines however it ends, and calls `end` then."""

    def __init__(
        self,
        lines: AsyncGenerator[bytes],
        end: Callable[[], None] | None = None,
        media_type: str = "application/x-ndjson",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(lines, media_type=media_type, headers=headers)
        self._lines: AsyncGenerator[Any] = lines
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._lines.aclose()
            if self._end is not None:
                self._end()
