"""Counters that the kernel may show lower than before, kept from falling.

On v1 the OOM kills of a group are summed over the groups below it, and go with one that is removed;
so does what the groups below it read and wrote, which the kernel sums (6.18).
Where user and system time are known by a ratio, it may change by more than the time that has
passed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import DeviceIo
from cgagent.metrics import carried

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cgagent.cgroups import Cpu, Usage

_IO: Final = ("rbytes", "wbytes", "rios", "wios", "dbytes", "dios")


class Rising:
    """Of one group, for as long as it is the same one."""

    def __init__(self, before: Mapping[str, Any] | None = None) -> None:
        """`before` has the counters of groups that its tasks were in earlier."""
        self._before = before
        self._seen: Usage | None = None
        self._told: Usage | None = None
        self._kills = 0
        self._lost_kills = 0
        self._io: dict[str, DeviceIo] = {}
        self._lost_io: dict[str, DeviceIo] = {}

    def of(self, usage: Usage) -> Usage:
        """The usage with no counter lower than it was; the same object for the same object."""
        if usage is self._seen and self._told is not None:
            return self._told
        self._count_kills(usage.memory.oom_kills or 0)
        told = usage
        if self._lost_kills:
            kills = self._kills + self._lost_kills
            told = replace(told, memory=replace(told.memory, oom_kills=kills))
        if self._seen is None or usage.io is not self._seen.io:
            self._count_io(usage.io or ())
        if self._lost_io:
            told = replace(told, io=self._whole_io())
        if self._before is not None:
            told = carried.added(told, self._before)
        if self._told is not None:
            told = _not_below(self._told.cpu, told)
        self._seen, self._told = usage, told
        return told

    def _count_kills(self, kills: int) -> None:
        """Those of a group below it that has been removed are remembered."""
        self._lost_kills += max(self._kills - kills, 0)
        self._kills = kills

    def _count_io(self, devices: Iterable[DeviceIo]) -> None:
        """Of a group below it that has been removed it is remembered."""
        now = {device.device: device for device in devices}
        for name, before in self._io.items():
            left = _difference(before, now.get(name, DeviceIo(device=name)))
            if left != DeviceIo(device=name):
                self._lost_io[name] = _sum(self._lost_io.get(name, DeviceIo(device=name)), left)
        self._io = now

    def _whole_io(self) -> tuple[DeviceIo, ...]:
        names = dict.fromkeys((*self._io, *self._lost_io))
        nothing = {name: DeviceIo(device=name) for name in names}
        return tuple(
            _sum(self._io.get(name, nothing[name]), self._lost_io.get(name, nothing[name]))
            for name in names
        )


def _difference(before: DeviceIo, now: DeviceIo) -> DeviceIo:
    """By how much each count fell."""
    fell = {name: max(getattr(before, name) - getattr(now, name), 0) for name in _IO}
    return DeviceIo(device=now.device, **fell)


def _sum(one: DeviceIo, other: DeviceIo) -> DeviceIo:
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in _IO})


def _not_below(before: Cpu, usage: Usage) -> Usage:
    cpu = usage.cpu
    user_ns, system_ns = (
        _larger(before.user_ns, cpu.user_ns),
        _larger(before.system_ns, cpu.system_ns),
    )
    if user_ns == cpu.user_ns and system_ns == cpu.system_ns:
        return usage
    return replace(usage, cpu=replace(cpu, user_ns=user_ns, system_ns=system_ns))


def _larger(before: int | None, now: int | None) -> int | None:
    return now if before is None or now is None else max(before, now)
