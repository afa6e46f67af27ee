"""``/v1/exec``: commands that run, or ran, inside containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from cgagent.api.bodies import CheckedRouter
from cgagent.api.hijack import Hijack
from cgagent.api.native.schemas import exec_view
from cgagent.api.native.streams import connected, started

if TYPE_CHECKING:
    from cgagent.engine.engine import Engine


def routes(engine: Engine) -> APIRouter:
    router = CheckedRouter("/v1/exec", tag="containers")

    @router.get("/{exec_id}")
    async def inspect_exec(exec_id: str) -> dict[str, Any]:
        """One that was created, runs or ran; of those that have ended the last 256 are known."""
        return exec_view(engine.streams.find(exec_id))

    @router.post("/{exec_id}/start", response_model=None)
    async def start_exec(
        exec_id: str, request: Request, *, detach_keys: str = ""
    ) -> Hijack | dict[str, Any]:
        """Start one that was created, once; connected or detached, as ``exec`` of a container."""
        run = engine.streams.find(exec_id)
        return await started(engine, request, lambda: run, detach_keys)

    @router.get("/{exec_id}/ws", status_code=101, response_model=None)
    async def start_exec_for_page(
        exec_id: str, request: Request, *, detach_keys: str = ""
    ) -> Hijack:
        """Start one that was created, with a websocket as its input and output, without frames.

        A page sends its token as a subprotocol, ``cgagent.token.TOKEN``, beside ``cgagent``.
        """
        from cgagent.api.websocket import Upgrade  # seldom asked for

        upgrade = Upgrade.asked(request.headers, is_binary=True)
        run = engine.streams.find(exec_id)
        return connected(engine, lambda: run, detach_keys, upgrade)

    @router.post("/{exec_id}/resize", status_code=204)
    async def resize_exec(exec_id: str, h: int, w: int) -> Response:
        """`h` rows and `w` columns for its terminal."""
        await engine.streams.resize_exec(engine.streams.find(exec_id), h, w)
        return Response(status_code=204)

    return router
