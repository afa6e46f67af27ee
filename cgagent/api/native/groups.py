"""``/v1/groups``: groups of containers, with limits that these share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import Field

from cgagent.api.answers import Json
from cgagent.api.bodies import CheckedRouter
from cgagent.api.native.etags import condition, tagged
from cgagent.api.native.lines import wants_events
from cgagent.api.native.numbers import FreezeSeconds, LeaseSeconds
from cgagent.api.native.once import once
from cgagent.api.native.pages import Paged
from cgagent.api.native.schemas import ChangeBody, LimitsBody, Strict
from cgagent.api.native.stats import follow
from cgagent.api.native.why import DEFAULT_WINDOW_S, Since, Window, explanation_view
from cgagent.engine.groups.grouping import Change
from cgagent.engine.options import limits as limit_json
from cgagent.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.engine import Engine
    from cgagent.engine.groups.group import Group

_WISHES: Final = ("budget", "reclaim")
Quota = Annotated[int, Field(ge=0)]


class CreateGroupBody(Strict):
    name: str
    limits: LimitsBody = LimitsBody()
    max_containers: Quota | None = None
    """So many containers at most, those of groups in it included."""
    labels: dict[str, str] = {}
    budget: str = ""
    """The budget of all containers in the group together: ``cpu=1h/24h,io=50g/1d:throttle=1m``."""
    reclaim: str = ""
    """``auto[:psi=0.1%]``: memory that it does not need is taken back."""


class UpdateGroupBody(ChangeBody):
    """Limits, the quota of containers, -1: any number, and wishes; ``off`` takes one back."""

    max_containers: Annotated[int, Field(ge=-1)] | None = None
    budget: str | None = None
    reclaim: str | None = None

    def change(self) -> Change:
        values = self.model_dump(exclude_none=True, exclude={"max_containers", *_WISHES})
        limits, count = ChangeBody(**values), self.max_containers
        return Change(
            limits=limits.limits(),
            extra=limits.conveniences(),
            max_containers=None if count == -1 else count,
            lifts_max=count == -1,
            budget=self.budget,
            reclaim=self.reclaim,
        )


class MoveBody(Strict):
    group: str = ""
    """Empty: out of any."""


def routes(engine: Engine) -> APIRouter:
    router = CheckedRouter("/v1/groups", tag="groups")
    _add_control(router, engine)  # first: a name may have slashes in it
    _add_looks(router, engine)
    _add_changes(router, engine)
    return router


def _summary(engine: Engine, group: Group) -> dict[str, Any]:
    groups = engine.container_groups
    members = groups.members(group.name)
    path = groups.path(group.name)
    frozen = group.frozen_since_ns or groups.frozen_above(path)
    stopped = group.stopped_until_ns or groups.closed_above(path)
    return {
        "name": group.name,
        "cgroup_path": path,
        "created_ns": group.created_ns,
        "labels": group.labels,
        "status": "frozen" if frozen else "stopped" if stopped else "thawed",
        "frozen_since_ns": group.frozen_since_ns,
        "thaw_at_ns": group.thaw_at_ns,
        "stopped_until_ns": group.stopped_until_ns,
        "containers": sorted(c.name for c in members),
        "running": sum(c.running for c in members),
        "groups": [one.name for one in groups.children(group.name)],
        "max_containers": group.max_containers,
        "limits": limit_json.to_json(group.limits),
        "overrides": [o.to_json() for o in group.overrides],
        "limits_changed_ns": group.limits_changed_ns,
        "budget": group.budget,
        "reclaim": group.reclaim,
    }


def _used(engine: Engine, name: str) -> dict[str, Any]:
    """The use of the group's budgets, which is no part of its state, nor of the tag of that."""
    return {"budgets": engine.budgeting.view_of_group(name)}


def _shown(engine: Engine, group: Group) -> dict[str, Any]:
    return {**_summary(engine, group), **_used(engine, group.name)}


async def _detail(engine: Engine, name: str) -> dict[str, Any]:
    """`drift` has where the kernel does not hold what is in force."""
    group = engine.container_groups.find(name)
    held = await asyncio.to_thread(engine.grouping.held, group)
    drift = None if held is None else limit_json.drift_to_json(group.limits_in_force.diff(held))
    return {
        **_summary(engine, group),
        "limits_held": None if held is None else limit_json.to_json(held),
        "drift": drift,
    }


async def _condition(engine: Engine, request: Request, name: str) -> Callable[[], None]:
    """To be called when nobody else can change it any more; what the kernel holds is of now."""
    seen = await _detail(engine, name)

    def now() -> dict[str, Any]:
        return {**seen, **_summary(engine, engine.container_groups.find(name))}

    return condition(request, f"group {name!r}", now)


def _figures(engine: Engine, name: str) -> dict[str, Any]:
    """From any thread. Raises NotFoundError: it, or its cgroup, is not there."""
    group = engine.container_groups.find(name)
    shown = engine.monitor.group_stats(engine.container_groups.path(name))
    return {**shown, "name": name, "limits": limit_json.to_json(group.limits)}


def _figures_or_end(engine: Engine, name: str) -> dict[str, Any]:
    """Raises ConflictError, which ends a feed."""
    try:
        return _figures(engine, name)
    except NotFoundError as e:
        raise ConflictError(e.message) from e


def _add_control(router: APIRouter, engine: Engine) -> None:
    @router.post("/{name:path}/freeze", status_code=204)
    async def freeze_group(
        name: str, timeout_s: FreezeSeconds = 10.0, lease_s: LeaseSeconds | None = None
    ) -> Response:
        """Stop all tasks of all containers in it, and in the groups in it.

        With `lease_s` it is thawed by itself after so long.
        """
        await engine.whole_groups.freezing.freeze(name, timeout_s, lease_s)
        return Response(status_code=204)

    @router.post("/{name:path}/thaw", status_code=204)
    async def thaw_group(name: str) -> Response:
        """Let it go on; a container that was frozen by itself stays frozen."""
        await engine.whole_groups.freezing.thaw(name)
        return Response(status_code=204)

    @router.post("/{name:path}/kill")
    async def kill_group(name: str) -> dict[str, Any]:
        """SIGKILL all that runs in it; no restart policy starts it again."""
        return {"killed": [c.name for c in await engine.whole_groups.ending.kill(name)]}


def _add_looks(router: APIRouter, engine: Engine) -> None:
    @router.get("")
    async def list_groups(page: Paged) -> list[dict[str, Any]]:
        """List all groups by name: a group before those in it."""
        found = page.of(engine.container_groups.all(), lambda group: group.name)
        return [_shown(engine, group) for group in found]

    @router.get("/{name:path}/stats", response_model=None)
    async def group_stats(
        name: str, request: Request, since: float | None = None, *, stream: bool = False
    ) -> Response:
        """Show what a group and all that is in it have used, as of a container, and the rates.

        With `since`, in Unix seconds: the rows kept in memory that are later. With `stream`:
        server-sent events, or JSON lines, until the group is removed.
        """
        path = engine.container_groups.path(engine.container_groups.find(name).name)
        if stream or wants_events(request.headers):
            key = f"group {name}"
            return await follow(engine, request, key, lambda: _figures_or_end(engine, name))
        if since is not None:
            return Json(engine.monitor.group_history(path, since))
        return Json(await asyncio.to_thread(_figures, engine, name))

    @router.get("/{name:path}/why")
    async def why_group_of_containers(
        name: str, window_s: Window = DEFAULT_WINDOW_S, since: Since = None
    ) -> dict[str, Any]:
        """Why what is in it is slow; see ``GET /v1/containers/{id}/why``."""
        path = engine.container_groups.path(engine.container_groups.find(name).name)
        return explanation_view(await engine.explanations.of_group(path, window_s, since))

    @router.get("/{name:path}", response_model=dict[str, Any])
    async def inspect_group(name: str, request: Request) -> Response:
        return tagged(request, await _detail(engine, name), **_used(engine, name))


def _add_changes(router: APIRouter, engine: Engine) -> None:
    def summary(name: str) -> dict[str, Any]:
        return _shown(engine, engine.container_groups.find(name))

    @router.post("", status_code=201)
    async def create_group(body: CreateGroupBody, request: Request) -> dict[str, Any]:
        """``PARENT/NAME`` is one in another, which is there already."""

        async def make() -> dict[str, Any]:
            made = await engine.grouping.create(
                body.name,
                body.limits.limits(),
                body.limits.conveniences(),
                max_containers=body.max_containers,
                labels=body.labels,
                budget=body.budget,
                reclaim=body.reclaim,
            )
            return _shown(engine, made)

        return await once(engine, request, "group", make, summary)

    @router.post("/{name:path}/update", response_model=dict[str, Any])
    async def update_group(
        name: str, body: UpdateGroupBody, request: Request, *, force: bool = False
    ) -> Response:
        """Change limits, how many containers there may be in it, or wishes."""
        check = await _condition(engine, request, name)
        await engine.grouping.update(name, body.change(), force=force, check=check)
        return tagged(request, await _detail(engine, name), **_used(engine, name))

    @router.delete("/{name:path}", status_code=204)
    async def remove_group(name: str, request: Request, *, force: bool = False) -> Response:
        """Remove a group; with `force` its containers and the groups in it go as well."""
        check = await _condition(engine, request, name)
        await engine.grouping.remove(name, force=force, check=check)
        return Response(status_code=204)
