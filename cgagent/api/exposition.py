"""``GET /metrics``: rendered once for all who ask at the same moment, sent as it is read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from cgagent.engine.values import Asked

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from cgagent.engine.engine import Engine
    from cgagent.engine.values import Rendering

_PIECE_BYTES: Final = 64 * 1024


class Exposition:
    """The answers of one event loop.

    One rendering at a time, and after each a pause as long as it took: whoever asks without end
    gets half of a processor at most.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._under_way: dict[Asked, asyncio.Task[Rendering]] = {}
        self._one = asyncio.Lock()
        self._next_s = 0.0

    async def __call__(self, request: Request) -> Response:
        """All metrics, or those of ``?name[]=``."""
        asked = Asked(
            accept=request.headers.get("accept", ""),
            gzip="gzip" in request.headers.get("accept-encoding", ""),
            names=frozenset(request.query_params.getlist("name[]")),
        )
        rendering = await self.rendering(asked)
        return InPieces(rendering.body, headers=rendering.headers)

    async def rendering(self, asked: Asked) -> Rendering:
        task = self._under_way.get(asked)
        if task is None:
            task = self._under_way[asked] = asyncio.create_task(self._begin(asked))
            task.add_done_callback(lambda _: self._under_way.pop(asked))
        return await asyncio.shield(task)

    async def _begin(self, asked: Asked) -> Rendering:
        loop = asyncio.get_running_loop()
        async with self._one:
            await asyncio.sleep(self._next_s - loop.time())
            began_s = loop.time()
            rendering = await self._engine.monitor.render(asked)
            self._next_s = 2 * loop.time() - began_s
            return rendering


class InPieces(Response):
    """A response of which no more is copied for its connection than the next piece."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        for at in range(0, len(self.body), _PIECE_BYTES):
            piece = self.body[at : at + _PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
