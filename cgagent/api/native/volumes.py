"""``/v1/volumes``: make, look, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from cgagent.api.bodies import CheckedRouter
from cgagent.api.native.etags import condition, tagged
from cgagent.api.native.images import Filters
from cgagent.api.native.once import once
from cgagent.api.native.pages import Paged
from cgagent.api.native.schemas import Strict, volume_view
from cgagent.engine import listfilters
from cgagent.engine.filters import PruneFilters, by_name

if TYPE_CHECKING:
    from cgagent.engine.engine import Engine


class VolumeBody(Strict):
    name: str | None = None
    labels: dict[str, str] = {}


def routes(engine: Engine) -> APIRouter:
    router = CheckedRouter("/v1/volumes", tag="volumes")

    def view(name: str) -> dict[str, Any]:
        return volume_view(engine.volumes.find(name))

    @router.get("")
    async def list_volumes(page: Paged, filters: Filters = None) -> list[dict[str, Any]]:
        """By name; `filter` is ``NAME=VALUE`` with docker's names."""
        wanted = by_name(filters or ())
        listfilters.check(wanted, listfilters.VOLUMES)
        found = [v for v in engine.volumes.all() if listfilters.volume_holds(wanted, v)]
        return [volume_view(v) for v in page.of(found, lambda v: v.name)]

    @router.post("", status_code=201)
    async def create_volume(body: VolumeBody, request: Request) -> dict[str, Any]:
        """A volume of that name that is there is left as it is."""

        async def make() -> dict[str, Any]:
            return volume_view(await engine.volumes.create(body.name, body.labels))

        return await once(engine, request, "volume", make, view)

    @router.post("/prune")
    async def prune_volumes(*, all: bool = False, filters: Filters = None) -> dict[str, Any]:  # noqa: A002
        """Remove what no container has; with `all`, also volumes that have a name."""
        parsed = PruneFilters.parse(filters or ())
        names, freed = await engine.volumes.prune(parsed, named=all)
        return {"removed": names, "freed_bytes": freed}

    @router.get("/{name}", response_model=dict[str, Any])
    async def inspect_volume(name: str, request: Request) -> Response:
        return tagged(request, view(name))

    @router.delete("/{name}", status_code=204)
    async def remove_volume(name: str, request: Request, *, force: bool = False) -> Response:
        condition(request, f"volume {name!r}", lambda: view(name))()
        await engine.volumes.remove(name, force=force)
        return Response(status_code=204)

    return router
