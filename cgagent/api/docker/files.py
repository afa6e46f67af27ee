"""``/containers/ID/archive`` and ``export``: files out of a container and into it."""

from __future__ import annotations

import base64
import json
import stat
from functools import partial
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from cgagent.api.docker import lookup
from cgagent.api.docker.errors import RefusedError
from cgagent.api.docker.routing import Route
from cgagent.api.transfers import Archive, downloaded
from cgagent.errors import InvalidInputError, NotFoundError
from cgagent.units import show_time

if TYPE_CHECKING:
    from cgagent.api.docker.calls import Call
    from cgagent.engine.sessions.copying import PathStat

STAT_HEADER: Final = "X-Docker-Container-Path-Stat"
_GO_KINDS: Final = (  # by the kernel's kinds, Go's bits of a FileMode
    (stat.S_IFDIR, 1 << 31),
    (stat.S_IFLNK, 1 << 27),
    (stat.S_IFBLK, 1 << 26),
    (stat.S_IFIFO, 1 << 25),
    (stat.S_IFSOCK, 1 << 24),
    (stat.S_IFCHR, 1 << 26 | 1 << 21),
)
_GO_BITS: Final = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


def _headers(found: PathStat) -> dict[str, str]:
    shape = {
        "name": found.name,
        "size": found.size_bytes,
        "mode": _go_mode(found.mode),
        "mtime": show_time(found.mtime_ns),
        "linkTarget": found.link_target or "",
    }
    return {STAT_HEADER: base64.b64encode(json.dumps(shape).encode()).decode("ascii")}


def _go_mode(mode: int) -> int:
    kind = next((go for kernel, go in _GO_KINDS if stat.S_IFMT(mode) == kernel), 0)
    return mode & 0o777 | kind | sum(go for kernel, go in _GO_BITS if mode & kernel)


def _path(call: Call) -> str:
    path = call.text("path")
    if not path:
        raise InvalidInputError("bad parameter: 'path' cannot be empty")
    return path


def _missing(call: Call) -> RefusedError:
    return RefusedError(
        404, f"Could not find the file {call.text('path')} in container {call.names['id']}"
    )


async def stat_path(call: Call) -> Response:
    container, path = lookup.container(call), _path(call)
    try:
        found = await call.engine.copying.stat(container, path, follow=False)
    except NotFoundError:
        raise _missing(call) from None
    return Response(headers=_headers(found))


async def read(call: Call) -> Response:
    container, path = lookup.container(call), _path(call)
    try:
        reading = await call.engine.copying.read(container, path)
        return Archive(reading.chunks(), reading.close, _headers(reading.stat))
    except NotFoundError:
        raise _missing(call) from None


async def write(call: Call) -> Response:
    container, path = lookup.container(call), _path(call)
    try:
        await call.engine.copying.write(
            container,
            path,
            call.request.stream(),
            keep_owner=True,
            replace=not call.flag("noOverwriteDirNonDir"),
        )
    except NotFoundError:
        raise _missing(call) from None
    return Response()


async def export(call: Call) -> Response:
    container = lookup.container(call)
    return await downloaded(partial(call.engine.copying.export, container))


ROUTES: Final = (
    Route("HEAD", "/containers/{id}/archive", stat_path),
    Route("GET", "/containers/{id}/archive", read),
    Route("PUT", "/containers/{id}/archive", write),
    Route("GET", "/containers/{id}/export", export),
)
