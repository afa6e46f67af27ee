"""``/v1/registries``, ``/v1/search``, ``/v1/images/push``: what is done with registries."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from cgagent.api.bodies import CheckedRouter
from cgagent.api.native.images import streamed
from cgagent.api.native.login import Login
from cgagent.api.native.schemas import Strict

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.engine import Engine
    from cgagent.engine.values import Progress


class PushBody(Strict):
    name: str
    all_tags: bool = False


class LoginBody(Strict):
    registry: str = "docker.io"
    """``HOST[:PORT]``."""


def routes(engine: Engine) -> APIRouter:
    router = CheckedRouter("/v1", tag="registries")

    @router.post("/images/push", response_model=None)
    async def push_image(body: PushBody, x_registry_auth: Login = None) -> StreamingResponse:
        """Send an image: lines as for a pull, the last with ``pushed``: tags, digests, sizes."""

        async def work(progress: Callable[[Progress], None]) -> dict[str, Any]:
            pushed = await engine.registries.push(
                body.name, x_registry_auth, progress, all_tags=body.all_tags
            )
            return {"pushed": [asdict(one) for one in pushed]}

        return streamed(work)

    @router.get("/registries")
    async def list_registries() -> list[dict[str, Any]]:
        """The rules in force, by prefix of an image's name."""
        return engine.registries.in_force()

    @router.post("/registries/login")
    async def check_login(body: LoginBody, x_registry_auth: Login = None) -> dict[str, Any]:
        """Ask the registry whether it lets them in; nothing is kept here.

        ``identity_token`` is not empty where the registry wants that instead of the password.
        """
        token = await engine.registries.login(body.registry, x_registry_auth)
        return {"status": "Login Succeeded", "identity_token": token}

    @router.get("/search")
    async def search_images(
        term: str,
        limit: Annotated[int, Query(ge=1, le=100)] = 25,
        x_registry_auth: Login = None,
    ) -> list[dict[str, Any]]:
        found = await engine.registries.search(term, limit, x_registry_auth)
        return [asdict(one) for one in found]

    return router
