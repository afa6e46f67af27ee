"""What containers use, kept over their restarts: a policy that only watches.

Once a minute a sample that the sampler has taken anyway becomes part of each container's
histograms; every few minutes, and when the agent stops, these go to the database. An agent that is
killed loses the last minutes. A container that was removed and made again with the same name and
image goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import Oom
from cgagent.errors import CgagentError
from cgagent.policy.advice.advising import advice, command
from cgagent.policy.advice.use import ContainerUse
from cgagent.store.usage import UsageRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cgroups import Event, Limits
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.observe.policies import Tick
    from cgagent.metrics import Sample
    from cgagent.policy.advice.advising import Advice
    from cgagent.store.usage import UsageRows

log = logging.getLogger(__name__)

_EVERY_S: Final = 60.0
_SAVED_EVERY_S: Final = 300.0
_KEPT_NS: Final = 14 * 86400 * 10**9
_KEPT_MOST: Final = 2000

Key = tuple[str, str]
"""A container's name and image."""


@dataclass(slots=True)
class _Before:
    """What counted up to the last sample of a run."""

    started_at_s: float
    monotonic_ns: int
    cpu_ns: int | None
    read: dict[str, int]
    written: dict[str, int]


class Usages:
    """A policy; made by the engine, in whose event loop it lives."""

    def __init__(
        self, containers: Containers, rows: UsageRows, device_name: Callable[[str], str]
    ) -> None:
        """`device_name`: the path of a block device, of its "MAJOR:MINOR"."""
        self._device_name = device_name
        self._containers = containers
        self._rows = rows
        self._uses: dict[Key, ContainerUse] = {}
        """Of those that run, and of those that ended since all was saved."""
        self._before: dict[str, _Before] = {}
        self._due_s = 0.0
        self._save_due_s = time.monotonic() + _SAVED_EVERY_S
        self._saving: asyncio.Task[None] | None = None

    def ticked(self, tick: Tick) -> None:
        """All of them once a minute; one that has just begun to run at once."""
        now_s = time.monotonic()
        running = [c for c in self._containers if c.running]
        is_due = now_s >= self._due_s
        for container in running:
            if is_due or container.id not in self._before:
                sample = tick.latest(container.id)
                if sample is not None:
                    self._sampled(container, sample)
        if not is_due:
            return
        self._due_s = now_s + _EVERY_S
        for gone in self._before.keys() - {c.id for c in running}:
            del self._before[gone]
        if now_s >= self._save_due_s:
            self._save_due_s = now_s + _SAVED_EVERY_S
            self._saving = asyncio.create_task(self._save())

    def happened(self, container: Container, event: Event) -> None:
        """A limit of its own that led to a kill was too small, nobody knows by how much."""
        own = container.record.cgroup_path
        if isinstance(event, Oom) and event.limiting_group == own:
            use = self.of(container)
            use.ooms += event.victims
            if isinstance(event.limit_bytes, int):
                use.memory.oom(event.limit_bytes, time.time())

    def of(self, container: Container) -> ContainerUse:
        """What is known of it, of earlier runs as well."""
        key = (container.name, container.record.config.image)
        known = self._uses.get(key)
        if known is None:
            known = self._uses[key] = self._load(key)
        return known

    def advice(self, container: Container, held: Limits | None = None) -> list[Advice]:
        """Limits that make sense for it; none where nothing is known so far.

        `held` is what it has now, where that is not what its user has asked for.
        """
        use = self.of(container)
        device = None if use.device is None else self._device_name(use.device)
        return advice(use, held or container.record.limits, device)

    def command(self, container: Container) -> str:
        """One that takes all of the advice; empty where there is none."""
        return command(container.name, self.advice(container))

    def _load(self, key: Key) -> ContainerUse:
        row = self._rows.get(*key)
        if row is None:
            return ContainerUse()
        try:
            return ContainerUse.from_json(json.loads(row.document))
        except (KeyError, TypeError, ValueError) as e:  # another agent's form, or damaged
            log.warning("usage of %s is not read, and begun anew: %r", key[0], e)
            return ContainerUse()

    def _sampled(self, container: Container, sample: Sample) -> None:
        before = self._before.get(container.id)
        now = _before(sample)
        if before is not None and before.monotonic_ns == now.monotonic_ns:
            return
        self._before[container.id] = now
        if sample.usage.frozen:  # what it does not use in its sleep is no measure of its work
            return
        use, at_s, usage = self.of(container), sample.at_s, sample.usage
        if usage.memory.working_set_bytes is not None:
            use.memory.add(usage.memory.working_set_bytes, at_s)
        if usage.pids.current is not None:
            use.pids.add(usage.pids.peak or usage.pids.current, at_s)
        use.sampled(at_s)
        if before is None or before.started_at_s != now.started_at_s:
            return
        span_s = (now.monotonic_ns - before.monotonic_ns) / 1e9
        if None not in (before.cpu_ns, now.cpu_ns):
            use.cpus.add(max((now.cpu_ns or 0) - (before.cpu_ns or 0), 0) / 1e9 / span_s, at_s)
        use.reads.add(_grown(before.read, now.read) / span_s, at_s)
        use.writes.add(_grown(before.written, now.written) / span_s, at_s)
        done = {device: now.read[device] + now.written[device] for device in now.read}
        use.device = max(done, key=lambda device: done[device], default=use.device)

    async def _save(self) -> None:
        """What does not run any more is not kept here after that."""
        now_ns = time.time_ns()
        rows = [
            UsageRow(name=name, image=image, document=_dumped(use), updated_ns=now_ns)
            for (name, image), use in self._uses.items()
            if use.samples or use.ooms
        ]
        try:
            await asyncio.to_thread(self._rows.put, rows, now_ns - _KEPT_NS, _KEPT_MOST)
        except CgagentError as e:  # a full disk: tried again in a while
            log.warning("what containers use is not kept: %s", e.message)
            return
        running = {(c.name, c.record.config.image) for c in self._containers if c.running}
        self._uses = {key: use for key, use in self._uses.items() if key in running}

    async def close(self) -> None:
        """Save all; the engine stops."""
        if self._saving is not None:
            await self._saving
        await self._save()


def _dumped(use: ContainerUse) -> str:
    return json.dumps(use.to_json(), separators=(",", ":"))


def _before(sample: Sample) -> _Before:
    io = sample.usage.io or ()
    return _Before(
        started_at_s=sample.target.started_at_s,
        monotonic_ns=sample.monotonic_ns,
        cpu_ns=sample.usage.cpu.usage_ns,
        read={one.device: one.rbytes for one in io},
        written={one.device: one.wbytes for one in io},
    )


def _grown(before: dict[str, int], now: dict[str, int]) -> int:
    return sum(max(count - before.get(device, 0), 0) for device, count in now.items())
