"""``/v1/containers``: make, run, control, look."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from cgagent.api.answers import Json
from cgagent.api.attendance import while_there
from cgagent.api.bodies import CheckedRouter
from cgagent.api.native import files, streams
from cgagent.api.native.creation import CreateBody
from cgagent.api.native.etags import condition, tagged
from cgagent.api.native.groups import MoveBody
from cgagent.api.native.images import Filters
from cgagent.api.native.networks import (
    add_traffic,
    container_networks,
    network_names,
    published_ports,
)
from cgagent.api.native.numbers import FreezeSeconds, LeaseSeconds, StopSeconds
from cgagent.api.native.once import once
from cgagent.api.native.pages import Paged
from cgagent.api.native.schemas import (
    AdoptBody,
    OverrideBody,
    UpdateBody,
    container_detail,
    container_summary,
    preview_view,
)
from cgagent.api.native.why import DEFAULT_WINDOW_S, Since, Window, explanation_view
from cgagent.engine.containers.selection import Selection
from cgagent.engine.filters import PruneFilters
from cgagent.engine.sessions import processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.containers.container import Container
    from cgagent.engine.engine import Engine
    from cgagent.engine.observe.sizes import Size


_FEW: Final = 50
"""So many are described on the event loop."""


def routes(engine: Engine) -> APIRouter:
    router = CheckedRouter("/v1/containers", tag="containers")
    streams.add(router, engine)  # first: routes are tried one after the other, and these are urgent
    _add_lifecycle(router, engine)
    _add_running(router, engine)
    _add_prune(router, engine)
    _add_rename_and_wait(router, engine)
    _add_adoption(router, engine)
    _add_control(router, engine)
    _add_moving(router, engine)
    _add_overrides(router, engine)
    _add_looks(router, engine)
    add_traffic(router, engine)
    files.add(router, engine)
    return router


def _detail(engine: Engine, reference: str) -> dict[str, Any]:
    container = engine.containers.find(reference)
    log_path = str(engine.lifecycle.bundle(container.id).log)
    shown = container_detail(container, engine.control, log_path, engine.volumes.path)
    return {
        **shown,
        **_grouped(engine, container),
        **container_networks(engine, container.id),
    }


def _grouped(engine: Engine, container: Container) -> dict[str, str]:
    """The group that it is in, and the one that it is frozen with; empty: none."""
    groups = engine.container_groups
    frozen = groups.frozen_above(container.record.cgroup_path) if container.running else None
    return {"group": groups.name_of(container), "frozen_by": frozen.name if frozen else ""}


def _made(container: Container) -> dict[str, Any]:
    return {"id": container.id, "name": container.name}


def _unchanged(engine: Engine, request: Request, container: Container) -> Callable[[], None]:
    """Raises ChangedError where the request is for another state of it than there is."""
    return condition(
        request, f"container {container.name!r}", lambda: _detail(engine, container.id)
    )


def _used(engine: Engine, container: Container) -> dict[str, Any]:
    """The agent does this work by itself; it is no change of the container."""
    return {
        "budgets": engine.budgeting.view(container.id),
        "sizes": engine.autosizing.view(container.id),
    }


def _size(found: Size | None) -> dict[str, int | None]:
    if found is None:
        return {}
    return {"size_rw_bytes": found.written, "size_root_fs_bytes": found.whole}


def _add_lifecycle(router: APIRouter, engine: Engine) -> None:
    @router.get("")
    async def list_containers(
        *,
        all: bool = False,  # noqa: A002
        last: Annotated[int, Query(ge=0)] = 0,
        size: bool = False,
        filters: Filters = None,
        page: Paged,
    ) -> list[dict[str, Any]]:
        """List the containers that run or are about to; with `all`, every one. The newest is first.

        `last`: so many of the newest, in any state. `filter` is ``NAME=VALUE`` with docker's names.
        With `size` also what each has on disk, ``null`` where that cannot be found out in time.
        """
        chosen = engine.selected(Selection.parse(filters or (), every=all, last=last))
        shown = page.of(chosen, lambda c: [c.record.created_ns, c.id], descending=True)
        sizes = await engine.sizes.of(shown) if size else {}

        def summaries() -> list[dict[str, Any]]:
            return [
                {
                    **container_summary(c),
                    **_grouped(engine, c),
                    "networks": network_names(engine, c.record.config, c.id),
                    "published_ports": published_ports(engine, c.id),
                    **_size(sizes.get(c.id)),
                }
                for c in shown
            ]

        return await asyncio.to_thread(summaries) if len(shown) > _FEW else summaries()

    @router.post("", status_code=201)
    async def create_container(body: CreateBody, request: Request) -> dict[str, Any]:
        async def make() -> dict[str, Any]:
            return _made(await engine.lifecycle.create(body.request()))

        return await once(
            engine, request, "container", make, lambda made: _made(engine.containers.find(made))
        )

    @router.get("/{reference}", response_model=dict[str, Any])
    async def inspect_container(
        reference: str, request: Request, *, size: bool = False
    ) -> Response:
        container = engine.containers.find(reference)
        sizes = await engine.sizes.of([container]) if size else {}
        beside = {**_size(sizes.get(container.id)), **_used(engine, container)}
        return tagged(request, _detail(engine, container.id), **beside)

    @router.delete("/{reference}", status_code=204)
    async def remove_container(
        reference: str, request: Request, *, force: bool = False, volumes: bool = False
    ) -> Response:
        """With `volumes`, those of its own that have no name."""
        container = engine.containers.find(reference)
        _unchanged(engine, request, container)()
        await engine.lifecycle.remove(container, force=force, volumes=volumes)
        return Response(status_code=204)


def _add_running(router: APIRouter, engine: Engine) -> None:
    @router.post("/{reference}/start", status_code=204)
    async def start_container(reference: str) -> Response:
        await engine.lifecycle.start(engine.containers.find(reference))
        return Response(status_code=204)

    @router.post("/{reference}/stop", status_code=204)
    async def stop_container(
        reference: str,
        timeout_s: StopSeconds | None = None,
        signal: str | None = None,
    ) -> Response:
        """After `timeout_s` SIGKILL; -1: never."""
        await engine.lifecycle.stop(engine.containers.find(reference), timeout_s, signal)
        return Response(status_code=204)

    @router.post("/{reference}/restart", status_code=204)
    async def restart_container(
        reference: str,
        timeout_s: StopSeconds | None = None,
        signal: str | None = None,
    ) -> Response:
        await engine.lifecycle.restart(engine.containers.find(reference), timeout_s, signal)
        return Response(status_code=204)

    @router.post("/{reference}/kill", status_code=204)
    async def kill_container(reference: str, signal: str = "SIGKILL") -> Response:
        await engine.lifecycle.kill(engine.containers.find(reference), signal)
        return Response(status_code=204)


def _add_prune(router: APIRouter, engine: Engine) -> None:
    @router.post("/prune")
    async def prune_containers(filters: Filters = None) -> dict[str, Any]:
        """Remove those that do not run."""
        removed, freed = await engine.pruning.containers(PruneFilters.parse(filters or ()))
        return {"removed": removed, "freed_bytes": freed}


def _add_rename_and_wait(router: APIRouter, engine: Engine) -> None:
    @router.post("/{reference}/rename", status_code=204)
    async def rename_container(reference: str, name: str) -> Response:
        await engine.lifecycle.rename(engine.containers.find(reference), name)
        return Response(status_code=204)

    @router.post("/{reference}/wait")
    async def wait_container(
        reference: str,
        request: Request,
        condition: Literal["not-running", "next-exit", "removed"] = "not-running",
    ) -> dict[str, Any]:
        container = engine.containers.find(reference)
        ended = engine.lifecycle.wait(container, condition)
        return {"exit_code": await while_there(request, ended)}


def _add_adoption(router: APIRouter, engine: Engine) -> None:
    @router.post("/adopt", status_code=201)
    async def adopt_process(body: AdoptBody) -> dict[str, Any]:
        """Bring a process of the host and its descendants under limits."""
        container = await engine.adoption.adopt(
            body.pid, body.name, body.limits.limits(), body.limits.conveniences()
        )
        return {"id": container.id, "name": container.name}

    @router.post("/{reference}/release", status_code=204)
    async def release_container(reference: str) -> Response:
        """Put an adopted tree back where it was."""
        await engine.adoption.release(engine.containers.find(reference))
        return Response(status_code=204)


def _add_control(router: APIRouter, engine: Engine) -> None:
    @router.post("/{reference}/freeze", status_code=204)
    async def freeze_container(
        reference: str,
        timeout_s: FreezeSeconds = 10.0,
        lease_s: LeaseSeconds | None = None,
    ) -> Response:
        """With `lease_s`, the container is thawed by itself after so long."""
        await engine.control.freeze(engine.containers.find(reference), timeout_s, lease_s)
        return Response(status_code=204)

    @router.post("/{reference}/thaw", status_code=204)
    async def thaw_container(reference: str) -> Response:
        await engine.control.thaw(engine.containers.find(reference))
        return Response(status_code=204)

    @router.post("/{reference}/hibernate", response_model=dict[str, Any])
    async def hibernate_container(
        reference: str,
        lease_s: LeaseSeconds | None = None,
        *,
        reclaim: bool = True,
        force: bool = False,
    ) -> dict[str, Any]:
        """Freeze it and take its memory back; a packet, exec, attach, a thaw or its time wake it.

        One for whose programs something waits is left awake (409), but with `force`. The answer is
        its sleep, with its memory before and after, where that is known.
        """
        container = engine.containers.find(reference)
        sleep = await engine.hibernation.hibernate(
            container, lease_s=lease_s, reclaim=reclaim, force=force
        )
        return {"id": container.id, "name": container.name, **asdict(sleep)}

    @router.post("/{reference}/update", response_model=dict[str, Any])
    async def update_container(
        reference: str,
        body: UpdateBody,
        request: Request,
        *,
        force: bool = False,
        preview: bool = False,
    ) -> Response:
        """Change limits and the restart policy; the answer is what `GET` shows, limits as held now.

        A memory limit below what is used is reached in steps, or, with `force`, at once. With
        `preview` nothing is changed: the answer has the limits as they would be asked for
        (``limits``), and as the kernel would hold them (``limits_kept``).
        """
        container = engine.containers.find(reference)
        if preview:
            changed = engine.control.preview(container, body.limits(), body.conveniences())
            return Json(preview_view(changed))
        policy = None if body.restart is None else body.restart.policy()
        await engine.control.update(
            *(container, body.limits(), body.conveniences(), policy),
            wishes=body.wishes(),
            force=force,
            check=_unchanged(engine, request, container),
        )
        return tagged(request, _detail(engine, container.id), **_used(engine, container))


def _add_moving(router: APIRouter, engine: Engine) -> None:
    @router.post("/{reference}/group", response_model=dict[str, Any])
    async def move_container(reference: str, body: MoveBody, request: Request) -> Response:
        """Take it into a group, or out of any, also while it runs; the answer is what `GET` shows.

        Its counters go on; memory that it has stays charged to where it was until it is freed.
        """
        container = engine.containers.find(reference)
        await engine.moving.move(container, body.group)
        return tagged(request, _detail(engine, container.id))


def _add_overrides(router: APIRouter, engine: Engine) -> None:
    @router.put("/{reference}/overrides/{owner}", response_model=dict[str, Any])
    async def override_limits(
        reference: str, owner: str, body: OverrideBody, request: Request, *, force: bool = False
    ) -> Response:
        """Hold it to other limits than its user asked for, until `owner` lifts that.

        Several owners may have one each; the latest counts where two have the same limit.
        """
        container = engine.containers.find(reference)
        extra = body.limits.conveniences()
        await engine.control.override(
            *(container, body.override(owner), extra),
            force=force,
            check=_unchanged(engine, request, container),
        )
        return tagged(request, _detail(engine, container.id), **_used(engine, container))

    @router.delete("/{reference}/overrides/{owner}", status_code=204)
    async def lift_override(reference: str, owner: str) -> Response:
        """The user's limit is in force again, or none where the user asked for none."""
        await engine.control.lift(engine.containers.find(reference), owner)
        return Response(status_code=204)


def _add_looks(router: APIRouter, engine: Engine) -> None:
    @router.get("/{reference}/why")
    async def why_container(
        reference: str, window_s: Window = DEFAULT_WINDOW_S, since: Since = None
    ) -> dict[str, Any]:
        """Why it is slow: causes, the worst first, with the evidence and what would help.

        It is looked at for `window_s`, or, with `since` (Unix seconds), as far as the kept figures
        reach. `share` is of that time; of one that does not run the cause is why it does not.
        """
        container = engine.containers.find(reference)
        found = await engine.explanations.of_container(container, window_s, since)
        return explanation_view(found)

    @router.get("/{reference}/processes")
    async def container_processes(reference: str, ps_args: str = "") -> dict[str, Any]:
        """Process ids of the host, and a table of them; `ps_args` as ``top`` takes them."""
        container = engine.containers.find(reference)
        pids = await asyncio.to_thread(engine.control.process_ids, container)
        shown = await asyncio.to_thread(processes.table, pids, ps_args.split())
        return {"pids": pids, "titles": shown.titles, "processes": shown.rows}
