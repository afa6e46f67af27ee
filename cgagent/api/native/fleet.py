"""``/v1/fleet``: all containers at a glance, and what changes of them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response

from cgagent.api.answers import Json
from cgagent.api.bodies import CheckedRouter
from cgagent.api.native.lines import EndlessLines, Line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from cgagent.api.endless import HangUp
    from cgagent.engine.engine import Engine


def routes(engine: Engine) -> APIRouter:
    router = CheckedRouter(tag="stats")

    @router.get("/v1/fleet", response_model=None)
    async def fleet(*, follow: bool = False) -> Response:
        """All containers and watched groups, each with state, limits and the last figures.

        With `follow`: JSON lines or server-sent events, that whole and then, every two seconds,
        what has changed: ``facts`` and ``figures`` by id, and ids that are ``gone``. It ends for a
        client that has missed some, who asks again. ``last_event`` is the number of the last event
        of all, as ``/v1/events`` has it.
        """
        if not follow:
            whole = await asyncio.to_thread(lambda: engine.monitor.fleet.look().whole())
            return Json(whole)

        async def lines(hang_up: HangUp) -> AsyncGenerator[list[Line]]:
            async with aclosing(engine.monitor.fleet.follow(hang_up)) as told:
                async for piece in told:
                    yield [Line(piece)]

        return EndlessLines(lines)

    return router
