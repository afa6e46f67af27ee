"""``/v1/info``, ``/v1/version``, ``/v1/system``, events, jobs, and the agent's health."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from cgagent import __version__
from cgagent.api.bodies import CheckedRouter
from cgagent.api.native.images import Filters, streamed
from cgagent.api.native.lines import EndlessLines, Line, Lines, last_id, wants_events
from cgagent.api.native.numbers import Nanoseconds
from cgagent.api.native.pages import Page, Paged
from cgagent.api.native.schemas import Strict, event_view, job_view, report_view
from cgagent.engine import listfilters
from cgagent.engine.events import EventQuery
from cgagent.engine.filters import PruneFilters, by_name
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from cgagent.api.endless import HangUp
    from cgagent.engine.engine import Engine
    from cgagent.engine.events import Event
    from cgagent.engine.jobs import Job
    from cgagent.engine.values import Progress


_JOB_FILTERS: Final = ("name", "status")
_DIGITS: Final = 18


class CheckBody(Strict):
    repair: bool = False


def routes(engine: Engine) -> APIRouter:
    router = CheckedRouter(tag="system")

    @router.get("/v1/info")
    async def info() -> dict[str, Any]:
        return engine.info()

    @router.get("/v1/system/abilities")
    async def list_abilities() -> list[dict[str, Any]]:
        """What this host can do for containers; `remedy` switches on what it cannot."""
        return [asdict(one) for one in await asyncio.to_thread(engine.abilities)]

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
        filters: Filters = None,
        page: Paged,
        request: Request,
    ) -> Response:
        """JSON lines or server-sent events: those that are kept; with `follow`, then what comes.

        `filter` is ``NAME=VALUE``: type, container, event, image, label or volume. What policies
        decided about a container is among its own. A page has `limit` of those that are kept.
        After ``Last-Event-ID`` come those that follow.
        """
        after = page.after if page.after is not None else last_id(request) or "0"
        query = EventQuery.parse(since_ns, until_ns, filters or [], _event_number(after))
        if page.limit is not None:
            return _page_of_events(engine, query, page, follow=follow)

        async def lines(hang_up: HangUp) -> AsyncGenerator[list[Line]]:
            events = engine.events.stream(query, follow=follow, hang_up=hang_up)
            async with aclosing(events) as stream:
                async for event in stream:
                    yield [_event_line(event)]

        return EndlessLines(lines)


def _page_of_events(
    engine: Engine, query: EventQuery, page: Page, *, follow: bool
) -> StreamingResponse:
    if follow or page.limit is None:
        raise InvalidInputError("events: a page has an end; leave limit or follow out")
    found = engine.events.first(query, page.limit + 1)
    shown = found[: page.limit]
    headers = {"Link": page.link_header(shown[-1].number)} if len(found) > len(shown) else None

    async def lines() -> AsyncGenerator[list[Line]]:
        yield [_event_line(event) for event in shown]

    return Lines(lines(), headers=headers)


def _event_line(event: Event) -> Line:
    return Line(json.dumps(event_view(event)).encode(), str(event.number))


def _event_number(given: Any) -> int:
    """Of a cursor or a Last-Event-ID. Raises InvalidInputError: it is none."""
    text = str(given)
    if not text.isdecimal() or len(text) > _DIGITS:
        raise InvalidInputError(f"event {text[:_DIGITS]!r} is no place in the events that are kept")
    return int(text)


def _add_jobs(router: APIRouter, engine: Engine) -> None:
    @router.get("/v1/jobs", response_model=list[dict[str, Any]])
    async def jobs(request: Request, page: Paged, filters: Filters = None) -> Any:
        """Running ones, then the last finished, newest first; in pages the newest first.

        `filter` is ``NAME=VALUE``: name or status. As server-sent events: each one that changes.
        """
        wanted = by_name(filters or ())
        listfilters.check(wanted, _JOB_FILTERS)
        if wants_events(request.headers):
            return EndlessLines(lambda hang_up: _changes(engine, wanted, hang_up))
        found = [job for job in engine.jobs.all() if _is_wanted(wanted, job)]
        return [job_view(job) for job in page.of(found, lambda job: job.id, descending=True)]

    @router.get("/v1/jobs/{job_id}", response_model=dict[str, Any])
    async def job(job_id: int, request: Request) -> Any:
        """As server-sent events: how far it is, until it has ended."""
        found = engine.jobs.get(job_id)
        if wants_events(request.headers):
            return EndlessLines(lambda hang_up: _progress(engine, found, hang_up))
        return job_view(found)

    @router.delete("/v1/jobs/{job_id}", status_code=204)
    async def cancel_job(job_id: int) -> Response:
        """Cancel a running one. What it has half made, it removes."""
        engine.jobs.cancel(job_id)
        return Response(status_code=204)

    @router.post("/v1/jobs/{job_id}/cancel", status_code=204)
    async def cancel_job_too(job_id: int) -> Response:
        """As ``DELETE``."""
        engine.jobs.cancel(job_id)
        return Response(status_code=204)


def _is_wanted(filters: dict[str, tuple[str, ...]], job: Job) -> bool:
    names, statuses = filters.get("name", ()), filters.get("status", ())
    return (not names or job.name in names) and (not statuses or job.status in statuses)


async def _changes(
    engine: Engine, filters: dict[str, tuple[str, ...]], hang_up: HangUp
) -> AsyncGenerator[list[Line]]:
    with engine.jobs.followed(hang_up) as changes:
        yield []  # the head of the answer
        while True:
            jobs = await changes.next()
            yield [_job_line(job) for job in jobs if _is_wanted(filters, job)]


async def _progress(engine: Engine, job: Job, hang_up: HangUp) -> AsyncGenerator[list[Line]]:
    with engine.jobs.followed(hang_up) as changes:
        has_ended = False
        while not has_ended:
            has_ended = job.duration_s is not None
            yield [_job_line(job)]
            while not has_ended and all(one is not job for one in await changes.next()):
                continue


def _job_line(job: Job) -> Line:
    return Line(json.dumps(job_view(job)).encode())
