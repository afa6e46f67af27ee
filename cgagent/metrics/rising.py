"""Counters that the kernel may show lower than before, kept from falling.

On v1 the OOM kills of a group are summed over the groups below it, and go with one that is removed.
Where user and system time are known by a ratio, it may change by more than the time that has
passed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cgagent.cgroups import Cpu, Usage


class Rising:
    """Of one group, for as long as it is the same one."""

    def __init__(self) -> None:
        self._seen: Usage | None = None
        self._told: Usage | None = None
        self._kills = 0
        self._lost_kills = 0

    def of(self, usage: Usage) -> Usage:
        """The usage with no counter lower than it was; the same object for the same object."""
        if usage is self._seen and self._told is not None:
            return self._told
        self._count_kills(usage.memory.oom_kills or 0)
        told = usage
        if self._lost_kills:
            kills = self._kills + self._lost_kills
            told = replace(told, memory=replace(told.memory, oom_kills=kills))
        if self._told is not None:
            told = _not_below(self._told.cpu, told)
        self._seen, self._told = usage, told
        return told

    def _count_kills(self, kills: int) -> None:
        """Those of a group below it that has been removed are remembered."""
        self._lost_kills += max(self._kills - kills, 0)
        self._kills = kills


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
