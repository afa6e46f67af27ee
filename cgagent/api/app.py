"""The application: routes over one engine, and a small one for metrics alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import Request, Response
from fastapi.responses import PlainTextResponse

from cgagent import __version__
from cgagent.api import errors
from cgagent.api.exposition import Exposition
from cgagent.api.native import (
    builds,
    caller,
    cgroups,
    containers,
    execs,
    fleet,
    groups,
    images,
    networks,
    policies,
    registries,
    sizing,
    stats,
    system,
    tokens,
    volumes,
)
from cgagent.api.openapi import Described
from cgagent.errors import DeniedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

    from cgagent.api.access.origins import Origins
    from cgagent.engine.engine import Engine

_MAX_BODY_BYTES: Final = 4 * 1024 * 1024  # twice what execve takes


def control_app(engine: Engine) -> FastAPI:
    """Everything, for the unix socket."""
    app = Described(
        title="cgagent",
        version=__version__,
        redoc_url=None,
        max_body_size=_MAX_BODY_BYTES,
    )
    rooms = (
        containers,
        execs,
        images,
        builds,
        registries,
        volumes,
        networks,
        policies,
        groups,
        cgroups,
        stats,
        fleet,
        sizing,
        system,
        tokens,
        caller,
    )
    described = [route for room in rooms for route in room.routes(engine).routes]
    app.router.routes += described  # include_router would make each of them once more
    errors.install(app, described)

    exposition = Exposition(engine)

    @app.get("/metrics", response_class=PlainTextResponse, tags=["metrics"])
    async def metrics(request: Request) -> Response:
        return await exposition(request)

    return app


def metrics_app(
    engine: Engine,
    origins: Origins | None = None,
    refused: Callable[[Request, str], None] = lambda _request, _why: None,
) -> ASGIApp:
    """Read-only, for the TCP listener: ``/metrics`` and ``/-/healthy``.

    `origins`: names that requests may be for; None: any. `refused` is told of those for others.
    """

    def refusal(request: Request) -> Response | None:
        try:
            if origins is not None:
                origins.check(request.headers, by_name=True)
        except DeniedError as e:
            refused(request, e.message)
            return Response(f"{e.message}\n", 403)
        return None

    exposition = Exposition(engine)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        if (denied := refusal(request)) is not None:
            response = denied
        elif request.method not in {"GET", "HEAD"}:
            response = Response("only GET is possible here\n", 405, {"Allow": "GET, HEAD"})
        elif request.url.path == "/metrics":
            response = await exposition(request)
        elif request.url.path == "/-/healthy":
            response = Response("healthy\n", media_type="text/plain")
        else:
            response = Response("there is only /metrics and /-/healthy here\n", 404)
        await response(scope, receive, send)

    return app
