"""The application: routes over one engine, and a small one for metrics alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Request, Response

from cgagent import __version__
from cgagent.api import errors
from cgagent.api.answers import Json
from cgagent.api.exposition import Exposition
from cgagent.api.native import cgroups, containers, execs, images, stats, system, volumes

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from cgagent.engine.engine import Engine

_MAX_BODY_BYTES: Final = 4 * 1024 * 1024  # twice what execve takes


def control_app(engine: Engine) -> FastAPI:
    """Everything, for the unix socket."""
    app = FastAPI(
        title="cgagent",
        version=__version__,
        redoc_url=None,
        max_body_size=_MAX_BODY_BYTES,
        default_response_class=Json,
        responses=errors.DOCUMENTED,
    )
    errors.install(app)
    app.include_router(containers.routes(engine))
    app.include_router(execs.routes(engine))
    app.include_router(images.routes(engine))
    app.include_router(volumes.routes(engine))
    app.include_router(cgroups.routes(engine))
    app.include_router(stats.routes(engine))
    app.include_router(system.routes(engine))

    exposition = Exposition(engine)

    @app.get("/metrics", response_model=None, tags=["metrics"])
    async def metrics(request: Request) -> Response:
        return await exposition(request)

    return app


def metrics_app(engine: Engine) -> ASGIApp:
    """Read-only, for the TCP listener: ``/metrics`` and ``/-/healthy``."""
    exposition = Exposition(engine)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        if request.method not in {"GET", "HEAD"}:
            response = Response("only GET is possible here\n", 405, {"Allow": "GET, HEAD"})
        elif request.url.path == "/metrics":
            response = await exposition(request)
        elif request.url.path == "/-/healthy":
            response = Response("healthy\n", media_type="text/plain")
        else:
            response = Response("there is only /metrics and /-/healthy here\n", 404)
        await response(scope, receive, send)

    return app
