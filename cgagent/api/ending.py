"""The answer to requests that are still at work when the agent stops, which cancels them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from cgagent.api.errors import answer
from cgagent.errors import UnavailableError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Ending:
    """Around an application. An answer that has begun is cut off, which its reader can see."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def sent(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except asyncio.CancelledError:
            if has_begun:
                raise
            error = UnavailableError("the agent is stopping; ask the next one")
            await answer(error, scope["path"])(scope, receive, send)


class NoCancellations(logging.Filter):
    """A filter that lets through no traceback of a request which the agent's end has cancelled."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        return kind is None or not issubclass(kind, asyncio.CancelledError)
