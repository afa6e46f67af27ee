"""All containers and watched groups at a glance, and what changes of them every two seconds.

Made once for all who follow, of what the sampler has, and only while somebody follows. A figure
has three digits: what is idle then changes nothing, and nothing of it is told.

    whole:    {"whole": true, "columns": [...], "facts": {ID: {...}}, "figures": {ID: [...]}, ...}
    changes:  {"whole": false, "facts": of new and changed ones, "figures": as well, "gone": [...]}
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cgagent.broadcast import BehindError, Broadcast
from cgagent.metrics import COLUMNS, row_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from cgagent.cgroups import Limits
    from cgagent.engine.containers.container import Container
    from cgagent.metrics import BudgetUse, HostSample, Sample, Sampler

log = logging.getLogger(__name__)

INTERVAL_S: Final = 2.0
_KEPT: Final = 8
_NOT_BUSY: Final = frozenset({"idle", "iowait", "guest", "guest_nice"})
"""Of a CPU's time; that of guests is in user and nice as well."""
_LIMITS: Final = ("memory_max_bytes", "memory_high_bytes", "pids_max")

Figures = list[float | None]


@dataclass(frozen=True, slots=True)
class Picture:
    """All of them at one moment, by id. Who does not run has no figures."""

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: dict[str, Figures] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)
    last_event: int = 0
    """Its number: who has seen it need not ask for events."""

    def whole(self) -> dict[str, Any]:
        return {
            "whole": True,
            "at_s": round(time.time(), 3),
            "columns": list(COLUMNS),
            "facts": self.facts,
            "figures": self.figures,
            "host": self.host,
            "last_event": self.last_event,
        }

    def since(self, before: Picture) -> dict[str, Any]:
        """What has changed, or is gone, since `before`."""
        stopped = before.figures.keys() - self.figures.keys()
        return {
            "whole": False,
            "at_s": round(time.time(), 3),
            "facts": _changed(before.facts, self.facts),
            "figures": {
                **_changed(before.figures, self.figures),
                **{id_: [] for id_ in stopped & self.facts.keys()},
            },
            "gone": sorted(before.facts.keys() - self.facts.keys()),
            "host": self.host,
            "last_event": self.last_event,
        }


def _changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {id_: value for id_, value in after.items() if before.get(id_) != value}


def rounded(value: float | None) -> float | None:
    """To three digits."""
    return value and float(f"{value:.3g}")


class Fleet:
    """`look` makes a picture; it is called in a thread. Belongs to one event loop."""

    def __init__(self, look: Callable[[], Picture], interval_s: float = INTERVAL_S) -> None:
        self.look = look
        self._interval_s = interval_s
        self._told: Broadcast[bytes] = Broadcast(_KEPT)
        self._picture: Picture | None = None
        self._task: asyncio.Task[None] | None = None

    async def follow(self, hang_up: Callable[[], None] = lambda: None) -> AsyncGenerator[bytes]:
        """The whole as JSON, then changes, until the client has missed some.

        `hang_up` is called then, even while the last piece is still being sent.
        """
        with self._told.listen(lambda _missed: hang_up()) as listener:
            if self._task is None or self._task.done():
                self._picture = None
                self._task = asyncio.create_task(self._run())
            try:
                if self._picture is not None:
                    yield _encoded(self._picture.whole())
                while True:
                    for piece in await listener.next():
                        yield piece
            except BehindError:
                return
            finally:
                if len(self._told) == 1:  # nobody but this one
                    self._task.cancel()
                    self._task = None

    async def _run(self) -> None:
        while True:
            try:
                before = self._picture
                self._picture, told = await asyncio.to_thread(self._next, before)
                self._told.tell(told)
            except Exception:
                log.exception("what the page shows of all containers cannot be had")
            await asyncio.sleep(self._interval_s)

    def _next(self, before: Picture | None) -> tuple[Picture, bytes]:
        now = self.look()
        return now, _encoded(now.whole() if before is None else now.since(before))


def _encoded(told: dict[str, Any]) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode()


def picture(
    containers: Iterable[Container],
    sampler: Sampler,
    budgets: Callable[[str], Iterable[BudgetUse]],
    last_event: int = 0,
) -> Picture:
    """Of what is known at this moment; nothing is read from the kernel."""
    facts, figures = {}, {}
    samples = {sample.target.id: sample for sample in sampler.live()}
    for container in containers:
        sample = samples.pop(container.id, None) if container.running else None
        facts[container.id] = {
            **_of_container(container, sample),
            **_held(container, budgets(container.id)),
        }
        if sample is not None:
            figures[container.id] = _figures(sampler, sample)
    for sample in samples.values():
        if not sample.target.is_above and sample.target.pid is None:
            facts[sample.target.id] = _of_group(sample)
            figures[sample.target.id] = _figures(sampler, sample)
    return Picture(facts, figures, _host(sampler.machine()), last_event)


def _figures(sampler: Sampler, sample: Sample) -> Figures:
    return [rounded(value) for value in row_of(sample, sampler.rates(sample.target.id))]


def _of_container(container: Container, sample: Sample | None) -> dict[str, Any]:
    record, outcome = container.record, container.record.outcome
    status: str = outcome.status
    if container.frozen:
        status = "hibernating" if container.sleeps else "frozen"
    asked = sample.target.asked if sample else None
    return {
        "kind": "container",
        "name": record.name,
        "image": record.config.image,
        "cgroup": record.cgroup_path,
        "status": status,
        "health": outcome.health.status if outcome.health else None,
        "exit_code": outcome.exit_code,
        "oom_killed": outcome.oom_killed,
        "restarts": record.restart.count,
        "created_ns": record.created_ns,
        "started_ns": outcome.started_ns,
        "held": _limits(sample.limits if sample else record.limits_in_force),
        "asked": _limits(record.limits),
        "drifts": len(asked.diff(sample.limits)) if asked and sample else 0,
    }


def _held(container: Container, budgets: Iterable[BudgetUse]) -> dict[str, Any]:
    """What the agent or somebody else does with its limits; of most containers that is nothing."""
    record = container.record
    sleep = record.outcome.sleep if container.sleeps else None
    found = {
        "overrides": {one.owner: one.reason for one in record.overrides},
        "budgets": {
            one.resource: {"used_ratio": round(one.used_ratio, 2), "acts": one.is_acted_on}
            for one in budgets
        },
        "sleep": sleep and {"since_ns": sleep.since_ns, "by": sleep.by},
    }
    return {name: value for name, value in found.items() if value}


def _of_group(sample: Sample) -> dict[str, Any]:
    return {
        "kind": "group",
        "name": sample.target.name,
        "image": "",
        "cgroup": sample.target.cgroup_path,
        "status": "frozen" if sample.usage.frozen else "running",
        "held": _limits(sample.limits),
    }


def _limits(limits: Limits) -> dict[str, Any]:
    """Numbers alone: no limit is left out."""
    found = {name: getattr(limits, name) for name in _LIMITS}
    quota, period = limits.cpu_quota_us, limits.cpu_period_us
    if isinstance(quota, int):
        found["cpus"] = round(quota / (period or 100_000), 3)
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def _host(machine: HostSample | None) -> dict[str, Any]:
    if machine is None:
        return {}
    busy_s = sum(s for kind, s in machine.cpu_seconds.items() if kind not in _NOT_BUSY)
    return {
        "at_s": round(machine.at_s, 3),
        "cpus": machine.cpu_cores,
        "busy_s": round(busy_s, 2),
        "load": machine.load[0],
        "memory_total_bytes": machine.memory_total_bytes,
        "memory_available_bytes": machine.memory_available_bytes,
        "agent_cpu_s": round(machine.agent_cpu_seconds, 2),
        "agent_resident_bytes": machine.agent_resident_bytes,
    }
