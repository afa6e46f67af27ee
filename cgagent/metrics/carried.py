"""Counters of a group that was left, added to those of the group that its tasks are in now.

A group begins to count at 0. For a container that is moved to another one its figures go on from
where they were, over a restart of the agent as well: they are kept as plain values for JSON.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cgagent.cgroups import DeviceIo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgagent.cgroups import Pressure, Psi, Stall, Usage

_CPU: Final = (
    *("usage_ns", "user_ns", "system_ns", "periods", "throttled_periods", "throttled_ns"),
    *("throttled_local_ns", "bursts", "burst_ns"),
)
_MEMORY: Final = (
    *("failcnt", "pgfault", "pgmajfault", "refault_anon", "refault_file", "pgscan", "pgsteal"),
    "oom_kills",
)
_MEMORY_PEAKS: Final = ("peak_bytes", "swap_peak_bytes")
_EVENTS: Final = ("events", "events_local", "swap_events")
_PIDS: Final = ("refused", "refused_local")
_IO: Final = ("rbytes", "wbytes", "rios", "wios", "dbytes", "dios")
_RESOURCES: Final = ("cpu", "memory", "io")
_KINDS: Final = ("some", "full")


def counters(usage: Usage) -> dict[str, Any]:
    """Those of a usage as plain values."""
    return {
        "cpu": {name: getattr(usage.cpu, name) for name in _CPU},
        "memory": {name: getattr(usage.memory, name) for name in (*_MEMORY, *_MEMORY_PEAKS)},
        "events": {name: dict(getattr(usage.memory, name) or {}) for name in _EVENTS},
        "pids": {name: getattr(usage.pids, name) for name in (*_PIDS, "peak")},
        "io": {io.device: {name: getattr(io, name) for name in _IO} for io in usage.io or ()},
        "io_cost_ns": {io.device: dict(io.cost_ns) for io in usage.io or () if io.cost_ns},
        "hugetlb": {pages.size: pages.refused or 0 for pages in usage.hugetlb or ()},
        "stalled_ns": {
            f"{resource}.{kind}": stall.total_ns
            for resource in _RESOURCES
            for kind in _KINDS
            if (stall := getattr(getattr(usage.pressure, resource), kind, None)) is not None
        },
        "frozen_ns": usage.frozen_ns,
    }


def added(usage: Usage, before: Mapping[str, Any]) -> Usage:
    """The usage with the counters of before on top; what is not counted now stays so."""
    memory, frozen_ns = before["memory"], usage.frozen_ns
    return replace(
        usage,
        cpu=replace(usage.cpu, **_sums(usage.cpu, before["cpu"], _CPU)),
        memory=replace(
            usage.memory,
            **_sums(usage.memory, memory, _MEMORY),
            **_peaks(usage.memory, memory, _MEMORY_PEAKS),
            **_events(usage, before["events"]),
        ),
        pids=replace(
            usage.pids,
            **_sums(usage.pids, before["pids"], _PIDS),
            **_peaks(usage.pids, before["pids"], ("peak",)),
        ),
        io=None if usage.io is None else _io(usage.io, before["io"], before["io_cost_ns"]),
        hugetlb=usage.hugetlb
        and tuple(
            replace(pages, refused=pages.refused + before["hugetlb"].get(pages.size, 0))
            if pages.refused is not None
            else pages
            for pages in usage.hugetlb
        ),
        pressure=_pressure(usage.pressure, before["stalled_ns"]),
        frozen_ns=None if frozen_ns is None else frozen_ns + (before["frozen_ns"] or 0),
    )


def _events(usage: Usage, before: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: getattr(usage.memory, name) for name in _EVENTS}
    return {name: _summed(now, before[name]) for name, now in found.items() if now is not None}


def _sums(now: object, before: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(now, name) for name in names}
    return {name: v + (before.get(name) or 0) for name, v in values.items() if v is not None}


def _peaks(now: object, before: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(now, name) for name in names}
    return {name: max(v, before.get(name) or 0) for name, v in values.items() if v is not None}


def _summed(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: now.get(name, 0) + before.get(name, 0) for name in {**now, **before}}


def _io(
    now: tuple[DeviceIo, ...], before: Mapping[str, Any], costs: Mapping[str, Any]
) -> tuple[DeviceIo, ...]:
    by_name = {io.device: io for io in now}
    for device in before:
        by_name.setdefault(device, DeviceIo(device=device))
    return tuple(
        replace(
            io,
            **_sums(io, before.get(device, {}), _IO),
            cost_ns=_summed(io.cost_ns or {}, costs.get(device, {})) or None,
        )
        for device, io in by_name.items()
    )


def _pressure(now: Pressure, before: Mapping[str, int]) -> Pressure:
    found = {resource: getattr(now, resource) for resource in _RESOURCES}
    summed: dict[str, Any] = {
        name: _psi(name, psi, before) for name, psi in found.items() if psi is not None
    }
    return replace(now, **summed)


def _psi(resource: str, now: Psi, before: Mapping[str, int]) -> Psi:
    def stall(kind: str, one: Stall) -> Stall:
        return replace(one, total_ns=one.total_ns + before.get(f"{resource}.{kind}", 0))

    full = None if now.full is None else stall("full", now.full)
    return replace(now, some=stall("some", now.some), full=full)
