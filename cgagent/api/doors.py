"""The control socket's two APIs: whose a request is, its path says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from cgagent.engine.engine import Engine

_DOCKERS: Final = re.compile(
    r"/(v[0-9]+\.[0-9]+|_ping|version|info|events|auth|commit|build|session|grpc|containers|exec"
    r"|images|networks|volumes|system|distribution|plugins|swarm|nodes|services|tasks|secrets"
    r"|configs)(/|$)"
)
"""The native API's paths begin with ``/v1/``, ``/-/``, and what FastAPI and Prometheus have."""


class Doors:
    """`native`, and docker's API, which is imported when it is first asked for."""

    def __init__(self, native: ASGIApp, engine: Engine) -> None:
        self._native = native
        self._engine = engine
        self._docker: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _DOCKERS.match(scope["path"]):
            await self._native(scope, receive, send)
            return
        if self._docker is None:
            from cgagent.api.docker.app import DockerApi  # 40 ms, which a start has no need of

            self._docker = DockerApi(self._engine)
        await self._docker(scope, receive, send)
