"""What detectors look at: each figure with its options, its unit and how it is read from `Facts`.

A figure is a number, or None where it cannot be told on this host or of this target; `missing` says
why then. A yes or no is 1 or 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cgagent.cgroups import Limits, Usage
    from cgagent.policy.facts import Facts, HostFacts
    from cgagent.policy.rulesets.model import Need

    Read = Callable[[Facts], float | None]

PERCENT: Final = "percent"
BYTES: Final = "bytes"
YES: Final = "yes"
_FALLING: Final = 0.85
"""oomd's `fast_fall_ratio`: of a minute's pressure; with less in the last 10 s it falls."""
_AVERAGES: Final = {"1s": "", "10s": "avg10", "60s": "avg60", "300s": "avg300"}
_PRESSURE: Final = (
    "pressure is counted by cgroup2 alone, with PSI switched on: this host, or this group, has none"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One kind of detector."""

    what: str
    units: tuple[str, ...]
    """Those that a bound may have; the first is that of a bare number."""
    read: Callable[[Mapping[str, Any], str], Read]
    """The function for these options and this unit."""
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Options that are one of several words; the first is the default."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Options that are durations, and their defaults."""
    own: tuple[str, ...] = ()
    """Options with a form of their own, which `parse` knows."""
    below: bool = False
    """It holds where the figure is below its bound, not above."""
    missing: str = "this kernel does not count it for this target"
    of_host: bool = False
    """It is the machine's, whatever is looked at."""
    needs: Need | None = None

    @property
    def follows_sample(self) -> bool:
        """The same sample has the same figure, whenever and on whichever host it is looked at."""
        return self.needs is None and not self.of_host


def _of_usage(read: Callable[[Usage], float | None]) -> Read:
    return lambda facts: None if facts.usage is None else read(facts.usage)


def _pressure(options: Mapping[str, Any], _unit: str) -> Read:
    resource, kind, average = options["resource"], options["kind"], _AVERAGES[options["over"]]
    if not average:
        return lambda f: f.rates.stalled_percent.get(resource) if f.rates else 0.0

    def read(facts: Facts) -> float | None:
        psi = getattr(facts.pressure, resource)
        stall = getattr(psi, kind) if psi is not None else None
        return None if stall is None else float(getattr(stall, average))

    return read


def _rising(options: Mapping[str, Any], unit: str) -> Read:
    """The pressure of the last minute, or 0 while it falls."""
    now = _pressure({**options, "over": "10s"}, unit)
    long = _pressure({**options, "over": "60s"}, unit)

    def read(facts: Facts) -> float | None:
        recent, minute = now(facts), long(facts)
        if recent is None or minute is None:
            return None
        return 0.0 if recent < _FALLING * minute else minute

    return read


_MEMORY: Final[dict[str, Callable[[Usage], int | None]]] = {
    "current": lambda usage: usage.memory.current_bytes,
    "working_set": lambda usage: usage.memory.working_set_bytes,
    "anon": lambda usage: usage.memory.anon_bytes,
    "swap": lambda usage: usage.memory.swap_bytes,
}


def _memory(options: Mapping[str, Any], unit: str) -> Read:
    used = _MEMORY[options["of"]]

    def read(facts: Facts) -> float | None:
        if facts.is_host:
            found: int | None = facts.host.memory_total_bytes - facts.host.memory_available_bytes
        else:
            found = None if facts.usage is None else used(facts.usage)
        if found is None or unit == BYTES:
            return found
        return found / max(_memory_limit(facts.limits, facts), 1) * 100

    return read


def _memory_limit(limits: Limits | None, facts: Facts) -> int:
    """Its own, or what the machine has."""
    limit = limits.memory_max_bytes if limits and not facts.is_host else None
    total = facts.host.memory_total_bytes
    return min(limit, total) if isinstance(limit, int) and total else total


def _share_of_host(free: str, total: str) -> Callable[[Mapping[str, Any], str], Read]:
    def make(_options: Mapping[str, Any], unit: str) -> Read:
        def read(facts: Facts) -> float | None:
            left, whole = getattr(facts.host, free), getattr(facts.host, total)
            if unit == BYTES:
                return float(left) if whole else float("inf")
            return left / whole * 100 if whole else 100.0  # none at all cannot run out

        return read

    return make


def _pids(_options: Mapping[str, Any], unit: str) -> Read:
    def read(facts: Facts) -> float | None:
        found = facts.usage.pids.current if facts.usage else None
        if found is None or unit == "count":
            return found
        limit = facts.limits.pids_max if facts.limits else None
        return found / limit * 100 if isinstance(limit, int) and limit else 0.0

    return read


def _budget(options: Mapping[str, Any], _unit: str) -> Read:
    """The percent that is used; of several the one of which most is, and 0 where there is none."""
    resource = options["resource"]

    def read(facts: Facts) -> float | None:
        used = facts.budgets
        return max(used.values(), default=0.0) if resource == "any" else used.get(resource, 0.0)

    return read


def _reclaiming(options: Mapping[str, Any], _unit: str) -> Read:
    within_s = options["within"]

    def read(facts: Facts) -> float | None:
        scan = facts.trend.pgscan
        return None if scan is None else float(facts.at_s - scan[1] <= within_s)

    return read


def _rate(name: str) -> Callable[[Mapping[str, Any], str], Read]:
    return lambda _options, _unit: lambda facts: getattr(facts.rates, name) if facts.rates else 0.0


def io_bytes_per_s(facts: Facts) -> float | None:
    rates = facts.rates
    if rates is None:
        return 0.0
    read, written = rates.read_bytes_per_s, rates.write_bytes_per_s
    return None if read is None and written is None else (read or 0) + (written or 0)


def cpu_cores(facts: Facts) -> float | None:
    rates = facts.rates
    if rates is None:
        return 0.0
    return None if rates.cpu_percent is None else rates.cpu_percent / 100


def _network_bits_per_s(facts: Facts) -> float | None:
    if not facts.has_network:
        return None
    rates = facts.rates
    if rates is None:
        return 0.0
    return ((rates.receive_bytes_per_s or 0) + (rates.transmit_bytes_per_s or 0)) * 8


def _idle(options: Mapping[str, Any], _unit: str) -> Read:
    most = options["cpu"] / 100

    def read(facts: Facts) -> float | None:
        used = cpu_cores(facts)
        if used is None:
            return None
        if facts.rates is None:
            return 0.0  # it has just begun: nothing is known of what it does
        moved = (io_bytes_per_s(facts) or 0) + (_network_bits_per_s(facts) or 0)
        return float(used < most and not moved)

    return read


def _scheduled(options: Mapping[str, Any], _unit: str) -> Read:
    begins, ends = options["during"]
    days = options["days"]

    def read(facts: Facts) -> float:
        minute, day = facts.host.minute_of_day, facts.host.weekday
        if begins < ends:  # the same twice: a whole day from then on
            return float(begins <= minute < ends and day in days)
        if minute >= begins:
            return float(day in days)
        return float(minute < ends and (day - 1) % 7 in days)  # of the night that began yesterday

    return read


_PSI: Final = {
    "resource": ("memory", "cpu", "io"),
    "kind": ("full", "some"),
    "over": ("10s", "1s", "60s", "300s"),
}
FIGURES: Final[Mapping[str, Figure]] = {
    "pressure_above": Figure(
        what="pressure", units=(PERCENT,), choices=_PSI, read=_pressure, missing=_PRESSURE
    ),
    "pressure_rising": Figure(
        what="pressure of a minute, not falling",
        units=(PERCENT,),
        choices={name: _PSI[name] for name in ("resource", "kind")},
        read=_rising,
        missing=_PRESSURE,
    ),
    "memory_above": Figure(
        what="memory",
        units=(BYTES, PERCENT),
        choices={"of": ("current", "working_set", "anon", "swap")},
        read=_memory,
    ),
    "memory_free_below": Figure(
        what="memory of the host that can be had",
        units=(PERCENT, BYTES),
        below=True,
        of_host=True,
        read=_share_of_host("memory_available_bytes", "memory_total_bytes"),
    ),
    "swap_free_below": Figure(
        what="free swap of the host",
        units=(PERCENT, BYTES),
        below=True,
        of_host=True,
        read=_share_of_host("swap_free_bytes", "swap_total_bytes"),
    ),
    "reclaiming": Figure(
        what="reclaim has looked at pages",
        units=(YES,),
        seconds={"within": 10.0},
        read=_reclaiming,
        needs="trend",
        missing="pages that reclaim looks at are counted by cgroup v2's memory controller alone",
    ),
    "reclaim_above": Figure(
        what="pages a second that reclaim looks at",
        units=("pages/s",),
        read=lambda _o, _u: lambda facts: facts.trend.pgscan[0] if facts.trend.pgscan else None,
        needs="trend",
        missing="pages that reclaim looks at are counted by cgroup v2's memory controller alone",
    ),
    "throttled_above": Figure(
        what="throttled periods",
        units=(PERCENT,),
        read=lambda _o, _u: (
            lambda facts: (facts.rates.throttled_percent or 0.0) if facts.rates else 0.0
        ),
    ),
    "cpu_above": Figure(what="CPU", units=("cores",), read=lambda _o, _u: cpu_cores),
    "io_above": Figure(
        what="bytes a second read and written",
        units=(BYTES,),
        read=lambda _o, _u: io_bytes_per_s,
        missing="this kernel does not count IO for this target",
    ),
    "io_latency_above": Figure(
        what="time of an operation on the host's slowest device",
        units=("ms",),
        of_host=True,
        read=lambda _o, _u: lambda facts: facts.host.io_latency_ms,
        needs="io_latency",
        missing="/proc/diskstats has no device with operations so far",
    ),
    "dying_above": Figure(
        what="dying groups below it",
        units=("count",),
        read=lambda _o, _u: _of_usage(lambda u: u.descendants.dying if u.descendants else None),
        missing="dying groups are counted by cgroup2 alone",
    ),
    "pids_above": Figure(what="tasks", units=("count", PERCENT), read=_pids),
    "network_above": Figure(
        what="bits a second received and sent",
        units=("bits/s",),
        read=lambda _o, _u: _network_bits_per_s,
        missing="it has no network of its own",
    ),
    "major_faults_above": Figure(
        what="major faults a second", units=("faults/s",), read=_rate("major_faults_per_s")
    ),
    "budget_above": Figure(
        what="budget",
        units=(PERCENT,),
        read=_budget,
        needs="budgets",
        choices={"resource": ("any", "cpu", "io", "net")},
    ),
    "idle": Figure(
        what="idle", units=(YES,), read=_idle, own=("cpu",), missing="its CPU is not counted"
    ),
    "schedule": Figure(
        what="it is time", units=(YES,), read=_scheduled, own=("during", "days"), of_host=True
    ),
}


def most(name: str) -> Read:
    """The figure by which victims are ranked; the unit is bytes, percent, pages/s or cores."""
    return _MOST[name]


def _growth(facts: Facts) -> float | None:
    """As oomd's: how many times its average the group has now."""
    used = facts.usage.memory.current_bytes if facts.usage else None
    average = facts.trend.average_bytes
    return None if used is None or not average else used / average


_MOST: Final[Mapping[str, Read]] = {
    "memory": _of_usage(lambda usage: usage.memory.current_bytes),
    "growth": _growth,
    "pressure": _pressure({"resource": "memory", "kind": "full", "over": "10s"}, PERCENT),
    "swap": _of_usage(lambda usage: usage.memory.swap_bytes),
    "io": io_bytes_per_s,
    "reclaim": lambda facts: facts.trend.pgscan[0] if facts.trend.pgscan else None,
    "cpu": cpu_cores,
}
MOST_UNITS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("memory", "swap", "io"), BYTES),
    "growth": "times",
    "pressure": PERCENT,
    "reclaim": "pages/s",
    "cpu": "cores",
}
MOST_NEEDS: Final[Mapping[str, Need]] = {"growth": "trend", "reclaim": "trend"}
MOST_OF_HOST: Final[Mapping[str, Callable[[HostFacts], int]]] = {
    "memory": lambda host: host.memory_total_bytes,
    "swap": lambda host: host.swap_total_bytes,
}
"""What the host has of these figures: a least may be a part of it."""


def shown(value: float | None, unit: str) -> str:
    """A figure as people read it."""
    from cgagent.units import show_size

    if value is None:
        return "unknown"
    if unit == YES:
        return "yes" if value else "no"
    if math.isinf(value):
        return "is none at all"  # which cannot run out
    if unit == BYTES:
        return show_size(value)
    return f"{value:.4g}{'%' if unit == PERCENT else f' {unit}'}"
