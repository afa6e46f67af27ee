"""Files of ``/v1/containers/ID``: what is copied out and in, and what has changed."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from cgagent.api.native.images import streamed
from cgagent.api.native.schemas import Strict, image_view
from cgagent.api.transfers import NO_LIMIT, Archive, downloaded
from cgagent.engine.values import Authorship

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.engine import Engine
    from cgagent.engine.sessions.copying import PathStat
    from cgagent.engine.values import Progress

STAT_HEADER: Final = "Cgagent-Path-Stat"
Path = Annotated[str, Query(min_length=1)]


class CommitBody(Strict):
    name: str | None = None
    message: str = ""
    author: str = ""
    changes: list[str] = []
    pause: bool = True

    def about(self) -> Authorship:
        return Authorship(
            name=self.name or None,
            message=self.message,
            author=self.author,
            changes=tuple(self.changes),
        )


def _headers(stat: PathStat) -> dict[str, str]:
    return {STAT_HEADER: json.dumps(asdict(stat))}


def add(router: APIRouter, engine: Engine) -> None:
    _add_archive(router, engine)
    _add_changes(router, engine)
    _add_export(router, engine)


def _add_archive(router: APIRouter, engine: Engine) -> None:
    @router.head("/{reference}/archive")
    async def stat_path(reference: str, path: Path, *, follow: bool = False) -> Response:
        """What is there, as JSON in the header ``Cgagent-Path-Stat``."""
        container = engine.containers.find(reference)
        found = await engine.copying.stat(container, path, follow=follow)
        return Response(headers=_headers(found))

    @router.get("/{reference}/archive", response_class=Response)
    async def read_path(
        reference: str, path: Path, *, follow: bool = False, name: str | None = None
    ) -> Response:
        """A tar stream; its top entry is called as the file is, or `name`."""
        container = engine.containers.find(reference)
        reading = await engine.copying.read(container, path, name=name, follow=follow)
        return Archive(reading.chunks(), reading.close, _headers(reading.stat))

    @router.put("/{reference}/archive", status_code=204, max_body_size=NO_LIMIT)
    async def write_path(
        reference: str,
        path: Path,
        request: Request,
        *,
        keep_owner: bool = False,
        replace: bool = False,
    ) -> Response:
        """Place the entries of a tar stream, the body, in the directory `path`."""
        container = engine.containers.find(reference)
        await engine.copying.write(
            container, path, request.stream(), keep_owner=keep_owner, replace=replace
        )
        return Response(status_code=204)


def _add_export(router: APIRouter, engine: Engine) -> None:
    @router.get("/{reference}/export", response_class=Response)
    async def export_container(reference: str) -> Response:
        """Its root file system as a tar, without what is mounted in it."""
        container = engine.containers.find(reference)
        return await downloaded(partial(engine.copying.export, container))

    @router.post("/{reference}/commit", response_model=None)
    async def commit_container(reference: str, body: CommitBody) -> StreamingResponse:
        """Make an image of what it has changed; lines as those of a pull."""
        container = engine.containers.find(reference)

        async def work(progress: Callable[[Progress], None]) -> dict[str, Any]:
            image = await engine.commits.commit(container, body.about(), progress, pause=body.pause)
            return {"image": image_view(image)}

        return streamed(work)


def _add_changes(router: APIRouter, engine: Engine) -> None:
    @router.get("/{reference}/changes")
    async def container_changes(reference: str) -> list[dict[str, Any]]:
        """Paths added (A), changed (C) and deleted (D) in its root file system, sorted."""
        container = engine.containers.find(reference)
        return [asdict(change) for change in await engine.copying.changes(container)]
