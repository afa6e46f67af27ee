"""Files of ``/v1/containers/ID``: what is copied out and in, and what has changed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from cgagent.engine.engine import Engine
    from cgagent.engine.sessions.copying import PathStat, Reading

STAT_HEADER: Final = "Cgagent-Path-Stat"
_TAR: Final = "application/x-tar"
_NO_LIMIT: Final = 1 << 62
Path = Annotated[str, Query(min_length=1)]


class _Archive(StreamingResponse):
    """Closes what it reads from, however it ends."""

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading.chunks(), headers=_headers(reading.stat), media_type=_TAR)
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._reading.close()


def _headers(stat: PathStat) -> dict[str, str]:
    return {STAT_HEADER: json.dumps(asdict(stat))}


def add(router: APIRouter, engine: Engine) -> None:
    _add_archive(router, engine)
    _add_changes(router, engine)


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
        return _Archive(await engine.copying.read(container, path, name=name, follow=follow))

    @router.put("/{reference}/archive", status_code=204, max_body_size=_NO_LIMIT)
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


def _add_changes(router: APIRouter, engine: Engine) -> None:
    @router.get("/{reference}/changes")
    async def container_changes(reference: str) -> list[dict[str, Any]]:
        """Paths added (A), changed (C) and deleted (D) in its root file system, sorted."""
        container = engine.containers.find(reference)
        return [asdict(change) for change in await engine.copying.changes(container)]
