"""``/volumes``: make, look, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cgagent.api.answers import Json
from cgagent.api.docker import schemas
from cgagent.api.docker.containers import done
from cgagent.api.docker.errors import RefusedError
from cgagent.api.docker.routing import Route
from cgagent.engine import listfilters
from cgagent.engine.filters import PruneFilters
from cgagent.engine.options.mounts import require_driver
from cgagent.errors import InvalidInputError, NotFoundError
from cgagent.units import show_time

if TYPE_CHECKING:
    from starlette.responses import Response

    from cgagent.api.docker.calls import Call
    from cgagent.engine.volumes import Volume

_ANONYMOUS: Final = "com.docker.volume.anonymous"


def shape(volume: Volume) -> dict[str, Any]:
    mark = {_ANONYMOUS: ""} if volume.row.anonymous else {}
    return {
        "CreatedAt": show_time(volume.row.created_ns // 10**9 * 10**9).replace(".000000000", ""),
        "Driver": "local",
        "Labels": {**mark, **volume.row.labels},
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": {},
        "Scope": "local",
    }


async def list_(call: Call) -> Response:
    filters = dict(call.filters(*listfilters.VOLUMES))
    found = [shape(v) for v in call.engine.volumes.all() if listfilters.volume_holds(filters, v)]
    return Json({"Volumes": found, "Warnings": []})


def _find(call: Call) -> Volume:
    name = call.names["name"]
    try:
        return call.engine.volumes.find(name)
    except NotFoundError:
        raise RefusedError(404, f"get {name}: no such volume") from None


async def create(call: Call) -> Response:
    body = await call.body(schemas.VolumeCreateBody)
    require_driver(body.Driver)
    if body.DriverOpts:
        raise InvalidInputError(
            f"create {body.Name}: invalid option: {next(iter(body.DriverOpts))!r}; there are none"
        )
    return Json(shape(await call.engine.volumes.create(body.Name or None, body.Labels)), 201)


async def inspect(call: Call) -> Response:
    return Json(shape(_find(call)))


async def remove(call: Call) -> Response:
    force = call.flag("force")
    if not force:
        _find(call)
    await call.engine.volumes.remove(call.names["name"], force=force)
    return done()


async def prune(call: Call) -> Response:
    """Before 1.42 every volume that nobody has; since then those without a name, unless `all`."""
    filters = call.filters("label", "label!", "all")
    every = filters.flag("all") or call.version < (1, 42)
    names, freed = await call.engine.volumes.prune(
        PruneFilters.parse(filters.prune_pairs()), named=every
    )
    return Json({"VolumesDeleted": names, "SpaceReclaimed": freed})


ROUTES: Final = (
    Route("GET", "/volumes", list_),
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune),
    Route("GET", "/volumes/{name}", inspect),
    Route("DELETE", "/volumes/{name}", remove),
)
