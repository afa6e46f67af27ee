"""``/v1/caller``: who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from cgagent.api.bodies import CheckedRouter
from cgagent.engine.access import current, includes
from cgagent.errors import InternalError

if TYPE_CHECKING:
    from cgagent.engine.engine import Engine


def routes(_engine: Engine) -> APIRouter:
    router = CheckedRouter(tag="system")

    @router.get("/v1/caller")
    async def caller() -> dict[str, str]:
        """Tell the caller who it is, and the less of its scope and of its access policy's rule."""
        found = current()
        if found is None:
            raise InternalError("a request has no caller")
        scope, allowed = found.caller.scope, found.rule.allow
        may = scope if includes(allowed, scope) else allowed
        return {"via": found.caller.via, "name": found.caller.name, "scope": may}

    return router
