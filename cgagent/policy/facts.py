"""What is known of a target at one moment: plain values that decisions are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import Pressure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgagent.cgroups import Limits, Usage
    from cgagent.metrics import Rates, Sample

_AVERAGE_S: Final = 20.0
"""oomd's average of a group's size: a quarter of what is new each 5 seconds."""
_NONE: Final = Pressure()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """The machine at one moment."""

    memory_total_bytes: int = 0
    memory_available_bytes: int = 0
    swap_total_bytes: int = 0
    swap_free_bytes: int = 0
    cpus: int = 1
    cpu_list: str = "0"
    """Those that are online, such as "0-3"."""
    pressure: Pressure = _NONE
    """Of /proc/pressure."""
    io_latency_ms: float | None = None
    """How long an operation takes on the slowest block device; None: not known."""
    minute_of_day: int = 0
    weekday: int = 0
    """0 is Monday; both are local time."""


class Trend:
    """What one sample does not say: how fast counters of a target grow, and how fast it does."""

    __slots__ = ("_at_s", "_full_ns", "_scanned", "average_bytes", "pgscan")

    def __init__(self) -> None:
        self.average_bytes: float | None = None
        """Of memory in use, moving."""
        self.pgscan: tuple[float, float] | None = None
        """Pages a second that reclaim looks at, and when it last looked at one."""
        self._at_s = 0.0
        self._full_ns = 0
        self._scanned: int | None = None

    def add(self, sample: Sample, at_s: float) -> None:
        """The next sample of the target, at a time of the monotonic clock."""
        used = sample.usage.memory.current_bytes
        if used is not None:
            weight = 1 - math.exp(-(at_s - self._at_s) / _AVERAGE_S)
            before = self.average_bytes
            self.average_bytes = used if before is None else before + (used - before) * weight
        self._at_s = at_s
        if sample.full_ns != self._full_ns:
            self._add_full(sample, at_s)

    def _add_full(self, sample: Sample, at_s: float) -> None:
        passed_s = (sample.full_ns - self._full_ns) / 1e9
        before, self._scanned = self._scanned, sample.usage.memory.pgscan
        self._full_ns = sample.full_ns
        last_s = self.pgscan[1] if self.pgscan else -math.inf
        grown = _grown(before, self._scanned)
        if self._scanned is None:
            self.pgscan = None
        else:
            self.pgscan = (grown or 0) / passed_s, at_s if grown else last_s


@dataclass(slots=True, kw_only=True)
class Facts:
    """Of one target. `usage` is None for the host itself, where it has no root group to read."""

    at_s: float
    host: HostFacts
    usage: Usage | None = None
    rates: Rates | None = None
    limits: Limits | None = None
    has_network: bool = False
    """Whether it has a network namespace of its own."""
    trend: Trend = field(default_factory=Trend)
    is_host: bool = False
    budgets: Mapping[str, float] = field(default_factory=dict)
    """Percent that is used of each of its budgets, by resource."""

    @property
    def pressure(self) -> Pressure:
        if self.is_host:
            return self.host.pressure
        return self.usage.pressure if self.usage else _NONE


def _grown(before: int | None, after: int | None) -> int | None:
    """None: it is not known, or another group's."""
    return None if before is None or after is None or after < before else after - before
