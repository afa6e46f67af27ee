"""The metrics of a container: names, types, labels, and how each is read from a sample.

Names that cAdvisor exports keep its names and meaning, so that dashboards and alerts written
for it work. What it has not is called cgagent_*. Base units. A value of None is left out.

cAdvisor's `container_memory_failcnt` and `container_hugetlb_failcnt` count but are not called
*_total, which Prometheus' naming rules want of a counter: they are exported without a type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from cgagent.cgroups import Unlimited
from cgagent.metrics.samples import Sample, Standing

if TYPE_CHECKING:
    from cgagent.cgroups import Limits

Described = TypeVar("Described", Sample, Standing)

Kind = Literal["counter", "gauge", "unknown"]
Values = Iterable[tuple[tuple[str, ...], float | None]]

NS: Final = 1e-9
_NO_LABELS: Final[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True)
class Family(Generic[Described]):
    """One metric. `read` yields (values of `labels`, number) pairs for one container.

    `name` is without the "_total" that a counter's series end in. What `lasts` is shown of a
    container that has ended too: what was counted, and the most that was.
    """

    kind: Kind
    name: str
    help: str
    read: Callable[[Described], Values]
    labels: tuple[str, ...] = ()
    lasts: bool = False

    @property
    def series(self) -> str:
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _reading(value: Callable[[Sample], float | None], scale: float) -> Callable[[Sample], Values]:
    if scale == 1:
        return lambda sample: ((_NO_LABELS, value(sample)),)

    def read(sample: Sample) -> Values:
        number = value(sample)
        return ((_NO_LABELS, None if number is None else number * scale),)

    return read


def counter(
    name: str, text: str, value: Callable[[Sample], float | None], scale: float = 1
) -> Family[Sample]:
    return Family("counter", name, text, _reading(value, scale), lasts=True)


def counters(
    name: str, text: str, read: Callable[[Sample], Values], *labels: str
) -> Family[Sample]:
    return Family("counter", name, text, read, labels, lasts=True)


def gauge(name: str, text: str, value: Callable[[Sample], float | None]) -> Family[Sample]:
    return Family("gauge", name, text, _reading(value, 1))


def gauges(name: str, text: str, read: Callable[[Sample], Values], *labels: str) -> Family[Sample]:
    return Family("gauge", name, text, read, labels)


def peak(name: str, text: str, value: Callable[[Sample], float | None]) -> Family[Sample]:
    return Family("gauge", name, text, _reading(value, 1), lasts=True)


def _total_cpu(sample: Sample) -> Values:
    usage_ns = sample.usage.cpu.usage_ns
    yield ("total",), None if usage_ns is None else usage_ns * NS


def _under_quota(value: Callable[[Sample], float | None]) -> Callable[[Sample], float | None]:
    """Only where a quota is set: a container without one is never throttled."""
    return lambda s: value(s) if isinstance(s.limits.cpu_quota_us, int) else None


def _faults(sample: Sample) -> Values:
    yield ("pgfault", "hierarchy"), sample.usage.memory.pgfault
    yield ("pgmajfault", "hierarchy"), sample.usage.memory.pgmajfault


def _events(sample: Sample) -> Values:
    for event, count in (sample.usage.memory.events or {}).items():
        yield (event,), count


def _io(field: str) -> Callable[[Sample], Values]:
    def read(sample: Sample) -> Values:
        for device in sample.usage.io or ():
            yield (device.device,), getattr(device, field)

    return read


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


def _quota(limits: Limits) -> float | None:
    return limits.cpu_quota_us if isinstance(limits.cpu_quota_us, int) else None


CPU: Final = (
    counters("container_cpu_usage_seconds", "CPU time used", _total_cpu, "cpu"),
    counter(
        "container_cpu_user_seconds",
        "CPU time used in user mode",
        lambda s: s.usage.cpu.user_ns,
        NS,
    ),
    counter(
        "container_cpu_system_seconds",
        "CPU time used in the kernel",
        lambda s: s.usage.cpu.system_ns,
        NS,
    ),
    counter(
        "container_cpu_cfs_periods",
        "Enforcement periods of the CPU quota",
        _under_quota(lambda s: s.usage.cpu.periods),
    ),
    counter(
        "container_cpu_cfs_throttled_periods",
        "Enforcement periods that ended throttled",
        _under_quota(lambda s: s.usage.cpu.throttled_periods),
    ),
    counter(
        "container_cpu_cfs_throttled_seconds",
        "Time throttled, summed over CPUs",
        _under_quota(lambda s: s.usage.cpu.throttled_ns),
        NS,
    ),
    counter(
        "container_cpu_cfs_burst_periods",
        "Periods that used more than the quota, out of the burst",
        _under_quota(lambda s: s.usage.cpu.bursts),
    ),
    counter(
        "container_cpu_cfs_burst_seconds",
        "CPU time used above the quota, out of the burst",
        _under_quota(lambda s: s.usage.cpu.burst_ns),
        NS,
    ),
)

MEMORY: Final = (
    gauge(
        "container_memory_usage_bytes",
        "Memory in use, page cache included",
        lambda s: s.usage.memory.current_bytes,
    ),
    gauge(
        "container_memory_working_set_bytes",
        "Memory in use without inactive page cache",
        lambda s: s.usage.memory.working_set_bytes,
    ),
    gauge("container_memory_rss", "Anonymous memory in bytes", lambda s: s.usage.memory.anon_bytes),
    gauge("container_memory_cache", "Page cache in bytes", lambda s: s.usage.memory.file_bytes),
    gauge(
        "container_memory_mapped_file",
        "Mapped page cache in bytes",
        lambda s: s.usage.memory.mapped_bytes,
    ),
    gauge("container_memory_swap", "Swap in use in bytes", lambda s: s.usage.memory.swap_bytes),
    peak(
        "container_memory_max_usage_bytes",
        "Highest memory use since the start",
        lambda s: s.usage.memory.peak_bytes,
    ),
    gauge(
        "container_memory_total_active_file_bytes",
        "Page cache on the active list",
        lambda s: s.usage.memory.active_file_bytes,
    ),
    gauge(
        "container_memory_total_inactive_file_bytes",
        "Page cache on the inactive list",
        lambda s: s.usage.memory.inactive_file_bytes,
    ),
    Family(
        "unknown",
        "container_memory_failcnt",
        "How often the memory limit was hit",
        _reading(lambda s: s.usage.memory.failcnt, 1),
        lasts=True,
    ),
    counters("container_memory_failures", "Page faults", _faults, "failure_type", "scope"),
    counters(
        "cgagent_container_memory_events",
        "The kernel's memory.events; cgroup v2 only",
        _events,
        "event",
    ),
    counter(
        "container_oom_events",
        "Processes ended by the OOM killer",
        lambda s: s.usage.memory.oom_kills,
    ),
)

IO: Final = (
    counters("container_fs_reads_bytes", "Bytes read from disks", _io("rbytes"), "device"),
    counters("container_fs_writes_bytes", "Bytes written to disks", _io("wbytes"), "device"),
    counters("container_fs_reads", "Reads from disks", _io("rios"), "device"),
    counters("container_fs_writes", "Writes to disks", _io("wios"), "device"),
    counters(
        "cgagent_container_fs_discards_bytes", "Bytes discarded on disks", _io("dbytes"), "device"
    ),
    counters("cgagent_container_fs_discards", "Discards on disks", _io("dios"), "device"),
)


def _huge_pages(field: str) -> Callable[[Sample], Values]:
    def read(sample: Sample) -> Values:
        for pages in sample.usage.hugetlb or ():
            yield (pages.size,), getattr(pages, field)

    return read


HUGETLB: Final = (
    gauges(
        "container_hugetlb_usage_bytes",
        "Huge pages in use",
        _huge_pages("current_bytes"),
        "pagesize",
    ),
    Family(
        "unknown",
        "container_hugetlb_failcnt",
        "Allocations of huge pages refused by the limit",
        _huge_pages("refused"),
        ("pagesize",),
        lasts=True,
    ),
)

PIDS: Final = (
    gauge("container_threads", "Processes and threads", lambda s: s.usage.pids.current),
    gauge(
        "container_threads_max",
        "Limit on processes and threads; 0 is unlimited",
        _limit("pids_max"),
    ),
    gauge("container_processes", "Processes", lambda s: s.usage.pids.processes),
    peak(
        "cgagent_container_threads_peak",
        "Most processes and threads since the start",
        lambda s: s.usage.pids.peak,
    ),
    counter(
        "cgagent_container_forks_refused",
        "Forks refused by the limit on processes and threads",
        lambda s: s.usage.pids.refused,
    ),
)


def _network(field: str) -> Callable[[Sample], Values]:
    return lambda s: (((i.name,), getattr(i, field)) for i in s.network or ())


NETWORK: Final = tuple(
    counters(f"container_network_{field}", text, _network(field), "interface")
    for way in ("receive", "transmit")
    for field, text in (
        (f"{way}_bytes", f"Bytes {way}d"),
        (f"{way}_packets", f"Packets {way}d"),
        (f"{way}_packets_dropped", f"Packets dropped at {way}"),
        (f"{way}_errors", f"Errors at {way}"),
    )
)

PRESSURE: Final = tuple(
    counter(
        f"container_pressure_{resource}_{name}_seconds",
        f"Time in which {who} waited for {what}",
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
    gauge("container_spec_cpu_shares", "CPU weight in shares", lambda s: s.limits.shares),
    gauge(
        "container_spec_cpu_period",
        "Period of the CPU quota in microseconds",
        lambda s: s.limits.cpu_period_us,
    ),
    gauge(
        "container_spec_cpu_quota",
        "CPU quota in microseconds; absent without one",
        lambda s: _quota(s.limits),
    ),
    gauge(
        "container_spec_memory_limit_bytes",
        "Memory limit; 0 is unlimited",
        _limit("memory_max_bytes"),
    ),
    gauge(
        "container_spec_memory_swap_limit_bytes",
        "Swap limit, without memory; 0 is unlimited",
        _limit("memory_swap_max_bytes"),
    ),
    gauge(
        "container_spec_memory_reservation_limit_bytes",
        "Memory protected from reclaim; 0 is none",
        _limit("memory_low_bytes"),
    ),
    peak(
        "container_start_time_seconds",
        "When the container started, since 1970",
        lambda s: s.target.started_at_s,
    ),
    gauge(
        "cgagent_container_frozen",
        "Whether it is frozen",
        lambda s: None if s.usage.frozen is None else int(s.usage.frozen),
    ),
)

SEEN: Final = peak("container_last_seen", "When it was last sampled, since 1970", lambda s: s.at_s)

SAMPLED: Final = (*CPU, *MEMORY, *HUGETLB, *IO, *NETWORK, *PIDS, *PRESSURE, *SPEC)
"""What is read of samples' figures; `details.DETAILS` has more."""
