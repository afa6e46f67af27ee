"""What the whole machine does, by its own counters: CPUs, pressure, memory, swap and disks.

Read when somebody asks, and never by the sampler. Sources: proc_stat(5), proc_diskstats(5),
Documentation/admin-guide/iostats.rst, Documentation/accounting/psi.rst.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from cgagent.cgroups import files

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECTOR: Final = 512
_USER, _NICE, _SYSTEM, _IDLE, _IOWAIT, _IRQ, _SOFTIRQ, _STEAL = range(8)
_KIB: Final = 1024


class CpuTime(NamedTuple):
    """Of one CPU, in ticks since boot."""

    busy: int
    idle: int
    steal: int


class DiskCounters(NamedTuple):
    """Of one block device, since boot."""

    name: str
    operations: int
    bytes: int
    waited_ms: int
    """Of all operations together, their time in the queue included."""
    busy_ms: int
    """Time in which there was any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLoad:
    """One reading. None, or no entry, for what this kernel does not have."""

    monotonic_ns: int
    cpus: Mapping[int, CpuTime] = field(default_factory=dict)
    running: int | None = None
    """Tasks that run or want to."""
    load1: float | None = None
    stalled_us: Mapping[str, int] = field(default_factory=dict)
    """Time in which some task waited for cpu, memory or io (/proc/pressure)."""
    memory_bytes: int | None = None
    available_bytes: int | None = None
    swapped_in: int | None = None
    """Pages."""
    swapped_out: int | None = None
    disks: Mapping[str, DiskCounters] = field(default_factory=dict)
    """By "MAJOR:MINOR"."""


def read(proc: str = "/proc") -> HostLoad:
    """The machine now."""
    stat = files.read(f"{proc}/stat") or ""
    load = (files.read(f"{proc}/loadavg") or "").split()
    memory = files.flat((files.read(f"{proc}/meminfo") or "").replace(" kB", ""))
    pages = files.counts(files.read(f"{proc}/vmstat")) or {}
    return HostLoad(
        monotonic_ns=time.monotonic_ns(),
        cpus=_cpus(stat),
        running=_running(stat),
        load1=float(load[0]) if load else None,
        stalled_us=_stalled(proc),
        memory_bytes=files.value_of(memory, "MemTotal:", _KIB),
        available_bytes=files.value_of(memory, "MemAvailable:", _KIB),
        swapped_in=pages.get("pswpin"),
        swapped_out=pages.get("pswpout"),
        disks=_disks(files.read(f"{proc}/diskstats") or ""),
    )


def _cpus(stat: str) -> dict[int, CpuTime]:
    found = {}
    for line in files.lines(stat):
        name, *fields = line.split()
        number = name.removeprefix("cpu")
        if name.startswith("cpu") and number.isdecimal():
            ticks = [*map(int, fields[: _STEAL + 1]), *[0] * (_STEAL + 1 - len(fields))]
            used = (_USER, _NICE, _SYSTEM, _IRQ, _SOFTIRQ)
            busy = sum(ticks[place] for place in used)
            found[int(number)] = CpuTime(busy, ticks[_IDLE] + ticks[_IOWAIT], ticks[_STEAL])
    return found


def _running(stat: str) -> int | None:
    lines = (line.split() for line in files.lines(stat))
    return next((int(words[1]) for words in lines if words[0] == "procs_running"), None)


def _stalled(proc: str) -> dict[str, int]:
    found = {}
    for resource in ("cpu", "memory", "io"):
        some = (files.read(f"{proc}/pressure/{resource}") or "").partition("\n")[0]
        _, separator, total = some.partition("total=")
        if separator:
            found[resource] = int(total)
    return found


def _disks(text: str) -> dict[str, DiskCounters]:
    """Those that ever did something; parts of disks are among them, which no group counts."""
    found = {}
    for line in files.lines(text):
        major, minor, name, *counts = line.split()
        reads, _, read, read_ms, writes, _, written, write_ms, _, busy_ms = map(int, counts[:10])
        if reads or writes:
            found[f"{major}:{minor}"] = DiskCounters(
                name=os.path.join("/dev", name.replace("!", "/")),
                operations=reads + writes,
                bytes=(read + written) * _SECTOR,
                waited_ms=read_ms + write_ms,
                busy_ms=busy_ms,
            )
    return found
