"""The memory controller: caps, protection, swap; their v1 and v2 spellings.

v1 limits memory and memory + swap (memsw); the model, like v2, memory and swap. Sources:
Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, ClassVar, Final

from cgagent.cgroups import amount, files
from cgagent.cgroups.amount import UNLIMITED, Unlimited
from cgagent.cgroups.changes import Write, missing, refuse
from cgagent.cgroups.hierarchy import with_subgroups
from cgagent.cgroups.limits import Limits
from cgagent.cgroups.usage import Memory
from cgagent.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

FIELDS: Final = frozenset(
    {
        "memory_max_bytes",
        "memory_high_bytes",
        "memory_low_bytes",
        "memory_min_bytes",
        "memory_swap_max_bytes",
        "memory_zswap_max_bytes",
        "memory_swappiness",
        "oom_group",
        "oom_kill_disable",
    }
)

_ONLY_V2: Final = {
    "memory_high_bytes": "memory.high",
    "memory_min_bytes": "memory.min",
    "memory_zswap_max_bytes": "memory.zswap.max",
    "oom_group": "memory.oom.group",
}
_ONLY_V1: Final = {
    "memory_swappiness": (
        "memory.swappiness",
        "in cgroup v2: use memory_swap_max_bytes to bound swapping",
    ),
    "oom_kill_disable": (
        "memory.oom_control",
        "in cgroup v2, which always kills: use memory_high_bytes to slow down instead",
    ),
}
_MARGIN_SHIFT: Final = 6
_MIN_MARGIN_BYTES: Final = 256 << 10


_STAT_V1: Final = files.Keys(
    "total_cache",
    "total_rss",
    "total_mapped_file",
    "total_swap",
    "total_inactive_file",
    "total_active_file",
    "total_pgfault",
    "total_pgmajfault",
    "total_dirty",
    "total_writeback",
    "total_workingset_refault_anon",
    "total_workingset_refault_file",
)
_STAT_V2: Final = files.Keys(
    "anon",
    "file",
    "file_mapped",
    "inactive_file",
    "active_file",
    "pgfault",
    "pgmajfault",
    "file_dirty",
    "file_writeback",
    "workingset_refault_anon",
    "workingset_refault_file",
    "pgscan",
    "pgsteal",
    "kernel",
)
_OOM_CONTROL: Final = files.Keys("oom_kill")
_EVENTS: Final = files.Keys("oom_kill")


class MemoryV1:
    FIELDS: ClassVar = FIELDS

    def __init__(self, directory: str, *, deep: bool = True) -> None:
        self.directory = directory
        self._deep = deep

    def writes(self, limits: Limits) -> list[Write]:
        reason = "in cgroup v1, where this host has its memory controller"
        refuse(_ONLY_V2, dict(limits), reason)
        writes = self._max_writes(limits)
        if limits.memory_low_bytes is not None:
            # No protection (0) is an unlimited soft limit: global reclaim then spares or
            # prefers nothing. Full protection is the same file at the same value.
            value = amount.spell(limits.memory_low_bytes or UNLIMITED, unlimited="-1")
            path = f"{self.directory}/memory.soft_limit_in_bytes"
            writes.append(Write("memory_low_bytes", path, value))
        if limits.memory_swappiness is not None:
            path = f"{self.directory}/memory.swappiness"
            writes.append(Write("memory_swappiness", path, str(limits.memory_swappiness)))
        if limits.oom_kill_disable is not None:
            path = f"{self.directory}/memory.oom_control"
            value = str(int(limits.oom_kill_disable))
            writes.append(Write("oom_kill_disable", path, value, _oom_kill_disable))
        return writes

    def _max_writes(self, limits: Limits) -> list[Write]:
        """Memory and memory + swap, each never below the other on the way.

        Swap that is not asked for stays what it is, as it does on v2.
        """
        if limits.memory_max_bytes is None and limits.memory_swap_max_bytes is None:
            return []
        held_maximum, held_swap = self._held_maximum_and_swap()
        maximum = _first(limits.memory_max_bytes, held_maximum)
        swap = _first(limits.memory_swap_max_bytes, held_swap)
        path = f"{self.directory}/memory.limit_in_bytes"
        causes = {errno.EBUSY: self._too_much_in_use}
        memory = Write(
            "memory_max_bytes", path, amount.spell(maximum, unlimited="-1"), causes=causes
        )
        memsw_path = f"{self.directory}/memory.memsw.limit_in_bytes"
        if held_swap is None:  # no swap accounting (swapaccount=0)
            if limits.memory_swap_max_bytes is not None:
                raise missing("memory_swap_max_bytes", memsw_path)
            return [memory]
        both = _memory_and_swap(maximum, swap)
        limit = (
            "memory_max_bytes" if limits.memory_swap_max_bytes is None else "memory_swap_max_bytes"
        )
        memsw = Write(limit, memsw_path, amount.spell(both, unlimited="-1"), causes=causes)
        before = amount.parse(files.read(memsw_path))
        grows = isinstance(both, Unlimited) or (isinstance(before, int) and both >= before)
        return [memsw, memory] if grows else [memory, memsw]

    def _too_much_in_use(self) -> str:
        names = ("memory.memsw.usage_in_bytes", "memory.usage_in_bytes")
        used = next((t for n in names if (t := files.read(f"{self.directory}/{n}"))), "").strip()
        return (
            f"more is in use ({used} bytes with swap) than that and cannot be "
            "reclaimed: end something in it"
        )

    @property
    def brake(self) -> str:
        """The file by which use is brought down."""
        return f"{self.directory}/memory.limit_in_bytes"

    def current_bytes(self) -> int | None:
        return files.number(files.read(f"{self.directory}/memory.usage_in_bytes"))

    def hides_failures(self) -> bool:
        """Whether memory + swap is full before memory is, and does not count that."""
        failcnt = files.number(files.read(f"{self.directory}/memory.memsw.failcnt"))
        return failcnt == 0 and self.held().memory_swap_max_bytes == 0

    def figures(self) -> tuple[int | None, int | None, int | Unlimited | None]:
        """Memory in use, the most that was, and the limit."""
        names = ("usage_in_bytes", "max_usage_in_bytes", "limit_in_bytes")
        used, peak, limit = (files.read(f"{self.directory}/memory.{name}") for name in names)
        return files.number(used), files.number(peak), amount.parse(limit)

    def reclaim_towards(self, target: int, step: int) -> None:
        """One step on the way to `target`: the kernel reclaims, or refuses with EBUSY.

        Raises:
            OSError: as it came.
        """
        files.write(self.brake, str(max(target, step)))

    def held(self) -> Limits:
        maximum, swap = self._held_maximum_and_swap()
        low = self._held("soft_limit_in_bytes")
        oom_control = files.read(f"{self.directory}/memory.oom_control")
        return Limits(
            memory_max_bytes=maximum,
            memory_swap_max_bytes=swap,
            memory_low_bytes=0 if isinstance(low, Unlimited) else low,
            memory_swappiness=files.number(files.read(f"{self.directory}/memory.swappiness")),
            oom_kill_disable=None if oom_control is None else _oom_kill_disable(oom_control) == "1",
        )

    def _held(self, name: str) -> int | Unlimited | None:
        return amount.parse(files.read(f"{self.directory}/memory.{name}"))

    def _held_maximum_and_swap(self) -> tuple[int | Unlimited | None, int | Unlimited | None]:
        maximum, both = self._held("limit_in_bytes"), self._held("memsw.limit_in_bytes")
        if isinstance(both, int) and isinstance(maximum, int):
            return maximum, both - maximum
        return maximum, both

    def paths(self) -> Sequence[str]:
        names = (
            "stat",
            "usage_in_bytes",
            "max_usage_in_bytes",
            "failcnt",
            "memsw.failcnt",
            "kmem.usage_in_bytes",
        )
        # The kernel's count of OOM kills does not include descendants on v1.
        groups = with_subgroups(self.directory) if self._deep else ()
        return (
            *(f"{self.directory}/memory.{name}" for name in names),
            *(f"{directory}/memory.oom_control" for directory in groups),
        )

    def usage(self, texts: Sequence[str | None]) -> Memory:
        stat, usage, peak, failcnt, memsw_failcnt, kernel, *oom_controls = texts
        (cache, rss, mapped, swap, inactive, active, pgfault, pgmajfault, *more) = _STAT_V1.values(
            stat
        )
        dirty, writeback, refault_anon, refault_file = more
        current = files.number(usage)
        return Memory(
            current_bytes=current,
            peak_bytes=files.number(peak),
            swap_bytes=swap,
            anon_bytes=rss,
            file_bytes=cache,
            mapped_bytes=mapped,
            kernel_bytes=files.number(kernel),
            inactive_file_bytes=inactive,
            active_file_bytes=active,
            working_set_bytes=_working_set(current, inactive, rss),
            failcnt=_failures(failcnt, memsw_failcnt),
            pgfault=pgfault,
            pgmajfault=pgmajfault,
            dirty_bytes=dirty,
            writeback_bytes=writeback,
            refault_anon=refault_anon,
            refault_file=refault_file,
            oom_kills=_sum_of_kills(oom_controls),
        )

    def oom_kills(self) -> int | None:
        paths = (f"{d}/memory.oom_control" for d in with_subgroups(self.directory))
        return _sum_of_kills(list(map(files.read, paths)))


def _failures(failcnt: str | None, memsw_failcnt: str | None) -> int | None:
    """A charge fails at memory or at memory + swap, whichever is full, and is counted there.

    Linux 6.18 does not count it at memory + swap: with no swap allowed both read 0.
    """
    return None if failcnt is None else int(failcnt) + int(memsw_failcnt or 0)


def _sum_of_kills(oom_controls: Sequence[str | None]) -> int | None:
    """None where the kernel does not count kills (before Linux 4.13)."""
    known = [n for text in oom_controls if (n := _OOM_CONTROL.values(text)[0]) is not None]
    return sum(known) if known else None


class MemoryV2:
    FIELDS: ClassVar = FIELDS

    _FILES: ClassVar = {
        # Protection before caps, so that a shrink does not reclaim what is to be protected.
        "memory_min_bytes": "memory.min",
        "memory_low_bytes": "memory.low",
        "memory_swap_max_bytes": "memory.swap.max",
        "memory_zswap_max_bytes": "memory.zswap.max",
        "memory_high_bytes": "memory.high",
        "memory_max_bytes": "memory.max",
    }

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def writes(self, limits: Limits) -> list[Write]:
        asked = dict(limits)
        for limit, (file, reason) in _ONLY_V1.items():
            refuse({limit: file}, asked, reason)
        writes = [
            Write(limit, f"{self.directory}/{name}", amount.spell(asked[limit]))
            for limit, name in self._FILES.items()
            if limit in asked
        ]
        if limits.oom_group is not None:
            path = f"{self.directory}/memory.oom.group"
            writes.insert(0, Write("oom_group", path, str(int(limits.oom_group))))
        return writes

    @property
    def brake(self) -> str:
        """The file by which use is brought down."""
        return f"{self.directory}/memory.high"

    def current_bytes(self) -> int | None:
        return files.number(files.read(f"{self.directory}/memory.current"))

    def figures(self) -> tuple[int | None, int | None, int | Unlimited | None]:
        """Memory in use, the most that was, and the limit."""
        names = ("current", "peak", "max")
        used, peak, limit = (files.read(f"{self.directory}/memory.{name}") for name in names)
        return files.number(used), files.number(peak), amount.parse(limit)

    def reclaim_towards(self, target: int, step: int) -> None:
        """One step on the way to `target`, and no growth beyond it meanwhile.

        At the target the brake is a little below it: tasks may go over it by a batch of pages,
        and must not be over the limit when it is written. memory.reclaim fails with EAGAIN when
        it gives back less than asked.

        Raises:
            OSError: as it came.
        """
        margin = max(target >> _MARGIN_SHIFT, _MIN_MARGIN_BYTES)
        brake = step if step > target else max(target - margin, 0)
        held = amount.parse(files.read(self.brake))
        files.write(self.brake, str(min(brake, held) if isinstance(held, int) else brake))
        left = (self.current_bytes() or 0) - step
        if left > 0 and os.path.exists(f"{self.directory}/memory.reclaim"):
            files.write(f"{self.directory}/memory.reclaim", str(left))

    def held(self) -> Limits:
        def value(name: str) -> int | Unlimited | None:
            return amount.parse(files.read(f"{self.directory}/memory.{name}"))

        group = files.number(files.read(f"{self.directory}/memory.oom.group"))
        return Limits(
            memory_max_bytes=value("max"),
            memory_high_bytes=value("high"),
            memory_low_bytes=value("low"),
            memory_min_bytes=value("min"),
            memory_swap_max_bytes=value("swap.max"),
            memory_zswap_max_bytes=value("zswap.max"),
            oom_group=None if group is None else bool(group),
        )

    def paths(self) -> Sequence[str]:
        names = (
            "stat",
            "events",
            "events.local",
            "swap.events",
            "current",
            "peak",
            "swap.current",
            "swap.peak",
            "zswap.current",
        )
        return tuple(f"{self.directory}/memory.{name}" for name in names)

    def usage(self, texts: Sequence[str | None]) -> Memory:
        anon, file, mapped, inactive, active, pgfault, pgmajfault, *more = _STAT_V2.values(texts[0])
        dirty, writeback, refault_anon, refault_file, pgscan, pgsteal, kernel = more
        events, events_local, swap_events = map(files.counts, texts[1:4])
        current, peak, swap, swap_peak, zswap = map(files.number, texts[4:])
        if current is None and anon is not None and file is not None:
            current = anon + file  # the root group has no memory.current
        return Memory(
            current_bytes=current,
            peak_bytes=peak,
            swap_bytes=swap,
            swap_peak_bytes=swap_peak,
            zswap_bytes=zswap,
            anon_bytes=anon,
            file_bytes=file,
            mapped_bytes=mapped,
            kernel_bytes=kernel,
            inactive_file_bytes=inactive,
            active_file_bytes=active,
            working_set_bytes=_working_set(current, inactive, anon),
            failcnt=events.get("max") if events else None,
            pgfault=pgfault,
            pgmajfault=pgmajfault,
            dirty_bytes=dirty,
            writeback_bytes=writeback,
            refault_anon=refault_anon,
            refault_file=refault_file,
            pgscan=pgscan,
            pgsteal=pgsteal,
            oom_kills=events.get("oom_kill") if events else None,
            events=events,
            events_local=events_local,
            swap_events=swap_events,
        )

    def oom_kills(self) -> int | None:
        return _EVENTS.values(files.read(f"{self.directory}/memory.events"))[0]


def _oom_kill_disable(text: str) -> str:
    return files.flat(text).get("oom_kill_disable", "0")


def _first(*values: int | Unlimited | None) -> int | Unlimited:
    return next((value for value in values if value is not None), UNLIMITED)


def _memory_and_swap(maximum: int | Unlimited, swap: int | Unlimited) -> int | Unlimited:
    if isinstance(swap, Unlimited):
        return UNLIMITED
    if isinstance(maximum, Unlimited):
        raise UnsupportedError(
            "limit memory_swap_max_bytes: memory.memsw.limit_in_bytes of cgroup v1 limits memory "
            "and swap together: give memory_max_bytes too, or unlimited swap"
        )
    return maximum + swap


def _working_set(current: int | None, inactive_file: int | None, anon: int | None) -> int | None:
    """A reader may have both statistics from some seconds before `current`.

    Page cache that has gone since must not be taken off it: what is anonymous is the least.
    """
    if current is None or inactive_file is None:
        return None
    return max(current - inactive_file, min(anon or 0, current))
