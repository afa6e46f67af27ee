"""``/containers``: make, run, control, look."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from cgagent.api.answers import Json
from cgagent.api.docker import creation, lookup, resources, schemas, streams, versions
from cgagent.api.docker.errors import RefusedError
from cgagent.api.docker.routing import Route
from cgagent.api.docker.shapes import containers as shapes
from cgagent.api.docker.shapes import stats as stats_shapes
from cgagent.api.endless import Endless
from cgagent.api.progress import Streamed
from cgagent.engine.containers.selection import FILTERS, Selection
from cgagent.engine.filters import PruneFilters
from cgagent.engine.sessions import processes
from cgagent.errors import CgagentError, ConflictError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from cgagent.api.docker.calls import Call

_FEW: Final = 50
"""So many are described on the event loop."""
_CONDITIONS: Final = ("not-running", "next-exit", "removed")
_DONE: Final = 204
_NOT_MODIFIED: Final = 304


def done() -> Response:
    return Response(status_code=_DONE)


# -- looking ------------------------------------------------------------------------------------


async def list_(call: Call) -> Response:
    engine = call.engine
    selection = Selection(
        every=call.flag("all"),
        last=max(0, call.number("limit") or 0),
        filters=dict(call.filters(*FILTERS)),
    )
    chosen = engine.selected(selection)
    sizes = await engine.sizes.of(chosen) if call.flag("size") else {}

    def described() -> list[dict[str, Any]]:
        return [shapes.summary(engine, c, call.version, sizes.get(c.id)) for c in chosen]

    return Json(await asyncio.to_thread(described) if len(chosen) > _FEW else described())


async def inspect(call: Call) -> Response:
    container = lookup.container(call)
    sizes = await call.engine.sizes.of([container]) if call.flag("size") else {}
    size = sizes.get(container.id)
    return Json(shapes.inspect(call.engine, container, call.version, size))


async def top(call: Call) -> Response:
    container = lookup.container(call)
    if not container.running:
        raise RefusedError(409, f"container {container.id} is not running")
    pids = await asyncio.to_thread(call.engine.control.process_ids, container)
    options = call.text("ps_args", "-ef").split()
    shown = await asyncio.to_thread(processes.table, pids, options)
    return Json({"Titles": shown.titles, "Processes": shown.rows})


async def changes(call: Call) -> Response:
    found = await call.engine.copying.changes(lookup.container(call))
    kinds = {"C": 0, "A": 1, "D": 2}
    return Json([{"Path": c.path, "Kind": kinds[c.kind]} for c in found])


async def logs(call: Call) -> Response:
    return await streams.logs(call, lookup.container(call))


async def stats(call: Call) -> Response:
    """Figures as last sampled; `stream` goes on until the container is removed."""
    container = lookup.container(call)
    monitor = call.engine.monitor

    def figures() -> bytes:
        if container.removed:
            raise ConflictError(f"container {container.name} was removed")
        try:
            found = monitor.docker_stats(container)
        except CgagentError:  # it does not run
            found = stats_shapes.nothing(container)
        return json.dumps({**found, "os_type": "linux"}).encode() + b"\n"

    if not call.flag("stream", default=True):
        return Response(await asyncio.to_thread(figures), media_type="application/json")

    followed = monitor.feeds.follow(("docker", container.id), figures)
    return Endless(lambda _: followed, "application/json")


# -- its life -----------------------------------------------------------------------------------


async def create(call: Call) -> Response:
    body = await call.body(schemas.CreateBody)
    if not body.Image:
        raise InvalidInputError("config cannot be empty in order to create a container")
    name = call.text("name").removeprefix("/")
    warnings = _discarded(call, body.HostConfig)
    request = creation.request(body, name, call.text("platform"), call.version)
    if name and call.engine.containers.name_taken(name):
        other = call.engine.containers.find(name)
        raise RefusedError(
            409,
            f'Conflict. The container name "/{name}" is already in use by container '
            f'"{other.id}". You have to remove (or rename) that container to be able to reuse '
            "that name.",
        )
    lookup.image(call.engine, body.Image)
    container = await call.engine.lifecycle.create(request)
    return Json({"Id": container.id, "Warnings": warnings}, 201)


def _discarded(call: Call, asked: schemas.ResourcesBody) -> list[str]:
    memory = call.engine.host.placements.get("memory")
    return resources.discarded(asked, has_v1_memory=memory is not None and memory.version == 1)


async def start(call: Call) -> Response:
    container = lookup.container(call)
    if container.up:
        return Response(status_code=_NOT_MODIFIED)
    await call.engine.lifecycle.start(container)
    return done()


async def stop(call: Call) -> Response:
    container = lookup.container(call)
    if not container.up:
        return Response(status_code=_NOT_MODIFIED)
    await call.engine.lifecycle.stop(container, call.number("t"), call.text("signal") or None)
    return done()


async def restart(call: Call) -> Response:
    container = lookup.container(call)
    await call.engine.lifecycle.restart(container, call.number("t"), call.text("signal") or None)
    return done()


async def kill(call: Call) -> Response:
    container = lookup.container(call)
    signal = call.text("signal") or "SIGKILL"
    if not container.up:
        raise RefusedError(
            409,
            f"cannot kill container: {call.names['id']}: container {container.id} is not running",
        )
    await call.engine.lifecycle.kill(container, signal, wait=True)
    return done()


async def pause(call: Call) -> Response:
    container = lookup.container(call)
    if container.frozen:
        raise ConflictError(f"container {container.id} is already paused")
    await call.engine.control.freeze(container)
    return done()


async def unpause(call: Call) -> Response:
    container = lookup.container(call)
    if container.running and not call.engine.control.is_frozen(container):
        raise ConflictError(f"Container {container.id} is not paused")
    await call.engine.control.thaw(container)
    return done()


async def rename(call: Call) -> Response:
    container = lookup.container(call)
    name = call.text("name").removeprefix("/")
    if not name:
        raise InvalidInputError("Neither old nor new names may be empty")
    await call.engine.lifecycle.rename(container, name)
    return done()


async def update(call: Call) -> Response:
    container = lookup.container(call)
    body = await call.body(schemas.UpdateBody)
    warnings = _discarded(call, body)
    asked, extra = resources.limits(
        body, current=container.record.limits, devices=versions.updates_devices(call.version)
    )
    given = body.RestartPolicy
    policy = creation.restart_policy(given) if given is not None and given.Name else None
    await call.engine.control.update(container, asked, extra, policy)
    return Json({"Warnings": warnings})


async def wait(call: Call) -> Response:
    """The headers go at once: clients ask before they start the container."""
    condition = call.text("condition") or "not-running"
    if condition not in _CONDITIONS:
        raise InvalidInputError(f"invalid condition: {condition!r}")
    container = lookup.container(call)
    waiting = asyncio.ensure_future(
        call.engine.lifecycle.wait(container, condition)  # type: ignore[arg-type]
    )
    await asyncio.sleep(0)  # what ends from now on is seen

    async def body() -> AsyncGenerator[bytes]:
        await waiting
        yield json.dumps({"StatusCode": shapes.exit_code(container)}).encode() + b"\n"

    def end() -> None:
        waiting.cancel()

    return Streamed(body(), end, "application/json")


async def remove(call: Call) -> Response:
    container = lookup.container(call)
    if call.flag("link"):
        raise InvalidInputError("a link to be removed is CONTAINER/ALIAS")
    force, volumes = call.flag("force"), call.flag("v")
    if container.up and not force:
        raise RefusedError(
            409,
            f'cannot remove container "{container.name}": container is running: stop the '
            "container before removing or force remove",
        )
    await call.engine.lifecycle.remove(container, force=force, volumes=volumes)
    return done()


async def remove_link(call: Call) -> Response:
    """Remove the link that a container has under an alias."""
    container = lookup.container(call)
    if not call.flag("link"):
        raise RefusedError(404, f"No such container: {call.names['id']}/{call.names['alias']}")
    await call.engine.membership.unlink(container, call.names["alias"])
    return done()


async def prune(call: Call) -> Response:
    filters = call.filters("until", "label", "label!")
    removed, freed = await call.engine.pruning.containers(PruneFilters.parse(filters.prune_pairs()))
    return Json({"ContainersDeleted": removed, "SpaceReclaimed": freed})


# -- its streams --------------------------------------------------------------------------------


async def resize(call: Call) -> Response:
    rows, columns = size_of(call)
    await call.engine.streams.resize(lookup.container(call), rows, columns)
    return Response()


def size_of(call: Call) -> tuple[int, int]:
    """Rows and columns. Raises InvalidInputError."""
    rows, columns = call.number("h"), call.number("w")
    if rows is None or columns is None:
        raise InvalidInputError("a terminal's size is h=ROWS and w=COLUMNS")
    return rows, columns


ROUTES: Final = (
    Route("GET", "/containers/json", list_),
    Route("POST", "/containers/create", create),
    Route("POST", "/containers/prune", prune),
    Route("GET", "/containers/{id}/json", inspect),
    Route("GET", "/containers/{id}/top", top),
    Route("GET", "/containers/{id}/changes", changes),
    Route("GET", "/containers/{id}/logs", logs),
    Route("GET", "/containers/{id}/stats", stats),
    Route("POST", "/containers/{id}/start", start),
    Route("POST", "/containers/{id}/wait", wait),
    Route("POST", "/containers/{id}/stop", stop),
    Route("POST", "/containers/{id}/restart", restart),
    Route("POST", "/containers/{id}/kill", kill),
    Route("POST", "/containers/{id}/pause", pause),
    Route("POST", "/containers/{id}/unpause", unpause),
    Route("POST", "/containers/{id}/rename", rename),
    Route("POST", "/containers/{id}/resize", resize),
    Route("POST", "/containers/{id}/update", update),
    Route("DELETE", "/containers/{id}", remove),
    Route("DELETE", "/containers/{id}/{alias}", remove_link),
)
