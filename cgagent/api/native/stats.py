"""Figures as last sampled, and as streams: of the host, of all, of one container."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Request, Response

from cgagent.api.answers import Json
from cgagent.api.bodies import CheckedRouter
from cgagent.api.endless import Endless
from cgagent.api.native.lines import EVENTS, LINES, wants_events

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.engine import Engine


def routes(engine: Engine) -> APIRouter:
    router = CheckedRouter(tag="stats")

    @router.get("/v1/host")
    async def host() -> dict[str, Any]:
        """The machine's figures, and the agent's own, as last sampled."""
        return engine.monitor.host()

    @router.get("/v1/stats", response_model=None)
    async def stats(request: Request, *, stream: bool = False) -> Response:
        """As ``/v1/containers/ID/stats``, of every running container and every watched group."""
        if stream or wants_events(request.headers):
            return await follow(engine, request, "all", engine.monitor.all_stats)
        return Response(await _json(engine.monitor.all_stats), media_type="application/json")

    @router.get("/v1/containers/{reference}/stats", response_model=None)
    async def container_stats(
        reference: str,
        request: Request,
        since: float | None = None,
        *,
        stream: bool = False,
        format: Literal["native", "docker"] = "native",  # noqa: A002 - the parameter's name
    ) -> Response:
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
                return await _docker_lines(
                    engine, container.id, lambda: engine.monitor.docker_stats(container)
                )
            return Json(engine.monitor.docker_stats(container))
        if stream or wants_events(request.headers):
            return await follow(
                engine, request, container.id, lambda: engine.monitor.stats(container)
            )
        if since is not None:
            return Json(engine.monitor.history(container, since))
        return Json(engine.monitor.stats(container))

    return router


async def _json(read: Callable[[], Any]) -> bytes:
    """What it reads, in ASCII, as a group's name may be any bytes.

    Made in a thread: the figures of 500 groups take tens of milliseconds.
    """
    return await asyncio.to_thread(lambda: _dumped(read))


async def follow(engine: Engine, request: Request, about: str, read: Callable[[], Any]) -> Endless:
    """A server-sent event for each sample, with its time as the id; lines for who asks for them."""
    if LINES in request.headers.get("accept", "") and not wants_events(request.headers):
        return await _stream(engine, ("lines", about), lambda: b"%b\n" % _dumped(read), LINES)
    return await _stream(
        engine,
        ("events", about),
        lambda: b"id: %.3f\ndata: %b\n\n" % (time.time(), _dumped(read)),
        EVENTS,
    )


async def _docker_lines(engine: Engine, about: str, read: Callable[[], Any]) -> Endless:
    """A line for each sample."""
    lines = ("docker", about)
    return await _stream(engine, lines, lambda: b"%b\n" % _dumped(read), "application/json")


def _dumped(read: Callable[[], Any]) -> bytes:
    return json.dumps(read()).encode()


async def _stream(
    engine: Engine, key: tuple[str, str], read: Callable[[], bytes], media_type: str
) -> Endless:
    """One for each sample, until `read` says that there are no more.

    Raises:
        ConflictError: there is not even a first.
    """
    await asyncio.to_thread(read)
    figures = engine.monitor.feeds.follow(key, read)
    return Endless(lambda _: figures, media_type)
