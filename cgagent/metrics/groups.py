"""The metrics of groups of containers: what is in one, what it may have, and what it uses.

Figures are of all containers in a group, and of those in the groups in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from cgagent.metrics.families import NS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cgagent.metrics.samples import BudgetUse, Reclaimed, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStanding:
    """What the engine knows of a group of containers."""

    name: str
    containers: int
    running: int
    max_containers: int | None
    frozen: bool
    sample: Sample | None
    """The last one; None: it has not been sampled so far."""
    budgets: tuple[BudgetUse, ...] = ()
    reclaimed: Reclaimed | None = None


def _io(field: str) -> Callable[[Sample], float | None]:
    def read(sample: Sample) -> float | None:
        return None if sample.usage.io is None else sum(getattr(d, field) for d in sample.usage.io)

    return read


def _seconds(ns: float | None) -> float | None:
    return None if ns is None else ns / NS


def _number(value: object) -> float | None:
    return value if isinstance(value, int) else None


def _cpu_limit(sample: Sample) -> float | None:
    quota, period = sample.limits.cpu_quota_us, sample.limits.cpu_period_us
    return quota / period if isinstance(quota, int) and period else None


_STANDING: Final[tuple[tuple[str, str, Callable[[GroupStanding], float | None]], ...]] = (
    ("containers", "Containers in it (cgagent's record)", lambda g: g.containers),
    ("containers_running", "Containers in it that run (cgagent's record)", lambda g: g.running),
    (
        "containers_limit",
        "How many containers there may be in it; no series without a quota (cgagent's record)",
        lambda g: g.max_containers,
    ),
    ("frozen", "1 while it is frozen as a whole, else 0 (cgagent's record)", lambda g: g.frozen),
)
_GAUGES: Final[tuple[tuple[str, str, Callable[[Sample], float | None]], ...]] = (
    (
        "memory_usage_bytes",
        "Memory in use, in bytes (memory.usage_in_bytes; memory.current)",
        lambda s: s.usage.memory.current_bytes,
    ),
    (
        "memory_working_set_bytes",
        "Memory in use without inactive page cache, in bytes (memory.stat)",
        lambda s: s.usage.memory.working_set_bytes,
    ),
    (
        "memory_limit_bytes",
        "Memory limit, in bytes; no series without one (memory.limit_in_bytes; memory.max)",
        lambda s: _number(s.limits.memory_max_bytes),
    ),
    ("pids", "Tasks: processes and threads (pids.current)", lambda s: s.usage.pids.current),
    (
        "cpu_limit_cores",
        "CPU quota in CPUs; no series without one (cpu.cfs_quota_us; cpu.max)",
        _cpu_limit,
    ),
)
_COUNTERS: Final[tuple[tuple[str, str, Callable[[Sample], float | None]], ...]] = (
    (
        "cpu_usage_seconds",
        "CPU time, in seconds (cpuacct.usage; cpu.stat)",
        lambda s: _seconds(s.usage.cpu.usage_ns),
    ),
    (
        "cpu_throttled_seconds",
        "Time throttled by its own quota, in seconds (cpu.stat)",
        lambda s: _seconds(s.usage.cpu.throttled_ns),
    ),
    (
        "oom_kills",
        "Processes that the OOM killer has ended (memory.oom_control; memory.events)",
        lambda s: s.usage.memory.oom_kills,
    ),
    ("io_read_bytes", "Bytes read from all devices (blkio.throttle; io.stat)", _io("rbytes")),
    ("io_written_bytes", "Bytes written to all devices (blkio.throttle; io.stat)", _io("wbytes")),
)


_BUDGETS: Final = (
    (
        "budget_used_ratio",
        "Part of a budget that is used in this window; no series without one (cgagent's policy)",
        "used_ratio",
    ),
    (
        "budget_ends_seconds",
        "When the next window of a budget begins, in seconds since 1970 (cgagent's policy)",
        "ends_s",
    ),
    (
        "budget_acted",
        "1 if a budget is spent and its action in force, else 0 (cgagent's policy)",
        "is_acted_on",
    ),
)


def families(groups: Iterable[GroupStanding]) -> Iterator[Metric]:
    """None where there are no groups."""
    found = list(groups)
    if not found:
        return
    for name, text, read in _STANDING:
        yield _gauge(name, text, [(group.name, read(group)) for group in found])
    sampled = [(group.name, group.sample) for group in found if group.sample is not None]
    for name, text, value in _GAUGES:
        yield _gauge(name, text, [(group, value(sample)) for group, sample in sampled])
    for name, text, value in _COUNTERS:
        counter = CounterMetricFamily(f"cgagent_group_{name}", text, labels=("group",))
        for group, sample in sampled:
            if (number := value(sample)) is not None:
                counter.add_metric((group,), number)
        yield counter
    yield _reclaimed(found)
    for name, text, field in _BUDGETS:
        yield _budgets(name, text, field, found)


def _reclaimed(groups: Iterable[GroupStanding]) -> Metric:
    counter = CounterMetricFamily(
        "cgagent_group_reclaimed_bytes",
        "Memory that was taken back from it as a whole, in bytes; no series without --reclaim "
        "(memory.force_empty; memory.reclaim)",
        labels=("group",),
    )
    for group in groups:
        if group.reclaimed is not None:
            counter.add_metric((group.name,), group.reclaimed.bytes)
    return counter


def _budgets(name: str, text: str, field: str, groups: Iterable[GroupStanding]) -> Metric:
    gauge = GaugeMetricFamily(f"cgagent_group_{name}", text, labels=("group", "resource"))
    for group in groups:
        for use in group.budgets:
            gauge.add_metric((group.name, use.resource), float(getattr(use, field)))
    return gauge


def _gauge(name: str, text: str, values: Iterable[tuple[str, float | None]]) -> Metric:
    gauge = GaugeMetricFamily(f"cgagent_group_{name}", text, labels=("group",))
    for group, number in values:
        if number is not None:
            gauge.add_metric((group,), number)
    return gauge
