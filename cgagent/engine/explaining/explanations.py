"""Why something is slow, a container or a group: now, or over a time that has passed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cgagent.engine.events import EventQuery
from cgagent.engine.explaining import now, past
from cgagent.engine.explaining.holders import with_holders
from cgagent.engine.explaining.kinship import Kinship
from cgagent.errors import NotFoundError
from cgagent.metrics import id_of_cgroup
from cgagent.policy.causes import (
    Ended,
    Figures,
    Group,
    OomReport,
    Situation,
    averaged,
    causes,
    cores_of,
    ended,
    largest,
    memory_of,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgagent.cgroups import Host, Limits
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.events import Events
    from cgagent.engine.groups.registry import Groups
    from cgagent.engine.observe.monitor import Monitor
    from cgagent.engine.options.overrides import Overridden
    from cgagent.policy.causes import Cause, Neighbour

_LATELY_S: Final = 300.0
_RECENT_S: Final = 60.0
"""An OOM kill that is no longer ago is told of though nothing is killed any more."""
_LISTED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    path: str
    container: str | None
    status: str
    """A container's; of a group "there"."""
    since_s: float | None
    """Unix seconds from which the kept figures are; None: they are of a window just now."""
    span_s: float
    lost: dict[str, float | None]
    """Shares of the time in which some task waited for cpu, memory and io."""
    verdict: str
    causes: tuple[Cause, ...]
    neighbours: tuple[Neighbour, ...]
    """The few that take the most CPU, memory and IO, each once."""


class Explanations:
    """Made by the engine; keeps nothing."""

    def __init__(
        self,
        host: Host,
        containers: Containers,
        monitor: Monitor,
        events: Events,
        *,
        parent: str,
        groups: Groups,
    ) -> None:
        self._host = host
        self._groups = groups
        self._kin = host, containers
        self._containers = containers
        self._monitor = monitor
        self._events = events
        self._parent = parent

    async def of_container(
        self, container: Container, window_s: float, since_s: float | None
    ) -> Explanation:
        """Of one that does not run: why it does not.

        Raises:
            ConflictError: nothing is kept of the time that is asked for.
        """
        if not container.running and since_s is None:
            return self._of_ended(container)
        path = container.record.cgroup_path
        kinship = Kinship.of(*self._kin, self._parent, self._groups.paths())
        if since_s is None:
            try:
                found = await now.situation(kinship, path, window_s, self._cores_lately)
            except NotFoundError:
                if container.running:
                    raise
                return self._of_ended(container)
        else:
            limits = None if container.running else container.record.limits_in_force
            found = await self._past(kinship, path, since_s, limits)
            found = past.with_events(found, self._counts(container, since_s))
        oldest_s = time.time() - _RECENT_S if since_s is None else since_s
        found = replace(found, oom=_oom_report(container, oldest_s))
        status = "frozen" if container.frozen else container.record.outcome.status
        made = _explanation(found, container.name, status, since_s)
        return self._with_holders(made)

    def _with_holders(self, made: Explanation) -> Explanation:
        records: dict[str, Overridden] = {c.record.cgroup_path: c.record for c in self._containers}
        records |= {self._groups.path(group.name): group for group in self._groups.all()}
        return replace(made, causes=with_holders(made.causes, records))

    async def of_group(self, path: str, window_s: float, since_s: float | None) -> Explanation:
        """Of any group of the host.

        Raises:
            NotFoundError: there is none.
            ConflictError: nothing is kept of the time that is asked for.
        """
        if not self._host.group(path).exists():
            raise NotFoundError(f"cgroup {path} does not exist; see cgagent cgroup tree")
        kinship = Kinship.of(*self._kin, self._parent, self._groups.paths())
        if since_s is None:
            found = await now.situation(kinship, path, window_s, self._cores_lately)
        else:
            found = await self._past(kinship, path, since_s)
        made = _explanation(found, kinship.names.get(path), "there", since_s)
        return self._with_holders(made)

    async def _past(
        self, kinship: Kinship, path: str, since_s: float, limits: Limits | None = None
    ) -> Situation:
        host = self._monitor.machine()
        return await asyncio.to_thread(
            past.situation, kinship, path, since_s, self._kept, host=host, limits=limits
        )

    def _kept(self, path: str, since_s: float) -> dict[str, list[float | None]]:
        """What the sampler keeps of a group, a container's or another."""
        return self._monitor.columns(self._target(path), since_s)

    def _target(self, path: str) -> str:
        ids = (c.id for c in self._containers if c.record.cgroup_path == path)
        return next(ids, id_of_cgroup(path))

    def _cores_lately(self, path: str) -> float | None:
        since_s = time.time() - _LATELY_S
        kept = self._monitor.columns(self._target(path), since_s, ("cpu_cores",))
        return averaged(kept).cpu_cores

    def _counts(self, container: Container, since_s: float) -> dict[str, int]:
        """How often each event was told of it since then."""
        asked = EventQuery(
            since_ns=int(since_s * 1e9),
            filters={
                "container": (container.id,),
                "event": ("oom", "memory-high", "memory-max", "pids-refused"),
            },
        )
        counts: dict[str, int] = {}
        for event in self._events.past(asked):
            number = event.attributes.get("victims", event.attributes.get("count", "1"))
            counts[event.action] = counts.get(event.action, 0) + int(number)
        return counts

    @staticmethod
    def _of_ended(container: Container) -> Explanation:
        record = container.record
        outcome = record.outcome
        group = Group(
            path=record.cgroup_path,
            container=record.name,
            limits=record.limits_in_force,
            figures=Figures(),
        )
        finished_s = None if outcome.finished_ns is None else outcome.finished_ns / 1e9
        how = Ended(
            status=outcome.status,
            exit_code=outcome.exit_code,
            error=outcome.error,
            age_s=None if finished_s is None else max(time.time() - finished_s, 0.0),
        )
        cause = ended(group, how, _oom_report(container, 0.0) if outcome.oom_killed else None)
        return Explanation(
            path=record.cgroup_path,
            container=record.name,
            status=outcome.status,
            since_s=None,
            span_s=0.0,
            lost=dict.fromkeys(("cpu", "memory", "io")),
            verdict=cause.says,
            causes=(cause,),
            neighbours=(),
        )


def _oom_report(container: Container, oldest_s: float) -> OomReport | None:
    """The last one, if it is no older."""
    seen = container.record.outcome.oom
    if seen is None or seen.get("at_ns", 0) / 1e9 < oldest_s:
        return None
    return OomReport(
        limiting_group=seen.get("limiting_group"),
        victims=seen.get("victims", 1),
        limit_bytes=seen.get("limit_bytes"),
        age_s=max(time.time() - seen.get("at_ns", 0) / 1e9, 0.0),
    )


def _explanation(
    found: Situation, container: str | None, status: str, since_s: float | None
) -> Explanation:
    ranked = causes(found)
    figures = found.own.figures
    return Explanation(
        path=found.own.path,
        container=container,
        status=status,
        since_s=None if since_s is None else time.time() - found.span_s,
        span_s=found.span_s,
        lost={
            "cpu": figures.run_delay if figures.cpu_some is None else figures.cpu_some,
            "memory": figures.memory_some,
            "io": figures.io_some,
        },
        verdict=verdict(ranked),
        causes=tuple(ranked),
        neighbours=_largest(found.neighbours),
    )


def _largest(neighbours: Sequence[Neighbour]) -> tuple[Neighbour, ...]:
    chosen = {}
    for measure in (cores_of, memory_of, _io):
        chosen.update({n.group.path: n for n in largest(neighbours, measure, _LISTED)})
    return tuple(chosen.values())


def _io(neighbour: Neighbour) -> float:
    return sum(use.bytes for use in neighbour.group.figures.io.values())
