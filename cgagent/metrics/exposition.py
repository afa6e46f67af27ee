"""Prometheus text and OpenMetrics from what the sampler keeps.

A scrape reads no kernel file: it renders kept samples, the agent's own counts and the states
it is given. That takes milliseconds to tens of them for 30,000 series, so it belongs in a thread,
not in the event loop. What the agent counts of itself is in a registry of prometheus-client's, one
of its own and not the library's global one. No time stamps are written: they would switch off
Prometheus' handling of series that end.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from itertools import chain
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
)
from prometheus_client.registry import Collector

from cgagent import __version__
from cgagent.metrics.details import DETAILS
from cgagent.metrics.families import SAMPLED, SEEN
from cgagent.metrics.rendering import Sheet, whole
from cgagent.metrics.standing import STANDING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cgagent.metrics.families import Described
    from cgagent.metrics.sampler import Sampler
    from cgagent.metrics.samples import HostSample, Sample, SamplerState, Standing

_GZIP: Final = 31
_JOB_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a scrape asks for."""

    accept: str = ""
    """The header: OpenMetrics or Prometheus' text format."""
    gzip: bool = False
    names: frozenset[str] = frozenset()
    """Of the series wanted; empty: all."""


@dataclass(frozen=True, slots=True)
class Rendering:
    body: bytes
    headers: dict[str, str]


class Metrics:
    """The agent's registry and its rendering. Lives as long as the agent.

    `containers` returns the standing of every container there is, stopped ones too.
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
        self._steps = Histogram(
            "cgagent_job_step_duration_seconds",
            "Duration of the steps of jobs that were done",
            ["kind", "step"],
            buckets=_JOB_BUCKETS_S,
            registry=self._registry,
        )
        self._scrapes = Summary(
            "cgagent_exposition_duration_seconds",
            "Time taken to render the metrics",
            registry=self._registry,
        )
        self._sampler = sampler
        self._containers = containers
        names = sampler.device_name
        self._figures = Sheet((*SAMPLED, *DETAILS), _figures, names)
        self._seen = Sheet((SEEN,), lambda sample: (sample.target, sample.at_s), names)
        self._states = Sheet(STANDING, lambda standing: standing, names)
        self._registry.register(_Agent(sampler))

    def observe_job(
        self, kind: str, outcome: str, seconds: float, steps: Mapping[str, float]
    ) -> None:
        """Count a finished job; `outcome` is "done", "failed" or "cancelled"."""
        self._jobs.labels(kind, outcome).observe(seconds)
        for step, taken_s in steps.items() if outcome == "done" else ():
            self._steps.labels(kind, step).observe(taken_s)

    def render(self, asked: Asked = Asked()) -> Rendering:
        began_s = time.perf_counter()
        encode, content_type = exposition.choose_encoder(asked.accept)
        openmetrics = content_type.startswith("application/openmetrics-text")
        pieces = self._of_containers(asked.names, openmetrics=openmetrics)
        own = _Only(self._registry, asked.names) if asked.names else self._registry
        last = encode(own)  # whose end is OpenMetrics' end
        body: Iterable[bytes] = chain(map(str.encode, pieces), (last,))
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if asked.gzip:
            body = _compressed(body)
            headers["Content-Encoding"] = "gzip"
        rendering = Rendering(b"".join(body), headers)
        self._scrapes.observe(time.perf_counter() - began_s)
        return rendering

    def _of_containers(self, names: frozenset[str], *, openmetrics: bool) -> Iterator[str]:
        standings = list(self._containers())
        live = self._sampler.live()
        alive = {sample.target.id for sample in live}
        ended = [
            sample
            for standing in standings
            if standing.target.id not in alive
            and (sample := self._sampler.latest(standing.target.id))
        ]
        there = (*alive, *(s.target.id for s in standings))
        for sheet in (self._figures, self._seen):
            sheet.keep_only(there)
            yield from _families(sheet, live, ended, names, openmetrics=openmetrics)
        self._states.keep_only(there)
        yield from _families(self._states, standings, (), names, openmetrics=openmetrics)


def _figures(sample: Sample) -> object:
    return sample.target, sample.usage, sample.limits, sample.network


def _families(
    sheet: Sheet[Described],
    live: Iterable[Described],
    ended: Iterable[Described],
    names: frozenset[str],
    *,
    openmetrics: bool,
) -> Iterator[str]:
    """Those of the names given; of what has ended only those that last."""
    of_live: list[tuple[str, ...]] = [sheet.texts(one) for one in live]
    of_all = [*of_live, *map(sheet.texts, ended)]
    for place, family in enumerate(sheet.families):
        if not names or family.series in names:
            of = of_all if family.lasts else of_live
            yield whole(family, [texts[place] for texts in of], openmetrics=openmetrics)


def _compressed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Piece by piece, so that there is never all of it uncompressed."""
    packer = zlib.compressobj(level=1, wbits=_GZIP)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


class _Only(Collector):
    """A registry's series of the names given."""

    def __init__(self, registry: CollectorRegistry, names: frozenset[str]) -> None:
        self._registry = registry
        self._names = names

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [s for s in metric.samples if s.name in self._names]
            if metric.samples:
                yield metric


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
