"""Figures as last sampled, and as streams: of the host, of all, of one container."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from cgagent.api.bodies import CheckedRoute
from cgagent.api.native.lines import Line, Lines, wants_events
from cgagent.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from cgagent.engine.engine import Engine


def routes(engine: Engine) -> APIRouter:
    router = APIRouter(route_class=CheckedRoute, tags=["stats"])

    @router.get("/v1/host")
    async def host() -> dict[str, Any]:
        """The machine's figures, and the agent's own, as last sampled."""
        return engine.monitor.host()

    @router.get("/v1/stats", response_model=None)
    async def stats(request: Request, *, stream: bool = False) -> Response:
        """As ``/v1/containers/ID/stats``, of every running container and every watched group."""
        if stream or wants_events(request.headers):
            return await _events(engine, engine.monitor.all_stats)
        return Response(await _json(engine.monitor.all_stats), media_type="application/json")

    @router.get("/v1/containers/{reference}/stats", response_model=None)
    async def container_stats(
        reference: str,
        request: Request,
        since: float | None = None,
        *,
        stream: bool = False,
        format: Literal["native", "docker"] = "native",  # noqa: A002 - the parameter's name
    ) -> dict[str, Any] | Response:
        """The last sample and the rates since the one before; a fresh sample if there is none.

        With `since`, in Unix seconds: the rows kept in memory that are later, one for each
        sample of the last 10 minutes and one for each 15 seconds of the last 6 hours. With
        `stream`: server-sent events (JSON lines for who asks for these), one at each sample, until
        the container has ended. With `format` "docker": the same in Docker's form, whose stream is
        one JSON object a line.
        """
        container = engine.containers.find(reference)
        if format == "docker":
            if stream:
                return await _lines(engine, lambda: engine.monitor.docker_stats(container))
            return engine.monitor.docker_stats(container)
        if stream or wants_events(request.headers):
            return await _events(engine, lambda: engine.monitor.stats(container))
        if since is not None:
            return engine.monitor.history(container, since)
        return engine.monitor.stats(container)

    return router


async def _json(read: Callable[[], Any]) -> bytes:
    """What it reads, in ASCII, as a group's name may be any bytes.

    Made in a thread: the figures of 500 groups take tens of milliseconds.
    """
    return await asyncio.to_thread(lambda: json.dumps(read()).encode())


async def _events(engine: Engine, read: Callable[[], Any]) -> StreamingResponse:
    """A server-sent event for each sample. Raises: as `_samples`."""
    samples = await _samples(engine, read)

    async def lines() -> AsyncGenerator[list[Line]]:
        async for figures in samples:
            yield [Line(figures, f"{time.time():.3f}")]

    return Lines(lines(), usually_events=True)


async def _lines(engine: Engine, read: Callable[[], Any]) -> StreamingResponse:
    """A line for each sample. Raises: as `_samples`."""
    samples = await _samples(engine, read)

    async def lines() -> AsyncGenerator[bytes]:
        async for figures in samples:
            yield b"%b\n" % figures

    return StreamingResponse(lines(), media_type="application/json")


async def _samples(engine: Engine, read: Callable[[], Any]) -> AsyncGenerator[bytes]:
    """The figures at each sample, until `read` says that there are no more.

    Raises:
        ConflictError: there is not even a first.
    """
    first = await _json(read)

    async def samples() -> AsyncGenerator[bytes]:
        figures = first
        while True:
            yield figures
            await asyncio.sleep(engine.monitor.interval_s)
            try:
                figures = await _json(read)
            except ConflictError:  # it has ended
                return

    return samples()
