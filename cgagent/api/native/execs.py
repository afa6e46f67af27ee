"""``/v1/exec``: commands that run, or ran, inside containers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response

from cgagent.api.bodies import CheckedRoute

if TYPE_CHECKING:
    from cgagent.engine.engine import Engine


def routes(engine: Engine) -> APIRouter:
    router = APIRouter(route_class=CheckedRoute, prefix="/v1/exec", tags=["containers"])

    @router.get("/{exec_id}")
    async def inspect_exec(exec_id: str) -> dict[str, Any]:
        return asdict(engine.streams.find(exec_id))

    @router.post("/{exec_id}/resize", status_code=204)
    async def resize_exec(exec_id: str, h: int, w: int) -> Response:
        """`h` rows and `w` columns for its terminal."""
        await engine.streams.resize_exec(engine.streams.find(exec_id), h, w)
        return Response(status_code=204)

    return router
