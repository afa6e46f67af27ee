"""What two samples of one target say together. Pure functions.

None where it cannot be said: the container was restarted in between, the kernel does not
count it, or no time has passed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cgagent.cgroups import DeviceIo, Usage
    from cgagent.metrics.network import Interface
    from cgagent.metrics.samples import Sample

_SHORTEST_S: Final = 0.1
_LOAD_S: Final = 10.0
_LEAST_LOAD: Final = 1e-4
"""Less is none."""


_SLOW: Final[dict[str, Callable[[Usage], int | None]]] = {
    "read_bytes_per_s": lambda usage: _total(usage.io, "rbytes"),
    "write_bytes_per_s": lambda usage: _total(usage.io, "wbytes"),
    "reads_per_s": lambda usage: _total(usage.io, "rios"),
    "writes_per_s": lambda usage: _total(usage.io, "wios"),
    "major_faults_per_s": lambda usage: usage.memory.pgmajfault,
}
_TRAFFIC: Final = ("receive_bytes_per_s", "transmit_bytes_per_s")
_NONE: Final[dict[str, Any]] = dict.fromkeys((*_SLOW, *_TRAFFIC))
_KEPT: Final = (*_NONE, "devices")


@dataclass(frozen=True, slots=True)
class DeviceRates:
    """Of one block device."""

    read_bytes_per_s: float
    write_bytes_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Over the time between two samples; of IO, faults and the network between two full ones."""

    interval_s: float
    cpu_percent: float | None
    """Of one CPU: two busy CPUs are 200."""
    throttled_percent: float | None
    """Enforcement periods that ended throttled, of all in which a task could run."""
    read_bytes_per_s: float | None
    write_bytes_per_s: float | None
    reads_per_s: float | None
    writes_per_s: float | None
    major_faults_per_s: float | None
    stalled_percent: dict[str, float | None]
    """Of the time in which some task waited for cpu, memory or io."""
    receive_bytes_per_s: float | None = None
    """On all interfaces of its own network namespace, as `transmit_bytes_per_s`."""
    transmit_bytes_per_s: float | None = None
    devices: Mapping[str, DeviceRates] = field(default_factory=dict)
    """Of each block device that it uses, by "MAJOR:MINOR"."""

    @property
    def has_traffic(self) -> bool:
        """Something was received or sent."""
        return bool(self.receive_bytes_per_s or self.transmit_bytes_per_s)

    @property
    def are_none(self) -> bool:
        """Nothing ran, was read or written, or waited; what is received needs no task to run."""
        slow = (getattr(self, name) for name in _SLOW)
        counted = self.cpu_percent, self.throttled_percent, *self.stalled_percent.values()
        return not any(counted) and not any(slow)


def between(earlier: Sample, later: Sample, last: Rates | None = None) -> Rates | None:
    """The rates from one sample to a later one of the same run of the same container.

    `last` are those up to `earlier`: what has not been read since is as it was there.
    Over a few milliseconds they would say more of the kernel's clock tick than of the container.
    """
    interval_s = (later.monotonic_ns - earlier.monotonic_ns) / 1e9
    if interval_s <= 0 or earlier.target.started_at_s != later.target.started_at_s:
        return None
    if interval_s < _SHORTEST_S:
        return last
    if later.usage is earlier.usage and last is not None and last.are_none:
        return _at_rest(earlier, later, last)
    old, new = earlier.usage, later.usage

    def per_cent_of_time(before_ns: int | None, after_ns: int | None) -> float | None:
        grown = _grown(before_ns, after_ns)
        return None if grown is None else grown / interval_s / 1e9 * 100

    return Rates(
        interval_s=interval_s,
        cpu_percent=per_cent_of_time(old.cpu.usage_ns, new.cpu.usage_ns),
        throttled_percent=_percent(
            _grown(old.cpu.throttled_periods, new.cpu.throttled_periods),
            _grown(old.cpu.periods, new.cpu.periods),
        ),
        **_slow(earlier, later, last),
        stalled_percent={
            resource: per_cent_of_time(_stalled_ns(earlier, resource), _stalled_ns(later, resource))
            for resource in ("cpu", "memory", "io")
        },
    )


def _at_rest(earlier: Sample, later: Sample, last: Rates) -> Rates:
    """Nothing has run, and had not before; but something may have been received."""
    interval_s = (later.full_ns - earlier.full_ns) / 1e9
    is_quiet = later.network == earlier.network and not last.has_traffic
    if interval_s <= 0 or is_quiet:
        return last
    return replace(last, **_traffic(earlier.network, later.network, interval_s))


def _slow(earlier: Sample, later: Sample, last: Rates | None) -> dict[str, Any]:
    interval_s = (later.full_ns - earlier.full_ns) / 1e9
    if interval_s <= 0:
        return _NONE if last is None else {name: getattr(last, name) for name in _KEPT}
    grown = {name: _grown(read(earlier.usage), read(later.usage)) for name, read in _SLOW.items()}
    return {
        **{name: None if n is None else n / interval_s for name, n in grown.items()},
        **_traffic(earlier.network, later.network, interval_s),
        "devices": _devices(earlier.usage.io or (), later.usage.io or (), interval_s),
    }


def _traffic(
    before: Iterable[Interface] | None, after: Iterable[Interface] | None, interval_s: float
) -> dict[str, Any]:
    """Of the interfaces that are there now; a new one has counted from 0."""
    if before is None or after is None:
        return dict.fromkeys(_TRAFFIC)
    old = {one.name: one for one in before}
    received = sent = 0
    for one in after:
        known = old.get(one.name)
        received += _grown(known.receive_bytes if known else 0, one.receive_bytes) or 0
        sent += _grown(known.transmit_bytes if known else 0, one.transmit_bytes) or 0
    return dict(zip(_TRAFFIC, (received / interval_s, sent / interval_s), strict=True))


def _devices(
    before: Iterable[DeviceIo], after: Iterable[DeviceIo], interval_s: float
) -> dict[str, DeviceRates]:
    """Of each device that counts; a new one has counted from 0."""
    old = {one.device: one for one in before}
    found = {}
    for one in after:
        known = old.get(one.device)
        read = _grown(known.rbytes if known else 0, one.rbytes)
        written = _grown(known.wbytes if known else 0, one.wbytes)
        if read is not None and written is not None:
            found[one.device] = DeviceRates(read / interval_s, written / interval_s)
    return found


def load(before: float, rates: Rates | None, interval_s: float) -> float:
    """Tasks that run or wait for a CPU, averaged over about 10 s, an interval after `before`.

    The kernel counts no tasks that wait in a group, only the time in which some do: all of them
    are one here. So it is the least that it can have been.
    """
    if rates is None:  # another run
        return 0.0
    now = ((rates.cpu_percent or 0.0) + (rates.stalled_percent["cpu"] or 0.0)) / 100
    if not before and not now:
        return 0.0
    kept = math.exp(-interval_s / _LOAD_S)
    after = before * kept + now * (1 - kept)
    return after if after >= _LEAST_LOAD else 0.0


def _grown(before: int | None, after: int | None) -> int | None:
    """None for a counter that went back: it belongs to another group."""
    if before is None or after is None or after < before:
        return None
    return after - before


def _percent(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else part / whole * 100


def _total(devices: Iterable[DeviceIo] | None, field: str) -> int | None:
    return None if devices is None else sum(getattr(device, field) for device in devices)


def _stalled_ns(sample: Sample, resource: str) -> int | None:
    psi = getattr(sample.usage.pressure, resource)
    return None if psi is None else psi.some.total_ns
