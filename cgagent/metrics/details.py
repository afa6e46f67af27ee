"""The metrics that cAdvisor has not: what only some kernels count. All are called cgagent_*.

A container of a kernel that does not count one has no series of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.metrics.families import NS, Values, counter, counters, gauge, gauges, peak

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cgagent.metrics.samples import Sample


def _by_name(read: Callable[[Sample], Mapping[str, int] | None]) -> Callable[[Sample], Values]:
    def values(sample: Sample) -> Values:
        for name, count in (read(sample) or {}).items():
            yield (name,), count

    return values


def _rdma(field: str) -> Callable[[Sample], Values]:
    def values(sample: Sample) -> Values:
        for device in sample.usage.rdma or ():
            yield (device.device,), getattr(device, field)

    return values


def _descendants(field: str) -> Callable[[Sample], float | None]:
    return lambda s: getattr(s.usage.descendants, field, None)


def _irq_ns(sample: Sample) -> float | None:
    irq = sample.usage.pressure.irq
    return None if irq is None else irq.total_ns


def _drift(sample: Sample) -> Values:
    asked = sample.target.asked
    if asked is not None:  # settings by file are not among the limits that are sampled
        for drift in replace(asked, conf=None).diff(sample.limits):
            yield (drift.name,), 1


DETAILS: Final = (
    gauges(
        "cgagent_container_limit_drift",
        "1 for each limit that the kernel does not hold as it was asked; no series where it does",
        _drift,
        "limit",
    ),
    counter(
        "cgagent_container_cpu_throttled_local_seconds",
        "Time throttled by its own quota or by one of a group above it",
        lambda s: s.usage.cpu.throttled_local_ns,
        NS,
    ),
    peak(
        "cgagent_container_memory_swap_peak_bytes",
        "Most swap in use since the start",
        lambda s: s.usage.memory.swap_peak_bytes,
    ),
    gauge(
        "cgagent_container_memory_zswap_bytes",
        "Memory taken by compressed swap",
        lambda s: s.usage.memory.zswap_bytes,
    ),
    counters(
        "cgagent_container_memory_events_local",
        "The kernel's memory.events.local: of the group's own limits, not of groups below it",
        _by_name(lambda s: s.usage.memory.events_local),
        "event",
    ),
    counters(
        "cgagent_container_memory_swap_events",
        "The kernel's memory.swap.events",
        _by_name(lambda s: s.usage.memory.swap_events),
        "event",
    ),
    counter(
        "cgagent_container_forks_refused_local",
        "Forks refused by the group's own limit, not by those of groups below it",
        lambda s: s.usage.pids.refused_local,
    ),
    counter(
        "cgagent_container_pressure_irq_stalled_seconds",
        "Time in which interrupts kept all tasks from running",
        _irq_ns,
        NS,
    ),
    counter(
        "cgagent_container_frozen_seconds",
        "Time it was frozen, by the kernel's count or, where it has none, from sample to sample",
        lambda s: s.usage.frozen_ns,
        NS,
    ),
    gauge(
        "cgagent_container_cgroup_descendants",
        "cgroup2 groups below it",
        _descendants("live"),
    ),
    gauge(
        "cgagent_container_cgroup_dying_descendants",
        "cgroup2 groups below it that were removed and still hold memory",
        _descendants("dying"),
    ),
    gauges(
        "cgagent_container_rdma_hca_handles", "RDMA handles in use", _rdma("hca_handles"), "device"
    ),
    gauges(
        "cgagent_container_rdma_hca_objects", "RDMA objects in use", _rdma("hca_objects"), "device"
    ),
    gauges(
        "cgagent_container_misc",
        "The kernel's misc.current, in the resource's own unit",
        _by_name(lambda s: s.usage.misc),
        "resource",
    ),
    gauges(
        "cgagent_container_dmem_bytes",
        "Device memory in use",
        _by_name(lambda s: s.usage.dmem_bytes),
        "region",
    ),
)
