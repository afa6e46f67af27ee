"""What the host and the groups above containers have, promise, hold and use."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.errors import CgagentError
from cgagent.metrics import id_of_cgroup
from cgagent.policy.advice.capacity import (
    Claim,
    Finding,
    Scope,
    Used,
    fits,
    one_more,
    percentiles,
    room,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cgagent.cgroups import Host, Limits
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.groups.registry import Groups
    from cgagent.engine.observe.monitor import Monitor
    from cgagent.policy.advice.capacity import Resource, Room

_COLUMNS: Final[dict[Resource, str]] = {"memory": "working_set_bytes", "cpus": "cpu_cores"}


@dataclass(frozen=True, slots=True)
class View:
    scopes: tuple[Scope, ...]
    """The host, then the groups above containers, the uppermost first."""
    findings: tuple[Finding, ...]
    """Whether what was asked about fits; none where nothing was."""


class Capacity:
    """Made by the engine; reads when it is asked, and keeps nothing."""

    def __init__(
        self, host: Host, containers: Containers, monitor: Monitor, parent: str, groups: Groups
    ) -> None:
        self._host = host
        self._groups = groups
        self._containers = containers
        self._monitor = monitor
        self._parent = parent

    async def view(self, wanted: dict[Resource, float], parent: str | None = None) -> View:
        """`parent`: the group below which one more would be; None: the agent's own.

        Raises:
            InvalidInputError: no path of a group.
        """
        path = self._host.group(parent or self._parent).path
        running = [c for c in self._containers if c.running]
        scopes = await asyncio.to_thread(self._scopes, running)
        above = [s for s in scopes if s.path == "/" or f"{path}/".startswith(f"{s.path}/")]
        quotas = self._quotas(path) if wanted else ()
        return View(scopes, (*fits(above, wanted), *quotas))

    def _quotas(self, path: str) -> list[Finding]:
        """Of the groups that a container below this path would be in."""
        return [
            one_more(
                self._groups.path(group.name),
                len(self._groups.members(group.name)),
                group.max_containers,
            )
            for group in self._groups.above(f"{path}/new")
            if group.max_containers is not None
        ]

    def _scopes(self, running: Sequence[Container]) -> tuple[Scope, ...]:
        claims = {c.record.cgroup_path: self._claims(c) for c in running}
        named = self._groups.paths()
        above = {self._parent.rstrip("/"), *named, *(_above(path) for path in claims)}
        for path in above.copy():
            while path := _above(path):
                above.add(path)
        return tuple(self._scope(path or "/", claims) for path in sorted({"", *above}))

    def _scope(self, path: str, claims: dict[str, dict[Resource, Claim]]) -> Scope:
        top = path.rstrip("/")
        inside = [own for below, own in claims.items() if below.startswith(f"{top}/")]
        totals = self._machine() if path == "/" else self._limits(path)
        kept = self._monitor.columns(id_of_cgroup(path), 0.0, _COLUMNS.values())

        def of(resource: Resource) -> Room:
            used = _used(kept, resource)
            return room(resource, totals[resource], used, [own[resource] for own in inside])

        return Scope(path=path, rooms=(of("memory"), of("cpus")))

    def _machine(self) -> dict[Resource, float | None]:
        machine = self._monitor.machine()
        if machine is None:
            return {"memory": None, "cpus": None}
        return {"memory": machine.memory_total_bytes, "cpus": machine.cpu_cores}

    def _limits(self, path: str) -> dict[Resource, float | None]:
        try:
            return _of_limits(self._host.group(path).held())
        except CgagentError:  # nothing runs in it, so it is not there
            return {"memory": None, "cpus": None}

    def _claims(self, container: Container) -> dict[Resource, Claim]:
        record = container.record
        asked, held = _of_limits(record.limits_in_force), self._limits(record.cgroup_path)
        kept = self._monitor.columns(record.id, 0.0, _COLUMNS.values())

        def of(resource: Resource) -> Claim:
            used = _used(kept, resource)
            return Claim(asked=asked[resource], held=held[resource], used=used)

        return {"memory": of("memory"), "cpus": of("cpus")}


def _above(path: str) -> str:
    return path.rpartition("/")[0]


def _of_limits(limits: Limits) -> dict[Resource, float | None]:
    memory, quota = limits.memory_max_bytes, limits.cpu_quota_us
    period = limits.cpu_period_us or 100_000
    return {
        "memory": memory if isinstance(memory, int) else None,
        "cpus": quota / period if isinstance(quota, int) else None,
    }


def _used(kept: Mapping[str, Sequence[float | None]], resource: Resource) -> Used:
    times = (at_s or 0.0 for at_s in kept["at_s"])
    rows = list(zip(times, kept[_COLUMNS[resource]], strict=True))
    return percentiles(rows, time.time())
