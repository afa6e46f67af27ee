"""Figures of two readings of a group, or of the rows that the sampler keeps of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgagent.policy.causes.figures import DeviceUse, Figures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cgagent.cgroups import DeviceIo, Memory, Pids, Psi, Usage

_DEVICE: Final = {
    "read_bytes": "rbytes",
    "write_bytes": "wbytes",
    "reads": "rios",
    "writes": "wios",
}


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


def averaged(rows: Sequence[Mapping[str, float | None]]) -> Figures:
    """Of rows with the sampler's columns: what can be told of a time that has passed."""

    def mean(column: str) -> float | None:
        known = [value for row in rows if (value := row.get(column)) is not None]
        return sum(known) / len(known) if known else None

    read, written = mean("read_bytes_per_s"), mean("write_bytes_per_s")
    return Figures(
        cpu_cores=mean("cpu_cores"),
        throttled=mean("throttled_ratio"),
        cpu_some=mean("cpu_stalled_ratio"),
        memory_some=mean("memory_stalled_ratio"),
        io_some=mean("io_stalled_ratio"),
        memory_bytes=mean("memory_bytes"),
        pids=mean("pids"),
        io={"": DeviceUse(read_bytes=read or 0.0, write_bytes=written or 0.0)},
    )


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
