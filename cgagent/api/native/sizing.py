"""``/v1/capacity``: what there is, what is promised, and whether one more fits."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query

from cgagent.api.bodies import CheckedRouter
from cgagent.api.native.numbers import SomeBytes, SomeCpus
from cgagent.engine.groups.group import Group
from cgagent.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from cgagent.engine.containers.container import Container
    from cgagent.engine.engine import Engine


def routes(engine: Engine) -> APIRouter:
    router = CheckedRouter(tag="sizing")

    @router.get("/v1/capacity")
    async def capacity(
        memory_bytes: SomeBytes | None = None,
        cpus: SomeCpus | None = None,
        parent: str | None = None,
        group: str | None = None,
    ) -> dict[str, Any]:
        """Of the host and of each group above containers: promised, held and used, by resource.

        With `memory_bytes` or `cpus` also whether a container with these limits fits below the
        cgroup `parent`, or into the `group` of containers, by what is promised and by what is used.
        """
        asked = {"memory": memory_bytes, "cpus": cpus}
        wanted = {name: float(value) for name, value in asked.items() if value is not None}
        if group is not None:
            if parent:
                raise ConflictError("a group and a cgroup parent exclude each other; give one")
            parent = engine.container_groups.path(engine.container_groups.find(group).name)
        view = await engine.capacity.view(wanted, parent)  # type: ignore[arg-type]
        return {
            "scopes": [asdict(scope) for scope in view.scopes],
            "fits": all(finding.fits for finding in view.findings) if wanted else None,
            "findings": [asdict(finding) for finding in view.findings],
        }

    @router.get("/v1/advice")
    async def advise(
        name: Annotated[list[str] | None, Query()] = None,
        *,
        groups: bool = False,
    ) -> list[dict[str, Any]]:
        """Limits that what each container has used makes advisable, and why; of all by default.

        With `groups` of groups of containers; without, a name that no container has may be a
        group's. `flags` are those of ``update``. Of one of which nothing is known so far `advice`
        is empty.
        """
        if name is not None:
            chosen = [_named(engine, one, groups=groups) for one in name]
        else:
            chosen = [*(engine.container_groups.all() if groups else engine.containers)]
        return [_advised(engine, one) for one in chosen]

    return router


def _named(engine: Engine, name: str, *, groups: bool) -> Container | Group:
    group = engine.container_groups.get(name)
    if groups:
        return group or engine.container_groups.find(name)
    try:
        return engine.containers.find(name)
    except NotFoundError:
        if group is None:
            raise
        return group


def _advised(engine: Engine, one: Container | Group) -> dict[str, Any]:
    use, found = engine.usages.of(one), engine.usages.advice(one)
    return {
        **_name(one),
        "since_s": use.first_s or None,
        "samples": use.samples,
        "oom_kills": use.ooms,
        "advice": [asdict(one) for one in found],
        "command": engine.usages.command(one),
    }


def _name(one: Container | Group) -> dict[str, str]:
    """The fields that name a container or a group; `group` is empty for a container in one, too."""
    if isinstance(one, Group):
        return {"id": "", "container": "", "image": "", "group": one.name}
    image = one.record.config.image
    return {"id": one.id, "container": one.name, "image": image, "group": ""}
