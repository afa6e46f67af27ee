"""The control socket's two APIs: whose a request is, its path says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.api.paths import is_dockers

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from cgagent.engine.engine import Engine


class Doors:
    """`native`, and docker's API, which is imported when it is first asked for."""

    def __init__(self, native: ASGIApp, engine: Engine) -> None:
        self._native = native
        self._engine = engine
        self._docker: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_dockers(scope["path"]):
            await self._native(scope, receive, send)
            return
        if self._docker is None:
            from cgagent.api.docker.app import DockerApi  # 40 ms, which a start has no need of

            self._docker = DockerApi(self._engine)
        await self._docker(scope, receive, send)
