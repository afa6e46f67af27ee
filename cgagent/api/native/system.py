"""``/v1/info``, ``/v1/version``, ``/v1/events``, ``/v1/jobs``, and the agent's health."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from cgagent import __version__
from cgagent.api.native.schemas import event_view, job_view
from cgagent.api.sent_events import sent_events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cgagent.engine.engine import Engine


def routes(engine: Engine) -> APIRouter:
    router = APIRouter(tags=["system"])

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

    @router.get("/v1/stats", response_model=None)
    async def stats(*, stream: bool = False) -> list[dict[str, Any]] | Response:
        """As ``/v1/containers/ID/stats``, of every running container and every watched group."""
        if stream:
            return sent_events(engine.monitor, engine.monitor.all_stats)
        return engine.monitor.all_stats()

    @router.get("/v1/host")
    async def host() -> dict[str, Any]:
        """The machine's figures, and the agent's own, as last sampled."""
        return engine.monitor.host()

    _add_events(router, engine)
    _add_jobs(router, engine)
    return router


def _add_events(router: APIRouter, engine: Engine) -> None:
    @router.get("/v1/events", response_model=None)
    async def events(
        *, follow: bool = False, since_ns: Annotated[int, Query(ge=0)] = 0
    ) -> StreamingResponse:
        """JSON lines: the recent ones; with `follow`, then every one that comes."""

        async def lines() -> AsyncIterator[bytes]:
            with engine.events.subscribe() as queue:
                for event in engine.events.recent(since_ns):
                    yield json.dumps(event_view(event)).encode() + b"\n"
                while follow:
                    event = await queue.get()
                    yield json.dumps(event_view(event)).encode() + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")


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
