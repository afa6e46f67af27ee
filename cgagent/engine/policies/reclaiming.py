"""Memory taken back from containers and groups that ask for it (``--reclaim auto``), step by step.

What is known of one is in memory alone: a new agent begins anew with small steps. Nothing
is held to anything, so a crash leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import CgagentError, UnsupportedError
from cgagent.metrics import Reclaimed, id_of_cgroup
from cgagent.policy.reclaim import (
    INTERVAL_S,
    LEAST_BYTES,
    LEAST_BYTES_V1,
    Figures,
    Reclaimer,
    threshold,
)

if TYPE_CHECKING:
    from cgagent.cgroups import Event, Host
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.groups.registry import Groups
    from cgagent.engine.observe.policies import Tick
    from cgagent.engine.policies.subjects import Subject, Subjects
    from cgagent.metrics import Sample

log = logging.getLogger(__name__)

_AT_ONCE: Final = 2
"""Where swap is slow a step takes seconds, and other work needs the threads, too."""


@dataclass(slots=True)
class _One:
    """A container or group that memory is taken back from."""

    text: str
    reclaimer: Reclaimer
    due_s: float = 0.0
    reason: str = ""
    reclaimed_bytes: int = 0
    is_busy: bool = False
    cannot: str = ""
    """Why nothing can be taken here; empty: it can."""


class Reclaiming:
    """A policy: it is told of each round of sampling."""

    def __init__(
        self, host: Host, containers: Containers, groups: Groups, subjects: Subjects
    ) -> None:
        place = host.placements.get("memory")
        self._is_v1 = place is not None and place.version == 1
        self._containers = containers
        self._groups = groups
        self._subjects = subjects
        self._all: dict[str, _One] = {}
        """By the ids of targets in the sampler."""
        self._work: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self.reclaimed_bytes = 0
        """Of all there ever were."""

    def happened(self, container: Container, event: Event) -> None:
        """The next round's figures tell enough."""

    def ticked(self, tick: Tick) -> None:
        now_s = time.monotonic()
        asked: dict[str, Subject] = {
            container.id: self._subjects.container(container)
            for container in self._containers
            if container.record.config.reclaim
        }
        for group in self._groups.all():
            if group.reclaim:
                target_id = id_of_cgroup(self._groups.path(group.name))
                asked[target_id] = self._subjects.group(group.name)
        for target_id, subject in asked.items():
            self._look(target_id, subject, tick, now_s)
        for other in self._all.keys() - asked.keys():
            del self._all[other]

    def _look(self, target_id: str, subject: Subject, tick: Tick, now_s: float) -> None:
        text = subject.reclaim
        one = self._all.get(target_id)
        if one is None or one.text != text:
            least_bytes = LEAST_BYTES_V1 if self._is_v1 else LEAST_BYTES
            one = _One(text, Reclaimer(threshold(text) or 0.0, least_bytes=least_bytes))
            self._all[target_id] = one
        if one.is_busy or now_s < one.due_s or not subject.works:
            return
        sample = tick.latest(target_id)
        figures = None if sample is None else _figures(sample, tick, is_v1=self._is_v1)
        if figures is None or sample is None:
            return
        one.due_s = now_s + INTERVAL_S
        step = one.reclaimer.step(sample.full_ns / 1e9, figures)
        one.reason = step.reason
        if step.amount_bytes and not one.cannot:
            one.is_busy = True
            work = self._take(subject, one, step.amount_bytes, may_swap=step.may_swap)
            task = asyncio.create_task(work)
            self._work.add(task)
            task.add_done_callback(self._work.discard)

    async def _take(
        self, subject: Subject, one: _One, amount_bytes: int, *, may_swap: bool
    ) -> None:
        try:
            group = subject.kernel()
            async with self._turns:
                freed = await asyncio.to_thread(group.reclaim, amount_bytes, may_swap=may_swap)
        except UnsupportedError as e:
            one.cannot = e.message
            log.warning("%s: no memory is taken back: %s", subject.target, e.message)
        except CgagentError as e:
            one.reason = e.message  # it has ended, say
        else:
            one.reclaimer.taken(freed)
            one.reclaimed_bytes += freed
            self.reclaimed_bytes += freed
        finally:
            one.is_busy = False

    async def close(self) -> None:
        if self._work:
            await asyncio.wait(self._work)

    def of(self, target_id: str) -> Reclaimed | None:
        """For metrics; from any thread. None: it has not asked for it."""
        one = self._all.get(target_id)
        return None if one is None else Reclaimed(one.reclaimed_bytes, one.reclaimer.part)

    def view(self, target_id: str) -> dict[str, Any] | None:
        """For people."""
        one = self._all.get(target_id)
        if one is None:
            return None
        return {
            "mode": one.text,
            "reclaimed_bytes": one.reclaimed_bytes,
            "step_ratio": one.reclaimer.part,
            "waited_percent": one.reclaimer.waited_percent,
            "backing_off": one.reclaimer.is_backing_off,
            "reason": one.cannot or one.reason,
        }


def _figures(sample: Sample, tick: Tick, *, is_v1: bool) -> Figures | None:
    memory, limits = sample.usage.memory, sample.limits
    if memory.current_bytes is None:
        return None
    psi = sample.usage.pressure.memory
    counts = [n for n in (memory.refault_anon, memory.refault_file) if n is not None]
    guards = (limits.memory_low_bytes, limits.memory_min_bytes)
    return Figures(
        current_bytes=memory.current_bytes,
        file_bytes=(memory.inactive_file_bytes or 0) + (memory.active_file_bytes or 0),
        waited_ns=psi.some.total_ns if psi else None,
        refaults=sum(counts) if counts else memory.pgmajfault,
        protected_bytes=max((g for g in guards if isinstance(g, int)), default=0),
        swap_free=_swap_free(sample, tick),
        files_alone=not is_v1 or not (tick.machine and tick.machine.swap_total_bytes),
    )


def _swap_free(sample: Sample, tick: Tick) -> float:
    """Of the host's swap, or of the container's own share of it where less of that is free."""
    machine, limit = tick.machine, sample.limits.memory_swap_max_bytes
    if machine is None or not machine.swap_total_bytes or limit == 0:
        return 0.0
    free = machine.swap_free_bytes / machine.swap_total_bytes
    if isinstance(limit, int):
        free = min(free, 1 - (sample.usage.memory.swap_bytes or 0) / limit)
    return free
