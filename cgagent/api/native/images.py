"""``/v1/images``: list, pull, load, remove. Long work streams its progress as JSON lines."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from cgagent.api.bodies import CheckedRoute
from cgagent.api.errors import body_of
from cgagent.api.native.schemas import Strict, image_view
from cgagent.errors import CgagentError, InternalError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cgagent.engine.engine import Engine
    from cgagent.engine.values import Progress


log = logging.getLogger(__name__)


class PullBody(Strict):
    name: str


class LoadBody(Strict):
    path: str
    """Of an archive on the agent's own disk, absolute."""


def routes(engine: Engine) -> APIRouter:
    router = APIRouter(route_class=CheckedRoute, prefix="/v1/images", tags=["images"])

    @router.get("")
    async def list_images() -> list[dict[str, Any]]:
        return [image_view(i) for i in engine.images.all()]

    @router.post("/pull", response_model=None)
    async def pull_image(body: PullBody) -> StreamingResponse:
        """Lines of ``{"progress": ...}``; the last has ``image`` or ``error`` instead."""

        async def work(progress: Callable[[Progress], None]) -> dict[str, Any]:
            return {"image": image_view(await engine.images.pull(body.name, progress))}

        return streamed(work)

    @router.post("/load", response_model=None)
    async def load_images(body: LoadBody) -> StreamingResponse:
        """As for a pull, with ``images`` at the end."""

        async def work(progress: Callable[[Progress], None]) -> dict[str, Any]:
            loaded = await engine.images.load(body.path, progress)
            return {"images": [image_view(i) for i in loaded]}

        return streamed(work)

    @router.get("/{name:path}")
    async def inspect_image(name: str) -> dict[str, Any]:
        return image_view(engine.images.resolve(name))

    @router.delete("/{name:path}")
    async def remove_image(name: str, *, force: bool = False) -> dict[str, Any]:
        return {"lines": await engine.images.remove(name, force=force)}

    return router


def streamed(
    work: Callable[[Callable[[Progress], None]], Awaitable[dict[str, Any]]],
) -> StreamingResponse:
    """Run the work and stream what it tells; a client that goes away cancels it."""
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def tell(progress: Progress) -> None:  # also called from worker threads
        loop.call_soon_threadsafe(queue.put_nowait, {"progress": asdict(progress)})

    async def run() -> None:
        try:
            last = await work(tell)
        except CgagentError as e:
            last = {"error": body_of(e)}
        except Exception as e:
            log.exception("a stream failed")
            last = {"error": body_of(InternalError(f"{type(e).__name__}: {e}"))}
        except asyncio.CancelledError:
            last = {"error": {"kind": "conflict", "message": "cancelled; nothing was kept"}}
        await asyncio.sleep(0)  # what worker threads told before comes first
        queue.put_nowait(last)

    async def lines() -> AsyncIterator[bytes]:
        task = asyncio.create_task(run())
        try:
            while True:
                message = await queue.get()
                yield json.dumps(message).encode() + b"\n"
                if "progress" not in message:
                    return
        finally:
            task.cancel()

    return StreamingResponse(lines(), media_type="application/x-ndjson")
