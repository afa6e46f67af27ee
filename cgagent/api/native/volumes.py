"""``/v1/volumes``: make, look, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response

from cgagent.api.bodies import CheckedRoute
from cgagent.api.native.images import Filters
from cgagent.api.native.schemas import Strict, volume_view
from cgagent.engine.filters import PruneFilters

if TYPE_CHECKING:
    from cgagent.engine.engine import Engine


class VolumeBody(Strict):
    name: str | None = None
    labels: dict[str, str] = {}


def routes(engine: Engine) -> APIRouter:
    router = APIRouter(route_class=CheckedRoute, prefix="/v1/volumes", tags=["volumes"])

    @router.get("")
    async def list_volumes() -> list[dict[str, Any]]:
        return [volume_view(v) for v in engine.volumes.all()]

    @router.post("", status_code=201)
    async def create_volume(body: VolumeBody) -> dict[str, Any]:
        """A volume of that name that is there is left as it is."""
        return volume_view(await engine.volumes.create(body.name, body.labels))

    @router.post("/prune")
    async def prune_volumes(*, all: bool = False, filters: Filters = None) -> dict[str, Any]:  # noqa: A002
        """Remove what no container has; with `all`, also volumes that have a name."""
        parsed = PruneFilters.parse(filters or ())
        names, freed = await engine.volumes.prune(parsed, named=all)
        return {"removed": names, "freed_bytes": freed}

    @router.get("/{name}")
    async def inspect_volume(name: str) -> dict[str, Any]:
        return volume_view(engine.volumes.find(name))

    @router.delete("/{name}", status_code=204)
    async def remove_volume(name: str, *, force: bool = False) -> Response:
        await engine.volumes.remove(name, force=force)
        return Response(status_code=204)

    return router
