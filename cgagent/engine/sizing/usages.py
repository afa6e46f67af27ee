"""What containers and groups of them use, kept over restarts: a policy that only watches.

Once a minute a sample that the sampler has taken anyway becomes part of each one's histograms;
every few minutes, and when the agent stops, these go to the database. An agent that is killed
loses the last minutes. A container that was removed and made again with the same name and image
goes on where it was, and so does a group of the same name.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import Oom
from cgagent.engine.groups.group import Group
from cgagent.errors import CgagentError
from cgagent.metrics import id_of_cgroup
from cgagent.policy.advice.advising import advice, command
from cgagent.policy.advice.use import ContainerUse
from cgagent.store.usage import UsageRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cgroups import Event, Limits
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.groups.registry import Groups
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
"""A container's name and image; of a group a name that no container has, and nothing."""


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
        self,
        containers: Containers,
        groups: Groups,
        rows: UsageRows,
        device_name: Callable[[str], str],
    ) -> None:
        """`device_name`: the path of a block device, of its "MAJOR:MINOR"."""
        self._device_name = device_name
        self._containers = containers
        self._groups = groups
        self._rows = rows
        self._uses: dict[Key, ContainerUse] = {}
        """Of those that run, and of those that ended since all was saved."""
        self._before: dict[str, _Before] = {}
        """By the ids of targets in the sampler."""
        self._due_s = 0.0
        self._save_due_s = time.monotonic() + _SAVED_EVERY_S
        self._saving: asyncio.Task[None] | None = None

    def ticked(self, tick: Tick) -> None:
        """All of them once a minute; one that has just begun to run at once."""
        now_s = time.monotonic()
        running: dict[str, Container | Group] = {c.id: c for c in self._containers if c.running}
        running |= {id_of_cgroup(self._groups.path(g.name)): g for g in self._groups.all()}
        is_due = now_s >= self._due_s
        for target_id, one in running.items():
            if is_due or target_id not in self._before:
                sample = tick.latest(target_id)
                if sample is not None:
                    self._sampled(one, sample)
        if not is_due:
            return
        self._due_s = now_s + _EVERY_S
        for gone in self._before.keys() - running.keys():
            del self._before[gone]
        if now_s >= self._save_due_s:
            self._save_due_s = now_s + _SAVED_EVERY_S
            self._saving = asyncio.create_task(self._save())

    def happened(self, container: Container, event: Event) -> None:
        """A limit that led to a kill was too small, nobody knows by how much."""
        if not isinstance(event, Oom):
            return
        own = event.limiting_group == container.record.cgroup_path
        limited = container if own else self._groups.at(event.limiting_group or "")
        if limited is not None:
            use = self.of(limited)
            use.ooms += event.victims
            if isinstance(event.limit_bytes, int):
                use.memory.oom(event.limit_bytes, time.time())

    def of(self, one: Container | Group) -> ContainerUse:
        """What is known of it, of earlier runs as well."""
        key = _key(one)
        known = self._uses.get(key)
        if known is None:
            known = self._uses[key] = self._load(key)
        return known

    def advice(self, one: Container | Group, held: Limits | None = None) -> list[Advice]:
        """Limits that make sense for it; none where nothing is known so far.

        `held` is what it has now, where that is not what its user has asked for.
        """
        use, asked = self.of(one), one.limits if isinstance(one, Group) else one.record.limits
        device = None if use.device is None else self._device_name(use.device)
        return advice(use, held or asked, device)

    def command(self, one: Container | Group) -> str:
        """One that takes all of the advice; empty where there is none."""
        update = ("group", "update") if isinstance(one, Group) else ("update",)
        return command(update, one.name, self.advice(one))

    def _load(self, key: Key) -> ContainerUse:
        row = self._rows.get(*key)
        if row is None:
            return ContainerUse()
        try:
            return ContainerUse.from_json(json.loads(row.document))
        except (KeyError, TypeError, ValueError) as e:  # another agent's form, or damaged
            log.warning("usage of %s is not read, and begun anew: %r", key[0], e)
            return ContainerUse()

    def _sampled(self, one: Container | Group, sample: Sample) -> None:
        target_id = sample.target.id
        if isinstance(one, Group) and not sample.usage.pids.current:
            self._before.pop(target_id, None)  # nothing runs in it, which is no measure either
            return
        before = self._before.get(target_id)
        now = _before(sample)
        if before is not None and before.monotonic_ns == now.monotonic_ns:
            return
        self._before[target_id] = now
        if sample.usage.frozen:  # what it does not use in its sleep is no measure of its work
            return
        use, at_s, usage = self.of(one), sample.at_s, sample.usage
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
        running = {_key(c) for c in self._containers if c.running}
        running |= {_key(group) for group in self._groups.all()}
        self._uses = {key: use for key, use in self._uses.items() if key in running}

    async def close(self) -> None:
        """Save all; the engine stops."""
        if self._saving is not None:
            await self._saving
        await self._save()


def _key(one: Container | Group) -> Key:
    if isinstance(one, Group):
        return f"group:{one.name}", ""
    return one.name, one.record.config.image


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
