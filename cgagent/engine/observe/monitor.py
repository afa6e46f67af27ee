"""The engine's side of metrics: what is sampled, and what is shown of the samples."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from cgagent.cgroups import Descriptors
from cgagent.engine.observe.feeds import Feeds
from cgagent.engine.observe.fleet import Fleet, picture
from cgagent.engine.observe.policies import Tick
from cgagent.engine.observe.watched import GroupsAbove, WatchedGroups, target_of
from cgagent.engine.options import restart as restart_policy
from cgagent.errors import ConflictError, NotFoundError
from cgagent.metrics import (
    COLUMNS,
    ChosenLabels,
    GroupStanding,
    Metrics,
    PolicyCounts,
    Sample,
    Sampler,
    Sizes,
    Standing,
    Target,
    ToCount,
    Walker,
    docker_stats,
    host,
    id_of_cgroup,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cgagent.cgroups import Host, Usage
    from cgagent.config import Settings
    from cgagent.engine.containers.container import Container, Record, Sleep
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.events import Events
    from cgagent.engine.groups.registry import Groups
    from cgagent.engine.jobs import Job
    from cgagent.engine.observe.network import NetworkFigures
    from cgagent.engine.observe.policies import Policies
    from cgagent.metrics import Asked, BudgetUse, HostSample, Reclaimed, Rendering


_FRESH_S: Final = 1.0


class Monitor:
    """Owns the sampler and the metrics; made and ended by the engine."""

    def __init__(
        self,
        host: Host,
        settings: Settings,
        containers: Containers,
        events: Events,
        policies: Policies,
        *,
        log_path: Callable[[str], str],
        volumes: Callable[[], Mapping[str, str]],
        network: NetworkFigures,
        groups: Groups,
    ) -> None:
        self._containers = containers
        self._groups = groups
        self.feeds = Feeds(settings.sample_interval_s)
        self.fleet = Fleet(lambda: picture(containers, self._sampler, self.budgets, events.last))
        self._watched = WatchedGroups(
            host,
            settings.watch,
            settings.cgroup_parent,
            settings.sample_full_interval_s,
            lambda: [c.record.cgroup_path for c in containers],
        )
        self._network = network
        self._above = GroupsAbove(settings.cgroup_parent)
        self._sampler = Sampler(
            host,
            settings.sample_interval_s,
            self._sampled,
            full_interval_s=settings.sample_full_interval_s,
            descriptors=Descriptors.bounded(settings.sample_descriptors),
            tick_ended=self._ended,
            view=network,
        )
        self._policies = policies
        self._walker = Walker(self._all_to_count)
        self._labels = ChosenLabels(settings.metric_labels)
        self._host = host
        self.clients_cut_off = 0
        self.policy_counts: Callable[[], PolicyCounts] = PolicyCounts
        self.reclaimed: Callable[[str], Reclaimed | None] = lambda _id: None
        self.reclaim_view: Callable[[str], dict[str, Any] | None] = lambda _id: None
        self.budgets: Callable[[str], tuple[BudgetUse, ...]] = lambda _id: ()
        self.budgets_view: Callable[[str], list[dict[str, Any]]] = lambda _id: []
        self.last_sampled: Callable[[Sample], None] = lambda _sample: None
        """Told of each sample beside the rounds, in any thread."""
        self._sizes = Sizes(lambda: {c.id: log_path(c.id) for c in containers}, volumes)
        self._metrics = Metrics(
            self._sampler,
            self._standings,
            events_dropped=lambda: events.dropped,
            clients_cut_off=lambda: self.clients_cut_off + events.cut_off,
            volume_bytes=self._sizes.volume_bytes,
            network_drops=network.drops,
            policies=lambda: self.policy_counts(),  # noqa: PLW0108 - they come later
            groups=self._group_standings,
        )
        self._targets: dict[str, tuple[Record, Target]] = {}

    def _ended(self) -> None:
        """After a round of the sampler, in its thread."""
        self._network.refresh()
        sampler = self._sampler
        self._policies.tick_ended(
            Tick(
                *(sampler.latest, sampler.rates, sampler.frozen(), sampler.fresh()),
                sampler.machine(),
            )
        )

    def watch_too(self, patterns: Iterable[str]) -> None:
        """Sample these groups of the host beside those of the setting `watch`."""
        self._watched.watch_too(patterns)

    def start(self) -> None:
        self._sampler.start()
        self._walker.start()
        self._sizes.start()

    def stop(self) -> None:
        self._sizes.stop()
        self._walker.stop()
        self._sampler.stop()

    def _sampled(self) -> Iterable[Target]:
        """Called in the sampler's thread."""
        targets = [self._target(c) for c in self._containers if c.running]
        groups, gone = self._watched.targets()
        targets += groups
        above, above_gone = self._above.targets(targets, self._groups.paths())
        for target in (*gone, *above_gone):
            self._sampler.forget(target.id)
        return [*targets, *above]

    def _target(self, container: Container) -> Target:
        """The same object as long as the container's record is the same."""
        record = container.record
        known = self._targets.get(record.id)
        if known is None or known[0] is not record:
            known = self._targets[record.id] = record, self._new_target(record)
        return known[1]

    def _new_target(self, record: Record) -> Target:
        return Target(
            id=record.id,
            name=record.name,
            image=record.config.image,
            cgroup_path=record.cgroup_path,
            started_at_s=(record.outcome.started_ns or 0) / 1e9,
            asked=record.limits_in_force,
            pid=record.outcome.pid,
            labels=self._labels.of(record.resolved.labels),
            carried=record.outcome.earlier.counters if record.outcome.earlier else None,
        )

    def _standings(self) -> Iterable[Standing]:
        """Called by a rendering, in a thread: frozen is what the last sample says."""
        return [self._standing(c) for c in self._containers]

    def _standing(self, container: Container) -> Standing:
        outcome = container.record.outcome
        state: str = outcome.status
        sample = self._sampler.latest(container.id) if state == "running" else None
        return Standing(
            target=self._target(container),
            state="frozen" if sample and sample.usage.frozen else state,
            exit_code=outcome.exit_code,
            oom_killed=outcome.oom_killed,
            limiting_group=(outcome.oom or {}).get("limiting_group"),
            log_dropped_bytes=outcome.log_dropped_bytes,
            log_bytes=self._sizes.log_bytes(container.id),
            limits_changed_at_s=_seconds(container.record.limits_changed_ns),
            counted=self._walker.get(container.id),
            disk=self._walker.disk(container.id),
            created_at_s=_seconds(container.record.created_ns),
            started_at_s=_seconds(outcome.started_ns),
            ended_at_s=None if container.running else _seconds(outcome.finished_ns),
            restarts=_restarts(container),
            health=outcome.health.status if outcome.health else None,
            sleep=_memory_of(container.record.outcome.sleep) if container.sleeps else None,
            ports=self._network.ports(container.id),
            reclaimed=self.reclaimed(container.id),
            budgets=self.budgets(container.id),
        )

    def _group_standings(self) -> Iterable[GroupStanding]:
        """Called by a rendering, in a thread."""
        return [
            GroupStanding(
                name=group.name,
                containers=len(members),
                running=sum(c.running for c in members),
                max_containers=group.max_containers,
                frozen=group.frozen_since_ns is not None,
                sample=self._sampler.latest(id_),
                budgets=self.budgets(id_),
                reclaimed=self.reclaimed(id_),
            )
            for group in self._groups.all()
            for members in [self._groups.members(group.name)]
            for id_ in [id_of_cgroup(self._groups.path(group.name))]
        ]

    def _all_to_count(self) -> Iterable[ToCount]:
        """Called in the walker's thread."""
        return [self._to_count(c.record) for c in self._containers if c.running]

    def _to_count(self, record: Record) -> ToCount:
        group, sample = self._host.group(record.cgroup_path), self._sampler.latest(record.id)
        return ToCount(
            record.id,
            record.rootfs.upper if record.rootfs else None,
            group.pids,
            cpu_ns=sample.usage.cpu.usage_ns if sample else None,
            first=record.outcome.pid,
        )

    def observe_job(self, job: Job) -> None:
        steps = {step.name: step.duration_s or 0.0 for step in job.steps}
        self._metrics.observe_job(job.name, job.status, job.duration_s or 0.0, steps)

    def refresh(self, container: Container) -> None:
        """After a change of limits or of the freezer: do not show the old until the next tick."""
        self._sampler.limits_changed(container.id)
        self.last_sample(container)

    def last_sample(self, container: Container) -> None:
        """Sample a container at once: before its cgroup is removed, say."""
        with contextlib.suppress(NotFoundError):  # it has ended
            self.last_sampled(self._sampler.sample_now(self._target(container)))

    def used(self, container: Container) -> Usage | None:
        """Of its last sample, also when it has ended; None: there was none."""
        return self.used_by(container.id)

    def used_by(self, target_id: str) -> Usage | None:
        """The same of any target."""
        sample = self._sampler.latest(target_id)
        return None if sample is None else sample.usage

    def forget(self, container_id: str) -> None:
        self._sampler.forget(container_id)
        self._targets.pop(container_id, None)

    async def render(self, asked: Asked) -> Rendering:
        """The exposition; made in a thread."""
        return await asyncio.to_thread(self._metrics.render, asked)

    def stats(self, container: Container) -> dict[str, Any]:
        """The last sample in full, its rates, and the figures a table shows.

        Raises:
            ConflictError: the container does not run.
        """
        return self._view(self._latest(container))

    def docker_stats(self, container: Container) -> dict[str, Any]:
        """The last sample as Docker has it.

        Raises:
            ConflictError: the container does not run.
        """
        sample = self._latest(container)
        machine = self._sampler.machine() or host.sample()
        return docker_stats(sample, self._sampler.before(container.id), machine)

    def _latest(self, container: Container) -> Sample:
        if not container.running:
            raise ConflictError(
                f"container {container.name} is not running: only running ones have figures"
            )
        target = self._target(container)
        sample = self._sampler.latest(container.id)
        if sample is None or sample.target != target:
            sample = self._sampler.sample_now(target)
        return sample

    def group_stats(self, path: str) -> dict[str, Any]:
        """As `stats`, of a group of containers by the path of its cgroup; from any thread.

        Raises:
            NotFoundError: its cgroup is not there.
        """
        target = target_of(path)
        sample = self._sampler.latest(target.id)
        if sample is None or time.time() - sample.at_s > _FRESH_S:  # what is above is read slowly
            sample = self._sampler.sample_now(target)
        return self._view(sample)

    def refresh_group(self, path: str) -> None:
        """After a change of a group's limits: do not show the old ones."""
        target = target_of(path)
        self._sampler.limits_changed(target.id)
        with contextlib.suppress(NotFoundError):
            self.last_sampled(self._sampler.sample_now(target))

    def all_stats(self) -> list[dict[str, Any]]:
        """As `stats`, of every running container and watched group, as last sampled."""
        live = self._sampler.live()
        return [self._view(sample) for sample in live if not sample.target.is_above]

    def host(self) -> dict[str, Any]:
        """The machine and the agent's process at the last round; empty before the first."""
        machine = self._sampler.machine()
        return asdict(machine) if machine else {}

    def columns(
        self, target_id: str, since_s: float, names: Iterable[str] = COLUMNS
    ) -> dict[str, list[float | None]]:
        """The same of any target by column, "at_s" among them; empty where nothing is kept."""
        return self._sampler.columns(target_id, since_s, names)

    def device_name(self, device: str) -> str:
        """A block device's path for its "MAJOR:MINOR", as found when it was sampled."""
        return self._sampler.device_name(device)

    def machine(self) -> HostSample | None:
        """The machine at the last round; None before the first."""
        return self._sampler.machine()

    def history(self, container: Container, since_s: float) -> dict[str, Any]:
        """Figures later than `since_s` in Unix seconds, oldest first."""
        return self._history(container.id, since_s)

    def group_history(self, path: str, since_s: float) -> dict[str, Any]:
        """The same of a group of containers, by the path of its cgroup."""
        return self._history(id_of_cgroup(path), since_s)

    def _history(self, target_id: str, since_s: float) -> dict[str, Any]:
        rows, devices = self._sampler.history(target_id, since_s)
        return {
            "columns": ["at_s", *COLUMNS],
            "rows": [[round(at_s, 2), *row] for at_s, row in rows],
            "devices": [
                {
                    "device": device,
                    "name": self.device_name(device),
                    "read_bytes_per_s": [one.read_bytes_per_s for one in rates],
                    "write_bytes_per_s": [one.write_bytes_per_s for one in rates],
                }
                for device, rates in devices.items()
            ],
        }

    def _view(self, sample: Sample) -> dict[str, Any]:
        target, limit = sample.target, sample.limits.memory_max_bytes
        rates, counted = self._sampler.rates(target.id), self._walker.get(target.id)
        return {
            "id": target.id,
            "name": target.name,
            "cgroup": target.cgroup_path,
            "status": "frozen" if sample.usage.frozen else "running",
            "at_s": sample.at_s,
            "usage": asdict(sample.usage),
            "network": sample.network and [asdict(one) for one in sample.network],
            "ports": [asdict(one) for one in self._network.ports(target.id)],
            "connections": counted and counted.connections,
            "memory_limit_bytes": limit if isinstance(limit, int) else None,
            "rates": rates and asdict(rates),
            "reclaim": self.reclaim_view(target.id),
            "budgets": self.budgets_view(target.id),
        }


def _seconds(time_ns: int | None) -> float | None:
    return None if time_ns is None else time_ns / 1e9


def _memory_of(sleep: Sleep | None) -> tuple[int | None, int | None] | None:
    return None if sleep is None else (sleep.memory_before_bytes, sleep.memory_after_bytes)


def _restarts(container: Container) -> int | None:
    policy = container.record.config.restart.name
    return None if policy == restart_policy.NO else container.record.restart.count
