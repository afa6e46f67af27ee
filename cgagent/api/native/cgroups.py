"""``/v1/cgroups``: any group of the host."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Response

from cgagent.api.native.schemas import GroupBody
from cgagent.engine import limits as limit_json

if TYPE_CHECKING:
    from cgagent.engine.engine import Engine


def routes(engine: Engine) -> APIRouter:
    router = APIRouter(prefix="/v1/cgroups", tags=["cgroups"])

    @router.get("")
    async def list_groups(
        path: str = "/", depth: Annotated[int, Query(ge=0, le=32)] = 32
    ) -> list[dict[str, Any]]:
        """A group and those below it, parents first."""
        return [asdict(node) for node in engine.groups.tree(path, depth)]

    @router.get("/{path:path}")
    async def show_group(path: str) -> dict[str, Any]:
        """One group: state, children, limits as the kernel holds them, usage."""
        detail = engine.groups.show(f"/{path}")
        return {
            "path": detail.path,
            "container": detail.container,
            "state": detail.state,
            "children": list(detail.children),
            "limits_held": limit_json.to_json(detail.held),
            "usage": asdict(detail.usage),
        }

    @router.post("/{path:path}", status_code=204)
    async def change_group(path: str, body: GroupBody) -> Response:
        """Freeze, thaw, kill or set limits; another's group only with `force`."""
        where = f"/{path}"
        if body.action == "set":
            await engine.groups.change(
                where, body.limits.limits(), body.limits.conveniences(), force=body.force
            )
        else:
            await engine.groups.act(where, body.action, force=body.force, timeout_s=body.timeout_s)
        return Response(status_code=204)

    return router
