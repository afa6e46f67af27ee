"""Prometheus text and OpenMetrics from what the sampler keeps.

A scrape reads no kernel file: it renders kept samples, the agent's own counts and the states
it is given. Rendering takes about 7 us a series, so it belongs in a thread, not in the event
loop. The registry is the agent's own, not the library's global one. No time stamps are
written: they would switch off Prometheus' handling of series that end.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    Summary,
    disable_created_metrics,
    exposition,
)
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.registry import Collector

from cgagent import __version__
from cgagent.metrics.details import DETAILS
from cgagent.metrics.families import LIVE, OOM, Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cgagent.metrics.sampler import Sampler
    from cgagent.metrics.samples import HostSample, Sample, SamplerState, Standing, Target

STATES: Final = ("created", "running", "frozen", "restarting", "exited", "dead")
HEALTH: Final = ("starting", "healthy", "unhealthy")

_MetricType = type[CounterMetricFamily] | type[GaugeMetricFamily] | type[UnknownMetricFamily]

_LABELS: Final = ("id", "name", "image")
_TYPES: Final[dict[str, _MetricType]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "unknown": UnknownMetricFamily,
}
_JOB_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class Metrics:
    """The agent's registry and its rendering. Lives as long as the agent.

    `containers` returns how every container stands, stopped ones too.
    """

    def __init__(self, sampler: Sampler, containers: Callable[[], Iterable[Standing]]) -> None:
        # The *_created series of the library's own types are noise and no counters.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry(auto_describe=False)
        self._jobs = Histogram(
            "cgagent_job_duration_seconds",
            "Duration of the engine's jobs",
            ["kind", "outcome"],
            buckets=_JOB_BUCKETS_S,
            registry=self._registry,
        )
        self._scrapes = Summary(
            "cgagent_exposition_duration_seconds",
            "Time taken to render the metrics",
            registry=self._registry,
        )
        self._registry.register(_Containers(sampler, containers))
        self._registry.register(_Agent(sampler))

    def observe_job(self, kind: str, outcome: str, seconds: float) -> None:
        """Count a finished job; `outcome` is "ok" or the kind of its error."""
        self._jobs.labels(kind, outcome).observe(seconds)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition and its content type, OpenMetrics where the Accept header asks for it."""
        began_s = time.perf_counter()
        encode, content_type = exposition.choose_encoder(accept)
        body = encode(self._registry)
        self._scrapes.observe(time.perf_counter() - began_s)
        return body, content_type


class _Containers(Collector):
    """Everything about containers."""

    def __init__(self, sampler: Sampler, containers: Callable[[], Iterable[Standing]]) -> None:
        self._sampler = sampler
        self._containers = containers

    def collect(self) -> Iterator[Metric]:
        containers = list(self._containers())
        live = self._sampler.live()
        for family in (*LIVE, *DETAILS):
            yield self._metric(family, live)
        kept = {sample.target.id: sample for sample in live}
        for one in containers:
            sample = self._sampler.latest(one.target.id)
            if sample:
                kept.setdefault(one.target.id, sample)
        yield self._metric(OOM, kept.values())
        yield _states(containers)
        yield _health(containers)
        yield _restarts(containers)

    def _metric(self, family: Family, samples: Iterable[Sample]) -> Metric:
        labels = (*_LABELS, *family.labels)
        metric = _TYPES[family.kind](family.name, family.help, labels=labels)
        is_by_device = family.labels == ("device",)
        for sample in samples:
            own = _own_labels(sample.target)
            for values, number in family.read(sample):
                if number is not None:
                    named = map(self._sampler.device_name, values) if is_by_device else values
                    metric.add_metric((*own, *named), number)
        return metric


def _own_labels(target: Target) -> tuple[str, str, str]:
    """As cAdvisor labels: `id` is the cgroup's path."""
    return target.cgroup_path, target.name, target.image


def _states(containers: Iterable[Standing]) -> Metric:
    metric = GaugeMetricFamily(
        "cgagent_container_state",
        "1 for the state that the container is in, 0 for the others",
        labels=(*_LABELS, "state"),
    )
    for one in containers:
        for state in STATES:
            metric.add_metric((*_own_labels(one.target), state), int(state == one.state))
    return metric


def _health(containers: Iterable[Standing]) -> Metric:
    metric = GaugeMetricFamily(
        "cgagent_container_health",
        "1 for what its health check says, 0 for the others; no series without a check",
        labels=(*_LABELS, "health"),
    )
    for one in containers:
        for health in HEALTH if one.health else ():
            metric.add_metric((*_own_labels(one.target), health), int(health == one.health))
    return metric


def _restarts(containers: Iterable[Standing]) -> Metric:
    metric = CounterMetricFamily(
        "cgagent_container_restarts",
        "Restarts by its policy since a user started it; no series without a policy",
        labels=_LABELS,
    )
    for one in containers:
        if one.restarts is not None:
            metric.add_metric(_own_labels(one.target), one.restarts)
    return metric


class _Agent(Collector):
    """The machine, the sampler and the agent's process, as last sampled."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def collect(self) -> Iterator[Metric]:
        yield _build()
        yield from _sampler(self._sampler.state())
        machine = self._sampler.machine()
        if machine:
            yield from _machine(machine)
            yield from _process(machine)


def _build() -> Metric:
    build = GaugeMetricFamily("cgagent_build_info", "The agent's version", labels=("version",))
    build.add_metric((__version__,), 1)
    return build


def _sampler(state: SamplerState) -> Iterator[Metric]:
    yield CounterMetricFamily("cgagent_sampler_ticks", "Rounds of sampling", value=state.ticks)
    yield CounterMetricFamily(
        "cgagent_sampler_missed_ticks",
        "Rounds left out because an earlier one was late",
        value=state.missed_ticks,
    )
    yield CounterMetricFamily(
        "cgagent_sampler_failures", "Samples that failed", value=state.failures
    )
    yield GaugeMetricFamily(
        "cgagent_sampler_lag_seconds", "How late the last round began", value=state.lag_s
    )
    yield GaugeMetricFamily(
        "cgagent_sampler_duration_seconds", "How long the last round took", value=state.duration_s
    )


def _machine(machine: HostSample) -> Iterator[Metric]:
    yield GaugeMetricFamily("machine_cpu_cores", "CPUs of the machine", value=machine.cpu_cores)
    yield GaugeMetricFamily(
        "machine_memory_bytes", "Memory of the machine", value=machine.memory_total_bytes
    )
    yield GaugeMetricFamily(
        "machine_swap_bytes", "Swap of the machine", value=machine.swap_total_bytes
    )
    cpu = CounterMetricFamily(
        "cgagent_host_cpu_seconds", "CPU time of the machine by mode", labels=("mode",)
    )
    for mode, seconds in machine.cpu_seconds.items():
        cpu.add_metric((mode,), seconds)
    yield cpu
    yield GaugeMetricFamily(
        "cgagent_host_memory_available_bytes",
        "Memory that can be had without swapping",
        value=machine.memory_available_bytes,
    )
    yield GaugeMetricFamily(
        "cgagent_host_swap_free_bytes", "Swap not in use", value=machine.swap_free_bytes
    )
    for minutes, load in zip((1, 5, 15), machine.load, strict=True):
        yield GaugeMetricFamily(
            f"cgagent_host_load{minutes}", f"Load average over {minutes} min", value=load
        )


def _process(machine: HostSample) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "process_cpu_seconds", "CPU time used by the agent", value=machine.agent_cpu_seconds
    )
    yield GaugeMetricFamily(
        "process_resident_memory_bytes",
        "Resident memory of the agent",
        value=machine.agent_resident_bytes,
    )
    yield GaugeMetricFamily(
        "process_open_fds", "File descriptors of the agent", value=machine.agent_open_fds
    )
    yield GaugeMetricFamily(
        "process_start_time_seconds",
        "When the agent started, since 1970",
        value=machine.agent_started_at_s,
    )
