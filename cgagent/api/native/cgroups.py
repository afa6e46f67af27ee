"""``/v1/cgroups``: any group of the host."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import unquote_to_bytes

from fastapi import APIRouter, Depends, Query, Request, Response

from cgagent.api.bodies import CheckedRouter
from cgagent.api.native.pages import Paged
from cgagent.api.native.schemas import GroupBody
from cgagent.api.native.why import DEFAULT_WINDOW_S, Since, Window, explanation_view
from cgagent.engine.options import limits as limit_json

if TYPE_CHECKING:
    from cgagent.engine.engine import Engine


_PREFIX: Final = "/v1/cgroups"


async def _group_path(path: str, request: Request) -> str:
    """As the request has it: what is not UTF-8 in `path` has been replaced."""
    raw: bytes = request.scope.get("raw_path") or path.encode()
    return os.fsdecode(unquote_to_bytes(raw).removeprefix(_PREFIX.encode()))


Path = Annotated[str, Depends(_group_path)]


def routes(engine: Engine) -> APIRouter:
    router = CheckedRouter(_PREFIX, tag="cgroups")

    def tree(path: str, depth: int) -> list[dict[str, Any]]:
        return [asdict(node) for node in engine.groups.tree(path, depth)]

    @router.get("")
    async def list_groups(
        page: Paged, path: str = "/", depth: Annotated[int, Query(ge=0, le=32)] = 32
    ) -> list[dict[str, Any]]:
        """A group and those below it, parents first."""
        found = await asyncio.to_thread(tree, path, depth)
        return page.of(found, lambda group: group["path"].split("/"))

    @router.get("/why")
    async def why_group(
        path: str, window_s: Window = DEFAULT_WINDOW_S, since: Since = None
    ) -> dict[str, Any]:
        """Why a group is slow: causes, the worst first; see ``GET /v1/containers/{id}/why``."""
        return explanation_view(await engine.explanations.of_group(path, window_s, since))

    @router.get("/{path:path}")
    async def show_group(path: Path) -> dict[str, Any]:
        """One group: state, children, limits as the kernel holds them, usage."""
        detail = await asyncio.to_thread(engine.groups.show, path)
        return {
            "path": detail.path,
            "container": detail.container,
            "state": detail.state,
            "children": list(detail.children),
            "limits_held": limit_json.to_json(detail.held),
            "usage": asdict(detail.usage),
        }

    @router.post("/{path:path}", status_code=204)
    async def change_group(path: Path, body: GroupBody) -> Response:
        """Freeze, thaw, kill or set limits; another's group only with `force`."""
        if body.action == "set":
            await engine.groups.change(
                path, body.limits.limits(), body.limits.conveniences(), force=body.force
            )
        else:
            await engine.groups.act(path, body.action, force=body.force, timeout_s=body.timeout_s)
        return Response(status_code=204)

    return router
