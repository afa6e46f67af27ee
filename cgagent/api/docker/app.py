"""The application: a version in the path, a table of routes, docker's headers and errors."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from starlette.requests import Request

from cgagent import __version__
from cgagent.api.docker import (
    attach,
    builds,
    containers,
    errors,
    execs,
    files,
    images,
    networks,
    swarm,
    system,
    versions,
    volumes,
)
from cgagent.api.docker.calls import Call
from cgagent.api.docker.errors import RefusedError
from cgagent.api.docker.routing import Table
from cgagent.errors import CgagentError, InternalError

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Message, Receive, Scope, Send

    from cgagent.engine.engine import Engine

log = logging.getLogger(__name__)

_ROOMS: Final = (
    *(system, containers, attach, files, execs, images, builds, networks, volumes, swarm),
)
ROUTES: Final = tuple(route for room in _ROOMS for route in room.ROUTES)


class DockerApi:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._table = Table(ROUTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        version = versions.NEWEST

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_headers()]
            await send(message)

        try:
            version, path = versions.split(scope["path"])
            call = Call(self._engine, Request(scope, receive), version)
            response = await self._answer(call, path)
        except (CgagentError, RefusedError) as e:
            response = errors.answer(e)
        except Exception as e:
            log.exception("%s %r failed", scope["method"], scope["path"])
            response = errors.answer(InternalError(f"{type(e).__name__}: {e}"))
        await response(scope, receive, told)

    async def _answer(self, call: Call, path: str) -> Response:
        if "\0" in path:
            raise RefusedError(400, "the request's path has a NUL in it")
        found = self._table.find(call.request.method, path)
        if found is None:
            raise RefusedError(404, "page not found")
        handler, names = found
        return await handler(replace(call, names=names))


def _headers() -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"api-version", versions.text(versions.NEWEST).encode()),
        (b"docker-experimental", b"false"),
        (b"ostype", b"linux"),
        (b"server", f"cgagent/{__version__} (linux)".encode()),
    )
