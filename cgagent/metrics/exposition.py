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
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    Summary,
    disable_created_metrics,
    exposition,
)
from prometheus_client.registry import Collector

from cgagent.metrics.cadvisor import CADVISOR, SEEN
from cgagent.metrics.details import DETAILS
from cgagent.metrics.own import Own
from cgagent.metrics.rendering import Sheet, whole
from cgagent.metrics.samples import PolicyCounts
from cgagent.metrics.standing import DISK, STANDING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from cgagent.metrics.families import Described
    from cgagent.metrics.groups import GroupStanding
    from cgagent.metrics.sampler import Sampler
    from cgagent.metrics.samples import Sample, Standing

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

    `containers` returns the standing of every container there is, stopped ones too,
    `events_dropped` how many events a slow reader did not get, `clients_cut_off` how many attached
    clients were cut off because they did not read, `volume_bytes` sizes by name,
    `network_drops` packets and bytes by rule, `policies` what they have done, `groups` those of
    containers.
    """

    def __init__(
        self,
        sampler: Sampler,
        containers: Callable[[], Iterable[Standing]],
        *,
        events_dropped: Callable[[], int] = lambda: 0,
        clients_cut_off: Callable[[], int] = lambda: 0,
        volume_bytes: Callable[[], Mapping[str, int]] = dict,
        network_drops: Callable[[], Mapping[str, tuple[int, int]]] = dict,
        policies: Callable[[], PolicyCounts] = PolicyCounts,
        groups: Callable[[], Iterable[GroupStanding]] = tuple,
    ) -> None:
        # The *_created series of the library's own types are noise and no counters.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry(auto_describe=False)
        self._jobs = Histogram(
            "cgagent_job_duration_seconds",
            "Duration of the engine's jobs, failed ones too, in seconds (cgagent's clock)",
            ["kind", "outcome"],
            buckets=_JOB_BUCKETS_S,
            registry=self._registry,
        )
        self._steps = Histogram(
            "cgagent_job_step_duration_seconds",
            "Duration of the steps of jobs that were done, in seconds (cgagent's clock)",
            ["kind", "step"],
            buckets=_JOB_BUCKETS_S,
            registry=self._registry,
        )
        self._scrapes = Summary(
            "cgagent_exposition_duration_seconds",
            "Time taken to render the metrics, in seconds (cgagent's clock)",
            registry=self._registry,
        )
        self._sampler = sampler
        self._containers = containers
        names = sampler.device_name
        self._figures = Sheet((*CADVISOR, *DETAILS), _figures, names)
        self._seen = Sheet((SEEN,), lambda sample: (sample.target, sample.at_s), names)
        self._states = Sheet(STANDING, lambda s: replace(s, disk=None), names)
        self._disks = Sheet(DISK, lambda s: (s.target, s.disk), names)
        own = Own(
            sampler,
            events_dropped,
            clients_cut_off,
            volume_bytes=volume_bytes,
            network_drops=network_drops,
            policies=policies,
            groups=groups,
        )
        self._registry.register(own)

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
        for states in (self._states, self._disks):
            states.keep_only(there)
            yield from _families(states, standings, (), names, openmetrics=openmetrics)


def _figures(sample: Sample) -> object:
    return sample.target, sample.usage, sample.limits, sample.network, sample.load_1000


def _families(
    sheet: Sheet[Described],
    live: Iterable[Described],
    ended: Iterable[Described],
    names: frozenset[str],
    *,
    openmetrics: bool,
) -> Iterator[str]:
    """Those of the names given; of what has ended only those that last."""
    if names and names.isdisjoint(family.series for family in sheet.families):
        return
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
