"""``/v1/info``, ``/v1/version``, ``/v1/system``, events, jobs, and the agent's health."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from cgagent import __version__
from cgagent.api.bodies import CheckedRoute
from cgagent.api.endless import Endless
from cgagent.api.native.images import Filters, streamed
from cgagent.api.native.numbers import Nanoseconds
from cgagent.api.native.schemas import Strict, event_view, job_view, report_view
from cgagent.engine.events import EventQuery
from cgagent.engine.filters import PruneFilters

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from cgagent.api.endless import HangUp
    from cgagent.engine.engine import Engine
    from cgagent.engine.values import Progress


class CheckBody(Strict):
    repair: bool = False


def routes(engine: Engine) -> APIRouter:
    router = APIRouter(route_class=CheckedRoute, tags=["system"])

    @router.get("/v1/info")
    async def info() -> dict[str, Any]:
        return engine.info()

    @router.get("/v1/version")
    async def version() -> dict[str, str]:
        return {"version": __version__, "api_version": "1"}

    @router.get("/-/healthy", response_class=PlainTextResponse)
    async def healthy() -> str:
        return "healthy\n"

    @router.get("/-/ready", response_class=PlainTextResponse)
    async def ready() -> str:
        return "ready\n"

    @router.get("/v1/system/recovery")
    async def recovery() -> dict[str, Any]:
        """List what the database had lost when this agent started, and what is in lost+found."""
        found = engine.recovery
        return {
            "recovered": found.found,
            "lost": found.lost(),
            "lost_and_found": str(found.lost_and_found),
        }

    @router.post("/v1/system/check", response_model=None)
    async def check(body: CheckBody) -> StreamingResponse:
        """Read every blob of every image; lines as those of a pull, with ``problems`` at the end.

        With `repair`, unpacked layers are made anew of blobs, and blobs fetched again.
        """

        async def work(progress: Callable[[Progress], None]) -> dict[str, Any]:
            return report_view(await engine.images.check(progress, repair=body.repair))

        return streamed(work)

    _add_disk(router, engine)
    _add_events(router, engine)
    _add_jobs(router, engine)
    return router


def _add_disk(router: APIRouter, engine: Engine) -> None:
    @router.get("/v1/system/df")
    async def disk_usage() -> dict[str, Any]:
        """Tell how many bytes images, containers and volumes take on disk."""
        return await engine.pruning.disk_usage()

    @router.post("/v1/system/prune")
    async def prune(
        *,
        all: bool = False,  # noqa: A002
        volumes: bool = False,
        filters: Filters = None,
    ) -> dict[str, Any]:
        """Delete what nothing uses: containers, networks, images, lost+found; volumes if asked."""
        parsed = PruneFilters.parse(filters or ())
        containers, freed = await engine.pruning.containers(parsed)
        gone, volumes_bytes = (
            await engine.volumes.prune(parsed, named=False) if volumes else ([], 0)
        )
        networks = await engine.networks.prune(parsed)
        images = await engine.images.prune(every=all, filters=parsed)
        return {
            "containers": containers,
            "networks": networks,
            "volumes": gone,
            "images": images.lines,
            "lost_and_found": await engine.recovery.prune(),
            "freed_bytes": freed + volumes_bytes + images.freed_bytes,
        }


def _add_events(router: APIRouter, engine: Engine) -> None:
    @router.get("/v1/events", response_model=None)
    async def events(
        *,
        follow: bool = False,
        since_ns: Nanoseconds = 0,
        until_ns: Nanoseconds | None = None,
        filter_: Annotated[list[str] | None, Query(alias="filter")] = None,
    ) -> Response:
        """JSON lines: those that are kept; with `follow`, then every one that comes.

        `filter` is ``NAME=VALUE``: type, container, event, image, label or volume.
        """
        query = EventQuery.parse(since_ns, until_ns, filter_ or [])

        async def lines(hang_up: HangUp) -> AsyncGenerator[bytes]:
            events = engine.events.stream(query, follow=follow, hang_up=hang_up)
            async with aclosing(events) as stream:
                async for event in stream:
                    yield json.dumps(event_view(event)).encode() + b"\n"

        return Endless(lines, "application/x-ndjson")


def _add_jobs(router: APIRouter, engine: Engine) -> None:
    @router.get("/v1/jobs")
    async def jobs() -> list[dict[str, Any]]:
        """Running ones, then the last finished, newest first."""
        return [job_view(job) for job in engine.jobs.all()]

    @router.get("/v1/jobs/{job_id}")
    async def job(job_id: int) -> dict[str, Any]:
        return job_view(engine.jobs.get(job_id))

    @router.post("/v1/jobs/{job_id}/cancel", status_code=204)
    async def cancel_job(job_id: int) -> Response:
        engine.jobs.cancel(job_id)
        return Response(status_code=204)
