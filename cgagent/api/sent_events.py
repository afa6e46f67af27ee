"""Server-sent events: figures at each interval of sampling."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from fastapi.responses import StreamingResponse

from cgagent.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cgagent.engine.monitor import Monitor


def sent_events(monitor: Monitor, read: Callable[[], Any]) -> StreamingResponse:
    """One event for each sample, until `read` says that there are no more.

    Raises:
        ConflictError: there is not even a first.
    """
    first = read()

    async def events() -> AsyncIterator[bytes]:
        figures = first
        while True:
            yield b"data: " + json.dumps(figures).encode() + b"\n\n"
            await asyncio.sleep(monitor.interval_s)
            try:
                figures = read()
            except ConflictError:  # it has ended
                return

    return StreamingResponse(events(), media_type="text/event-stream")
