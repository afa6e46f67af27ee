"""Containers that hibernate by themselves, when they have been idle for so long as they say."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.engine.lifecycle.hibernation import IDLE
from cgagent.errors import CgagentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cgroups import Event
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.lifecycle.hibernation import Hibernation
    from cgagent.engine.observe.policies import Tick
    from cgagent.metrics import Sample

log = logging.getLogger(__name__)

_IDLE_CPU_PERCENT: Final = 1.0
"""Of a core: a program that looks twice a second whether there is something to do is idle."""
_NOISE_BYTES: Final = 500
"""Between two readings: neighbour discovery is no traffic, and a connection is more."""


@dataclass(slots=True)
class _Watched:
    idle_since_s: float
    full_ns: int = 0
    network_bytes: int = 0


class IdleSleep:
    """A policy: whoever asked for ``hibernate_after_s`` sleeps after that time without work.

    Work is CPU time, IO, and traffic; a session inside (`is_used`) keeps a container awake, since
    what is typed there would not wake it.
    """

    def __init__(
        self,
        containers: Containers,
        hibernation: Hibernation,
        is_used: Callable[[Container], bool],
    ) -> None:
        self._containers = containers
        self._hibernation = hibernation
        self._is_used = is_used
        self._watched: dict[str, _Watched] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def ticked(self, tick: Tick) -> None:
        now_s = time.monotonic()
        asked = {
            c.id: c
            for c in self._containers
            if c.record.config.hibernate_after_s is not None and c.running and not c.frozen
        }
        self._watched = {id_: seen for id_, seen in self._watched.items() if id_ in asked}
        for id_, container in asked.items():
            sample = tick.latest(id_)
            seen = self._watched.setdefault(id_, _Watched(now_s))
            if sample is None or self._is_used(container) or not _is_idle(seen, tick, sample):
                seen.idle_since_s = now_s
            elif now_s - seen.idle_since_s >= (container.record.config.hibernate_after_s or 0):
                seen.idle_since_s = now_s  # if it cannot sleep, it is tried again as late
                self._begin(container)

    def happened(self, container: Container, event: Event) -> None:
        """What is announced is work, which its figures show."""

    def _begin(self, container: Container) -> None:
        if container.id not in self._tasks:
            task = asyncio.create_task(self._hibernate(container))
            self._tasks[container.id] = task
            task.add_done_callback(lambda _: self._tasks.pop(container.id))

    async def _hibernate(self, container: Container) -> None:
        try:
            await self._hibernation.hibernate(container, IDLE)
        except CgagentError as e:
            log.info("container %s stays awake: %s", container.name, e.message)

    def close(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()


def _is_idle(seen: _Watched, tick: Tick, sample: Sample) -> bool:
    rates = tick.rates(sample.target.id)
    if rates is None:
        return False
    moved = 0
    if sample.full_ns != seen.full_ns:
        total = sum(i.receive_bytes + i.transmit_bytes for i in sample.network or ())
        moved = total - seen.network_bytes
        seen.full_ns, seen.network_bytes = sample.full_ns, total
    return (
        (rates.cpu_percent or 0) < _IDLE_CPU_PERCENT
        and not rates.read_bytes_per_s
        and not rates.write_bytes_per_s
        and abs(moved) <= _NOISE_BYTES
    )
