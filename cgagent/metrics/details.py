"""The metrics that cAdvisor has not: what only some kernels count. All are called cgagent_*.

A container of a kernel that does not count one has no series of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import Unlimited
from cgagent.metrics.cadvisor import io
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


def _cost(sample: Sample) -> Values:
    for device in sample.usage.io or ():
        for kind, time_ns in (device.cost_ns or {}).items():
            yield (device.device, kind), time_ns / NS


def _cap(key: str) -> Callable[[Sample], Values]:
    def values(sample: Sample) -> Values:
        for device in sample.limits.io_max or ():
            cap = getattr(device, key)
            yield (device.device,), None if isinstance(cap, Unlimited) else cap

    return values


def _rates(sample: Sample) -> Values:
    for way, rate in (
        ("in", sample.limits.net_rate_in_bits),
        ("out", sample.limits.net_rate_out_bits),
    ):
        yield (way,), rate // 8 if isinstance(rate, int) else None


DETAILS: Final = (
    gauges(
        "cgagent_container_limit_drift",
        "1 for each limit that the kernel does not hold as it was asked; no series where it does",
        "the limits' files, beside cgagent's record",
        _drift,
        "limit",
    ),
    gauges(
        "cgagent_container_network_rate_limit_bytes",
        "Wire bytes a second that each of its network interfaces is held to",
        "tbf on the host's end of its links",
        _rates,
        "direction",
    ),
    gauge(
        "cgagent_container_frozen",
        "1 while it is frozen, else 0",
        "freezer.state; v2: cgroup.events frozen",
        lambda s: None if s.usage.frozen is None else int(s.usage.frozen),
    ),
    counter(
        "cgagent_container_frozen_seconds",
        "Time it was frozen, in seconds",
        "cgroup.stat.local frozen_usec; where the kernel has none, from sample to sample",
        lambda s: s.usage.frozen_ns,
        NS,
    ),
    counter(
        "cgagent_container_cpu_throttled_local_seconds",
        "Time throttled by its own quota or by one of a group above it, in seconds",
        "v2: cpu.stat.local throttled_usec",
        lambda s: s.usage.cpu.throttled_local_ns,
        NS,
    ),
    counters(
        "cgagent_container_memory_events",
        "What became of memory limits: events of the group and of those below it",
        "v2: memory.events",
        _by_name(lambda s: s.usage.memory.events),
        "event",
    ),
    counters(
        "cgagent_container_memory_events_local",
        "Events of the group's own memory limits, not of groups below it",
        "v2: memory.events.local",
        _by_name(lambda s: s.usage.memory.events_local),
        "event",
    ),
    counters(
        "cgagent_container_memory_swap_events",
        "Events of the swap limits",
        "v2: memory.swap.events",
        _by_name(lambda s: s.usage.memory.swap_events),
        "event",
    ),
    peak(
        "cgagent_container_memory_swap_peak_bytes",
        "Most swap in use since the start, in bytes",
        "v2: memory.swap.peak",
        lambda s: s.usage.memory.swap_peak_bytes,
    ),
    gauge(
        "cgagent_container_memory_zswap_bytes",
        "Memory taken by compressed swap, in bytes",
        "v2: memory.zswap.current",
        lambda s: s.usage.memory.zswap_bytes,
    ),
    *(
        gauges(
            f"cgagent_container_spec_io_{field}",
            f"Cap of {text} a second, of disks that have one",
            f"{v1}; v2: io.max {key}",
            _cap(key),
            "device",
        )
        for field, text, v1, key in (
            ("read_bps_limit", "bytes read", "blkio.throttle.read_bps_device", "rbps"),
            ("write_bps_limit", "bytes written", "blkio.throttle.write_bps_device", "wbps"),
            ("read_iops_limit", "reads", "blkio.throttle.read_iops_device", "riops"),
            ("write_iops_limit", "writes", "blkio.throttle.write_iops_device", "wiops"),
        )
    ),
    counters(
        "cgagent_container_fs_discards_bytes",
        "Discarded on disks, in bytes",
        "blkio.throttle.io_service_bytes_recursive; v2: io.stat dbytes",
        io("dbytes"),
        "device",
    ),
    counters(
        "cgagent_container_fs_discards",
        "Discards on disks",
        "blkio.throttle.io_serviced_recursive; v2: io.stat dios",
        io("dios"),
        "device",
    ),
    counters(
        "cgagent_container_fs_cost_seconds",
        "Time by io.cost's reckoning, in seconds: a disk's time used, and waits and debts",
        "v2: io.stat cost.*",
        _cost,
        *("device", "kind"),
    ),
    peak(
        "cgagent_container_threads_peak",
        "Most processes and threads since the start",
        "pids.peak",
        lambda s: s.usage.pids.peak,
    ),
    counter(
        "cgagent_container_forks_refused",
        "Forks refused by the limit on processes and threads",
        "pids.events max",
        lambda s: s.usage.pids.refused,
    ),
    counter(
        "cgagent_container_forks_refused_local",
        "Forks refused by the group's own limit, not by those of groups below it",
        "pids.events.local max",
        lambda s: s.usage.pids.refused_local,
    ),
    counter(
        "cgagent_container_pressure_irq_stalled_seconds",
        "Time in which interrupts kept all tasks from running, in seconds",
        "irq.pressure full, of cgroup2",
        _irq_ns,
        NS,
    ),
    gauge(
        "cgagent_container_cgroup_descendants",
        "Groups below it in cgroup2",
        "cgroup.stat nr_descendants",
        _descendants("live"),
    ),
    gauge(
        "cgagent_container_cgroup_dying_descendants",
        "Groups below it in cgroup2 that were removed and still hold memory",
        "cgroup.stat nr_dying_descendants",
        _descendants("dying"),
    ),
    gauges(
        "cgagent_container_rdma_hca_handles",
        "RDMA handles in use",
        "rdma.current hca_handle",
        _rdma("hca_handles"),
        "device",
    ),
    gauges(
        "cgagent_container_rdma_hca_objects",
        "RDMA objects in use",
        "rdma.current hca_object",
        _rdma("hca_objects"),
        "device",
    ),
    gauges(
        "cgagent_container_misc",
        "In use, in the resource's own unit",
        "v2: misc.current",
        _by_name(lambda s: s.usage.misc),
        "resource",
    ),
    gauges(
        "cgagent_container_dmem_bytes",
        "Device memory in use, in bytes",
        "v2: dmem.current",
        _by_name(lambda s: s.usage.dmem_bytes),
        "region",
    ),
)
