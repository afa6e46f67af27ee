"""The metrics that cAdvisor has too, with its names and meaning.

Dashboards and alerts that were written for it work.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import Unlimited
from cgagent.metrics.families import (
    NS,
    Family,
    Values,
    alone,
    bare_counters,
    counter,
    counters,
    gauge,
    gauges,
    peak,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.metrics.samples import Sample

_SECTOR_BYTES: Final = 512
_MACHINE_BYTES: Final = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
_BLKIO: Final = "blkio.throttle or blkio.bfq"


def _total_cpu(sample: Sample) -> Values:
    usage_ns = sample.usage.cpu.usage_ns
    yield ("total",), None if usage_ns is None else usage_ns / NS


def _under_quota(value: Callable[[Sample], float | None]) -> Callable[[Sample], float | None]:
    """Only where a quota is set: a container without one is never throttled."""
    return lambda s: value(s) if isinstance(s.limits.cpu_quota_us, int) else None


def _faults(sample: Sample) -> Values:
    yield ("pgfault", "hierarchy"), sample.usage.memory.pgfault
    yield ("pgmajfault", "hierarchy"), sample.usage.memory.pgmajfault


def _event(name: str) -> Callable[[Sample], float | None]:
    return lambda s: (s.usage.memory.events or {}).get(name)


def io(field: str, each: int = 1) -> Callable[[Sample], Values]:
    def read(sample: Sample) -> Values:
        for device in sample.usage.io or ():
            yield (device.device,), getattr(device, field) // each

    return read


def _io_operations(sample: Sample) -> Values:
    for device in sample.usage.io or ():
        major, _, minor = device.device.partition(":")
        for operation, count in (("Read", device.rbytes), ("Write", device.wbytes)):
            yield (device.device, major, minor, operation), count


def _pressure(resource: str, kind: str) -> Callable[[Sample], float | None]:
    def value(sample: Sample) -> float | None:
        psi = getattr(sample.usage.pressure, resource)
        stall = getattr(psi, kind, None)
        return None if stall is None else stall.total_ns

    return value


def _limit(field: str) -> Callable[[Sample], float | None]:
    """A limit as cAdvisor spells it: 0 is unlimited."""

    def value(sample: Sample) -> float | None:
        limit = getattr(sample.limits, field)
        return 0 if isinstance(limit, Unlimited) else limit

    return value


def _memory_limit(sample: Sample) -> float | None:
    if sample.target.cgroup_path == "/":
        return _MACHINE_BYTES
    return _limit("memory_max_bytes")(sample)


def _swap_limit(sample: Sample) -> float | None:
    """What the kernel's file says: with memory on v1, which alone has a swappiness."""
    limits = sample.limits
    swap, memory = limits.memory_swap_max_bytes, limits.memory_max_bytes
    if isinstance(swap, Unlimited):
        return 0
    if limits.memory_swappiness is None or swap is None or not isinstance(memory, int):
        return swap
    return memory + swap


def _quota(sample: Sample) -> float | None:
    quota = sample.limits.cpu_quota_us
    return quota if isinstance(quota, int) else None


def _huge_pages(field: str) -> Callable[[Sample], Values]:
    def read(sample: Sample) -> Values:
        for pages in sample.usage.hugetlb or ():
            yield (pages.size,), getattr(pages, field)

    return read


def _network(field: str) -> Callable[[Sample], Values]:
    return lambda s: (((i.name, i.network), getattr(i, field)) for i in s.network or ())


CPU: Final = (
    counters(
        "container_cpu_usage_seconds",
        "CPU time used, in seconds",
        "cpuacct.usage; v2: cpu.stat usage_usec",
        _total_cpu,
        "cpu",
    ),
    counter(
        "container_cpu_user_seconds",
        "CPU time used in user mode, in seconds",
        "cpuacct.usage, divided as in cgroup2's cpu.stat or cpuacct.stat; v2: cpu.stat user_usec",
        lambda s: s.usage.cpu.user_ns,
        NS,
    ),
    counter(
        "container_cpu_system_seconds",
        "CPU time used in the kernel, in seconds",
        "cpuacct.usage, divided as in cgroup2's cpu.stat or cpuacct.stat; v2: cpu.stat system_usec",
        lambda s: s.usage.cpu.system_ns,
        NS,
    ),
    counter(
        "container_cpu_cfs_periods",
        "Enforcement periods of the CPU quota",
        "cpu.stat nr_periods",
        _under_quota(lambda s: s.usage.cpu.periods),
    ),
    counter(
        "container_cpu_cfs_throttled_periods",
        "Enforcement periods that ended throttled",
        "cpu.stat nr_throttled",
        _under_quota(lambda s: s.usage.cpu.throttled_periods),
    ),
    counter(
        "container_cpu_cfs_throttled_seconds",
        "Time throttled, summed over CPUs, in seconds",
        "cpu.stat throttled_time; v2: throttled_usec",
        _under_quota(lambda s: s.usage.cpu.throttled_ns),
        NS,
    ),
    counter(
        "container_cpu_cfs_burst_periods",
        "Periods that used more than the quota, out of the burst",
        "cpu.stat nr_bursts",
        _under_quota(lambda s: s.usage.cpu.bursts),
    ),
    counter(
        "container_cpu_cfs_burst_seconds",
        "CPU time used above the quota, out of the burst, in seconds",
        "cpu.stat burst_time; v2: burst_usec",
        _under_quota(lambda s: s.usage.cpu.burst_ns),
        NS,
    ),
    gauge(
        "container_cpu_load_average_10s",
        "Tasks that run or wait for a CPU, times 1000, averaged over about 10 s; "
        "all that wait count as one",
        "CPU time used, and some of cpu.pressure",
        lambda s: None if s.usage.cpu.usage_ns is None else s.load_1000,
    ),
)

MEMORY: Final = (
    gauge(
        "container_memory_usage_bytes",
        "Memory in use, page cache included, in bytes",
        "memory.usage_in_bytes; v2: memory.current",
        lambda s: s.usage.memory.current_bytes,
    ),
    gauge(
        "container_memory_working_set_bytes",
        "Memory in use without inactive page cache, in bytes",
        "memory.usage_in_bytes - total_inactive_file; v2: memory.current - inactive_file",
        lambda s: s.usage.memory.working_set_bytes,
    ),
    gauge(
        "container_memory_rss",
        "Anonymous memory in bytes",
        "memory.stat total_rss; v2: anon",
        lambda s: s.usage.memory.anon_bytes,
    ),
    gauge(
        "container_memory_cache",
        "Page cache, tmpfs and shared memory included, in bytes",
        "memory.stat total_cache; v2: file",
        lambda s: s.usage.memory.file_bytes,
    ),
    gauge(
        "container_memory_mapped_file",
        "Mapped page cache in bytes",
        "memory.stat total_mapped_file; v2: file_mapped",
        lambda s: s.usage.memory.mapped_bytes,
    ),
    gauge(
        "container_memory_kernel_usage",
        "Memory that the kernel holds for it, in bytes",
        "memory.kmem.usage_in_bytes; v2: memory.stat kernel",
        lambda s: s.usage.memory.kernel_bytes,
    ),
    gauge(
        "container_memory_swap",
        "Swap in use in bytes",
        "memory.stat total_swap; v2: memory.swap.current",
        lambda s: s.usage.memory.swap_bytes,
    ),
    peak(
        "container_memory_max_usage_bytes",
        "Highest memory use since the start, in bytes",
        "memory.max_usage_in_bytes; v2: memory.peak",
        lambda s: s.usage.memory.peak_bytes,
    ),
    gauge(
        "container_memory_total_active_file_bytes",
        "Page cache on the active list, in bytes",
        "memory.stat total_active_file; v2: active_file",
        lambda s: s.usage.memory.active_file_bytes,
    ),
    gauge(
        "container_memory_total_inactive_file_bytes",
        "Page cache on the inactive list, in bytes",
        "memory.stat total_inactive_file; v2: inactive_file",
        lambda s: s.usage.memory.inactive_file_bytes,
    ),
    gauge(
        "container_memory_file_dirty_bytes",
        "Page cache still to be written to disk, in bytes",
        "memory.stat total_dirty; v2: file_dirty",
        lambda s: s.usage.memory.dirty_bytes,
    ),
    gauge(
        "container_memory_file_writeback_bytes",
        "Page cache being written to disk, in bytes",
        "memory.stat total_writeback; v2: file_writeback",
        lambda s: s.usage.memory.writeback_bytes,
    ),
    counter(
        "container_memory_workingset_refault_anon",
        "Anonymous pages that came back after they had been evicted",
        "memory.stat total_workingset_refault_anon; v2: workingset_refault_anon",
        lambda s: s.usage.memory.refault_anon,
    ),
    counter(
        "container_memory_workingset_refault_file",
        "Pages of files that came back after they had been evicted",
        "memory.stat total_workingset_refault_file; v2: workingset_refault_file",
        lambda s: s.usage.memory.refault_file,
    ),
    counter(
        "container_memory_pgscan",
        "Pages that reclaim looked at; v2 only",
        "memory.stat pgscan",
        lambda s: s.usage.memory.pgscan,
    ),
    counter(
        "container_memory_pgsteal",
        "Pages that reclaim took; v2 only",
        "memory.stat pgsteal",
        lambda s: s.usage.memory.pgsteal,
    ),
    bare_counters(
        "container_memory_failcnt",
        "How often the memory limit was hit",
        "memory.failcnt + memory.memsw.failcnt; v2: memory.events max",
        alone(lambda s: s.usage.memory.failcnt),
    ),
    counters(
        "container_memory_failures",
        "Page faults",
        "memory.stat total_pgfault, total_pgmajfault; v2: pgfault, pgmajfault",
        _faults,
        *("failure_type", "scope"),
    ),
    *(
        counter(
            f"container_memory_events_{event}",
            f"How often memory use came to the limit memory.{event}; v2 only",
            f"memory.events {event}",
            _event(event),
        )
        for event in ("high", "max")
    ),
    counter(
        "container_oom_events",
        "Processes ended by the OOM killer",
        "memory.oom_control oom_kill; v2: memory.events oom_kill",
        lambda s: s.usage.memory.oom_kills,
    ),
)

IO: Final = (
    counters(
        "container_fs_reads_bytes",
        "Read from disks, in bytes",
        f"{_BLKIO}.io_service_bytes_recursive; v2: io.stat rbytes",
        io("rbytes"),
        "device",
    ),
    counters(
        "container_fs_writes_bytes",
        "Written to disks, in bytes",
        f"{_BLKIO}.io_service_bytes_recursive; v2: io.stat wbytes",
        io("wbytes"),
        "device",
    ),
    counters(
        "container_fs_reads",
        "Reads from disks",
        f"{_BLKIO}.io_serviced_recursive; v2: io.stat rios",
        io("rios"),
        "device",
    ),
    counters(
        "container_fs_writes",
        "Writes to disks",
        f"{_BLKIO}.io_serviced_recursive; v2: io.stat wios",
        io("wios"),
        "device",
    ),
    counters(
        "container_fs_sector_reads",
        "Sectors of 512 bytes read from disks",
        "container_fs_reads_bytes_total",
        io("rbytes", _SECTOR_BYTES),
        "device",
    ),
    counters(
        "container_fs_sector_writes",
        "Sectors of 512 bytes written to disks",
        "container_fs_writes_bytes_total",
        io("wbytes", _SECTOR_BYTES),
        "device",
    ),
    counters(
        "container_blkio_device_usage",
        "Read from and written to disks, in bytes",
        f"{_BLKIO}.io_service_bytes_recursive; v2: io.stat rbytes, wbytes",
        _io_operations,
        *("device", "major", "minor", "operation"),
    ),
)

HUGETLB: Final = (
    gauges(
        "container_hugetlb_usage_bytes",
        "Huge pages in use, in bytes",
        "hugetlb.*.usage_in_bytes; v2: hugetlb.*.current",
        _huge_pages("current_bytes"),
        "pagesize",
    ),
    Family(
        "gauge",
        "container_hugetlb_max_usage_bytes",
        "Most huge pages in use since the start, in bytes; v1 only",
        "hugetlb.*.max_usage_in_bytes",
        _huge_pages("peak_bytes"),
        ("pagesize",),
        lasts=True,
    ),
    bare_counters(
        "container_hugetlb_failcnt",
        "Allocations of huge pages refused by the limit",
        "hugetlb.*.failcnt; v2: hugetlb.*.events max",
        _huge_pages("refused"),
        "pagesize",
    ),
)

PIDS: Final = (
    gauge(
        "container_threads", "Processes and threads", "pids.current", lambda s: s.usage.pids.current
    ),
    gauge(
        "container_threads_max",
        "Limit on processes and threads; 0 is unlimited",
        "pids.max",
        _limit("pids_max"),
    ),
    gauge("container_processes", "Processes", "cgroup.procs", lambda s: s.usage.pids.processes),
)

NETWORK: Final = tuple(
    counters(
        *(f"container_network_{field}", text, "/proc/PID/net/dev", _network(field)),
        *("interface", "network"),
    )
    for way, done in (("receive", "received"), ("transmit", "transmitted"))
    for field, text in (
        (f"{way}_bytes", f"{done.capitalize()}, in bytes"),
        (f"{way}_packets", f"Packets {done}"),
        (f"{way}_packets_dropped", f"Packets dropped that were to be {done}"),
        (f"{way}_errors", f"Errors with what was to be {done}"),
    )
)

PRESSURE: Final = tuple(
    counter(
        f"container_pressure_{resource}_{name}_seconds",
        f"Time in which {who} waited for {what}, in seconds",
        f"{resource}.pressure {kind}, of cgroup2",
        _pressure(resource, kind),
        NS,
    )
    for resource, what in (("cpu", "a CPU"), ("memory", "memory"), ("io", "IO"))
    for name, kind, who in (
        ("waiting", "some", "some task"),
        ("stalled", "full", "all tasks together"),
    )
)

SPEC: Final = (
    gauge(
        "container_spec_cpu_shares",
        "CPU weight in shares, of which 1024 are usual",
        "cpu.shares; v2: cpu.weight, converted",
        lambda s: s.limits.shares,
    ),
    gauge(
        "container_spec_cpu_period",
        "Period of the CPU quota in microseconds",
        "cpu.cfs_period_us; v2: cpu.max",
        lambda s: s.limits.cpu_period_us,
    ),
    gauge(
        "container_spec_cpu_quota",
        "CPU quota in microseconds; absent without one",
        "cpu.cfs_quota_us; v2: cpu.max",
        _quota,
    ),
    gauge(
        "container_spec_memory_limit_bytes",
        "Memory limit in bytes; 0 is unlimited; of the root group the machine's memory",
        "memory.limit_in_bytes; v2: memory.max",
        _memory_limit,
    ),
    gauge(
        "container_spec_memory_swap_limit_bytes",
        "Limit of memory and swap together on v1, of swap alone on v2, in bytes; 0 is unlimited",
        "memory.memsw.limit_in_bytes; v2: memory.swap.max",
        _swap_limit,
    ),
    gauge(
        "container_spec_memory_reservation_limit_bytes",
        "Memory protected from reclaim, in bytes; 0 is none",
        "memory.soft_limit_in_bytes; v2: memory.low",
        _limit("memory_low_bytes"),
    ),
    gauge(
        "container_start_time_seconds",
        "When the container started, in seconds since 1970; of running ones",
        "cgagent's record",
        lambda s: s.target.started_at_s or None,  # of a group that is watched it is not known
    ),
)

SEEN: Final = gauge(
    "container_last_seen",
    "When it was last sampled, in seconds since 1970; of running ones",
    "cgagent's sampler",
    lambda s: s.at_s,
)

CADVISOR: Final = (*CPU, *MEMORY, *HUGETLB, *IO, *NETWORK, *PIDS, *PRESSURE, *SPEC)
"""What is read of samples' figures."""
