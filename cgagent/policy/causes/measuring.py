"""Figures of two readings of a group, or of the rows that the sampler keeps of it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from cgagent.policy.causes.figures import DeviceUse, Disk, Figures, Machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cgagent.cgroups import DeviceIo, Memory, Pids, Psi, Usage
    from cgagent.metrics import CpuTime, HostLoad

_DEVICE: Final = {
    "read_bytes": "rbytes",
    "write_bytes": "wbytes",
    "reads": "rios",
    "writes": "wios",
}
_LONGEST_ROW_S: Final = 60.0
"""A row after a gap says nothing of the gap."""


def between(earlier: Usage, later: Usage, span_s: float, run_delay: float | None = None) -> Figures:
    """From one reading to another of the same group, `span_s` apart."""
    old, new = earlier, later
    span_ns = span_s * 1e9
    return Figures(
        cpu_cores=_share(_grown(old.cpu.usage_ns, new.cpu.usage_ns), span_ns),
        throttled=_share(_grown(old.cpu.throttled_ns, new.cpu.throttled_ns), span_ns),
        periods=_grown(old.cpu.periods, new.cpu.periods),
        throttled_periods=_grown(old.cpu.throttled_periods, new.cpu.throttled_periods),
        cpu_some=_stalled(old.pressure.cpu, new.pressure.cpu, span_ns),
        run_delay=run_delay,
        memory_some=_stalled(old.pressure.memory, new.pressure.memory, span_ns),
        memory_full=_stalled(old.pressure.memory, new.pressure.memory, span_ns, full=True),
        io_some=_stalled(old.pressure.io, new.pressure.io, span_ns),
        io_full=_stalled(old.pressure.io, new.pressure.io, span_ns, full=True),
        memory_bytes=new.memory.current_bytes,
        swap_bytes=new.memory.swap_bytes,
        high_hits=_grown(_event(old.memory, "high"), _event(new.memory, "high")),
        max_hits=_grown(_max_hits(old.memory), _max_hits(new.memory)),
        refault_anon=_grown(old.memory.refault_anon, new.memory.refault_anon),
        refault_file=_grown(old.memory.refault_file, new.memory.refault_file),
        scanned=_grown(old.memory.pgscan, new.memory.pgscan),
        oom_kills=_grown(old.memory.oom_kills, new.memory.oom_kills),
        pids=new.pids.current,
        forks_refused=_grown(_refused(old.pids), _refused(new.pids)),
        hugetlb_refused=_grown(_huge(old), _huge(new)),
        io=_devices(old.io or (), new.io or (), span_s),
    )


def averaged(kept: Mapping[str, Sequence[float | None]]) -> Figures:
    """Of the sampler's columns: what can be told of a time that has passed.

    A row counts for the time since the one before: of the last minutes there are more rows.
    """
    times = [at_s or 0.0 for at_s in kept.get("at_s", ())]
    spans = [
        min(max(at_s - before, 0.0), _LONGEST_ROW_S) for before, at_s in itertools.pairwise(times)
    ]
    spans = [*(spans[:1] or [1.0]), *spans]

    def mean(column: str) -> float | None:
        rows = zip(kept.get(column, ()), spans, strict=False)
        known = [(value, span_s) for value, span_s in rows if value is not None]
        whole_s = sum(span_s for _, span_s in known)
        return sum(value * span_s for value, span_s in known) / whole_s if whole_s else None

    read, written = mean("read_bytes_per_s"), mean("write_bytes_per_s")
    used = DeviceUse(read_bytes=read or 0.0, write_bytes=written or 0.0)
    return Figures(
        cpu_cores=mean("cpu_cores"),
        throttled=mean("throttled_ratio"),
        cpu_some=mean("cpu_stalled_ratio"),
        memory_some=mean("memory_stalled_ratio"),
        io_some=mean("io_stalled_ratio"),
        memory_bytes=mean("memory_bytes"),
        pids=mean("pids"),
        io={"": used} if used.bytes else {},
    )


def machine(earlier: HostLoad, later: HostLoad) -> Machine:
    """The machine from one reading to another."""
    span_s = max((later.monotonic_ns - earlier.monotonic_ns) / 1e9, 1e-3)

    def a_second(name: str) -> float | None:
        grown = _grown(getattr(earlier, name), getattr(later, name))
        return None if grown is None else grown / span_s

    def stalled(resource: str) -> float | None:
        before, after = earlier.stalled_us.get(resource), later.stalled_us.get(resource)
        return _share(_grown(before, after), span_s * 1e6)

    passed = {
        number: (earlier.cpus[number], now)
        for number, now in later.cpus.items()
        if number in earlier.cpus
    }
    return Machine(
        cpus={number: _busy(*times) for number, times in passed.items()},
        cores=len(later.cpus) or 1,
        steal=sum(_stolen(*times) for times in passed.values()),
        running=later.running,
        load=later.load1,
        cpu_some=stalled("cpu"),
        memory_some=stalled("memory"),
        io_some=stalled("io"),
        memory_bytes=later.memory_bytes,
        available_bytes=later.available_bytes,
        swapped_in=a_second("swapped_in"),
        swapped_out=a_second("swapped_out"),
        disks=_disks(earlier, later, span_s),
    )


def _busy(before: CpuTime, after: CpuTime) -> float:
    """What the hypervisor took is no idle time either."""
    idle, passed = after.idle - before.idle, sum(after) - sum(before)
    return 1 - min(max(idle / passed, 0.0), 1.0) if passed > 0 else 0.0


def _stolen(before: CpuTime, after: CpuTime) -> float:
    passed = sum(after) - sum(before)
    return max(after.steal - before.steal, 0) / passed if passed > 0 else 0.0


def _disks(earlier: HostLoad, later: HostLoad, span_s: float) -> dict[str, Disk]:
    found = {}
    for device, now in later.disks.items():
        before = earlier.disks.get(device)
        done = now.operations - (before.operations if before else 0)
        busy_ms = now.busy_ms - (before.busy_ms if before else 0)
        waited_ms = now.waited_ms - (before.waited_ms if before else 0)
        found[device] = Disk(
            name=now.name,
            busy=min(max(busy_ms / 1000 / span_s, 0.0), 1.0),
            latency_ms=waited_ms / done if done > 0 else None,
            bytes=max(now.bytes - (before.bytes if before else 0), 0) / span_s,
        )
    return found


def _grown(before: int | None, after: int | None) -> int | None:
    """None for a counter that went back: it belongs to another group of the same name."""
    return None if before is None or after is None or after < before else after - before


def _share(grown: int | None, span_ns: float) -> float | None:
    return None if grown is None else grown / span_ns


def _stalled(
    before: Psi | None, after: Psi | None, span_ns: float, *, full: bool = False
) -> float | None:
    old, new = ((psi.full if full else psi.some) if psi else None for psi in (before, after))
    if old is None or new is None:
        return None
    share = _share(_grown(old.total_ns, new.total_ns), span_ns)
    return None if share is None else min(share, 1.0)


def _event(memory: Memory, name: str) -> int | None:
    """Of the group's own limit; before Linux 5.2 the groups below it are part of it."""
    events = memory.events if memory.events_local is None else memory.events_local
    return None if events is None else events.get(name)


def _max_hits(memory: Memory) -> int | None:
    """v1 has no events, and counts in failcnt."""
    return memory.failcnt if memory.events is None else _event(memory, "max")


def _refused(pids: Pids) -> int | None:
    return pids.refused if pids.refused_local is None else pids.refused_local


def _huge(usage: Usage) -> int | None:
    counts = [pages.refused for pages in usage.hugetlb or () if pages.refused is not None]
    return sum(counts) if counts else None


def _devices(
    before: Sequence[DeviceIo], after: Sequence[DeviceIo], span_s: float
) -> dict[str, DeviceUse]:
    known = {one.device: one for one in before}

    def use(one: DeviceIo) -> DeviceUse:
        old = known.get(one.device)
        rates = {
            name: max(getattr(one, field) - getattr(old, field, 0), 0) / span_s
            for name, field in _DEVICE.items()
        }
        return DeviceUse(**rates)

    found = {one.device: use(one) for one in after}
    return {device: used for device, used in found.items() if used.bytes or used.operations}
