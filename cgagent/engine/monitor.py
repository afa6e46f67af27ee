"""The engine's side of metrics: which containers are sampled, and what is shown of the samples."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cgagent.engine import restart_policy
from cgagent.errors import ConflictError, NotFoundError
from cgagent.metrics import Metrics, Sample, Sampler, Standing, Target, between

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.cgroups import Host
    from cgagent.engine.container import Container
    from cgagent.engine.containers import Containers


class Monitor:
    """Owns the sampler and the metrics; made and ended by the engine."""

    def __init__(self, host: Host, interval_s: float, containers: Containers) -> None:
        self._containers = containers
        self._sampler = Sampler(host, interval_s, self._targets)
        self._metrics = Metrics(self._sampler, self._standings)

    def start(self) -> None:
        self._sampler.start()

    def stop(self) -> None:
        self._sampler.stop()

    def _targets(self) -> Iterable[Target]:
        """Called in the sampler's thread."""
        return [_target(c) for c in self._containers if c.running]

    def _standings(self) -> Iterable[Standing]:
        """Called by a rendering, in a thread: frozen is what the last sample says."""
        return [
            Standing(_target(c), self._state(c), _restarts(c), _health(c)) for c in self._containers
        ]

    def _state(self, container: Container) -> str:
        status = container.record.outcome.status
        sample = self._sampler.latest(container.id)
        return "frozen" if status == "running" and sample and sample.usage.frozen else status

    def observe_job(self, name: str, outcome: str, seconds: float) -> None:
        self._metrics.observe_job(name, outcome, seconds)

    def refresh(self, container: Container) -> None:
        """After a change of limits or of the freezer: do not show the old until the next tick."""
        self._sampler.limits_changed(container.id)
        self.last_sample(container)

    def last_sample(self, container: Container) -> None:
        """Sample a container at once: before its cgroup is removed, say."""
        with contextlib.suppress(NotFoundError):  # it has ended
            self._sampler.sample_now(_target(container))

    def forget(self, container_id: str) -> None:
        self._sampler.forget(container_id)

    async def render(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type; made in a thread."""
        return await asyncio.to_thread(self._metrics.render, accept)

    def stats(self, container: Container) -> dict[str, Any]:
        """The last sample in full, its rates, and the figures a table shows.

        Raises:
            ConflictError: the container does not run.
        """
        if not container.running:
            raise ConflictError(
                f"container {container.name} is not running; only running ones have figures"
            )
        sample = self._sampler.latest(container.id)
        if sample is None or sample.target != _target(container):
            sample = self._sampler.sample_now(_target(container))
        previous = self._sampler.previous(container.id)
        rates = between(previous, sample) if previous else None
        return {**_figures(sample), **_row(container, sample), "rates": rates and asdict(rates)}


def _restarts(container: Container) -> int | None:
    policy = container.record.options.restart.name
    return None if policy == restart_policy.NO else container.record.restart.count


def _health(container: Container) -> str | None:
    health = container.record.outcome.health
    return None if health is None else health.status


def _target(container: Container) -> Target:
    record = container.record
    return Target(
        id=record.id,
        name=record.name,
        image=record.options.image,
        cgroup_path=record.cgroup_path,
        started_at_s=(record.outcome.started_ns or 0) / 1e9,
        asked=record.limits,
    )


def _figures(sample: Sample) -> dict[str, Any]:
    return {"at_s": sample.at_s, "usage": asdict(sample.usage)}


def _row(container: Container, sample: Sample) -> dict[str, Any]:
    limit = sample.limits.memory_max_bytes
    return {
        "id": container.id,
        "name": container.name,
        "status": "frozen" if sample.usage.frozen else "running",
        "memory_limit_bytes": limit if isinstance(limit, int) else None,
    }
