"""What a group has used, in the same units and with the same meaning on v1 and v2.

Times in nanoseconds, sizes in bytes; counters count from the group's creation and include
descendants. None where this kernel does not count it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    usage_ns: int | None = None
    user_ns: int | None = None
    system_ns: int | None = None
    periods: int | None = None
    """Enforcement periods of the quota in which a task could run."""
    throttled_periods: int | None = None
    throttled_ns: int | None = None
    throttled_local_ns: int | None = None
    """Throttled by its own quota or by one above it, since Linux 6.6 (cpu.stat.local)."""
    bursts: int | None = None
    burst_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    current_bytes: int | None = None
    peak_bytes: int | None = None
    """Since Linux 5.19 on v2."""
    swap_bytes: int | None = None
    """Swap alone, also on v1."""
    swap_peak_bytes: int | None = None
    """Since Linux 6.5, v2 only."""
    zswap_bytes: int | None = None
    """Memory that compressed swap takes; since Linux 5.19, v2 only."""
    anon_bytes: int | None = None
    file_bytes: int | None = None
    """Page cache, tmpfs and shared memory included."""
    mapped_bytes: int | None = None
    kernel_bytes: int | None = None
    """Memory that the kernel holds for it; in `current_bytes`. Since Linux 5.18 on v2."""
    inactive_file_bytes: int | None = None
    active_file_bytes: int | None = None
    working_set_bytes: int | None = None
    """current - inactive_file: what reclaim cannot easily give back."""
    failcnt: int | None = None
    """How often the limit was hit: the failcnt files (v1), `max` of memory.events (v2)."""
    pgfault: int | None = None
    pgmajfault: int | None = None
    dirty_bytes: int | None = None
    """Page cache that is still to be written to disk."""
    writeback_bytes: int | None = None
    """Page cache that is being written to disk."""
    refault_anon: int | None = None
    """Anonymous pages that came back after they had been evicted; as below, since Linux 5.9."""
    refault_file: int | None = None
    """Pages of files that did."""
    pgscan: int | None = None
    """Pages that reclaim looked at; as below, v2 only."""
    pgsteal: int | None = None
    """Pages that reclaim took."""
    oom_kills: int | None = None
    events: Mapping[str, int] | None = None
    """memory.events as the kernel has it, descendants included; v2 only."""
    events_local: Mapping[str, int] | None = None
    """The same for limits of the group itself; v2 only."""
    swap_events: Mapping[str, int] | None = None
    """memory.swap.events: high, max, fail; v2 only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIo:
    """One block device's share. `device` is "MAJOR:MINOR"."""

    device: str
    rbytes: int = 0
    wbytes: int = 0
    rios: int = 0
    wios: int = 0
    dbytes: int = 0
    """Discarded, as `dios`: since Linux 4.19 on v2, later on v1."""
    dios: int = 0
    cost_ns: Mapping[str, int] | None = None
    """What io.cost counts, v2 only: "usage" of the disk's time, since Linux 5.10; "wait", "indebt"
    and "indelay" too where blkcg_debug_stats is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pids:
    current: int | None = None
    """Tasks: processes and their threads, dead ones that nobody waited for included."""
    processes: int | None = None
    peak: int | None = None
    """Of `current`, since Linux 6.1."""
    refused: int | None = None
    """Forks refused because of pids_max, its own and, since Linux 6.11, of groups below it."""
    refused_local: int | None = None
    """Because of its own alone, since Linux 6.11, v2 only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HugePages:
    """Huge pages of one size. `size` is spelled as the kernel does: "2MB", "1GB"."""

    size: str
    current_bytes: int
    peak_bytes: int | None = None
    """v1 only."""
    refused: int | None = None
    """Allocations refused because of hugetlb_max_bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RdmaDevice:
    device: str
    hca_handles: int
    hca_objects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Descendants:
    """Groups below it in cgroup2; a dying one was removed and still holds memory."""

    live: int
    dying: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Shares of time in percent over 10, 60 and 300 s, and the total since creation."""

    avg10: float
    avg60: float
    avg300: float
    total_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Psi:
    """Time in which some task, or all tasks (`full`), waited for a resource."""

    some: Stall
    full: Stall | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    cpu: Psi | None = None
    memory: Psi | None = None
    io: Psi | None = None
    irq: Stall | None = None
    """Time in which all tasks were kept from running by interrupts (Linux 6.1, IRQ_TIME)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    cpu: Cpu
    memory: Memory
    io: tuple[DeviceIo, ...] | None
    """None where there is no block IO accounting; () where nothing was done yet."""
    pids: Pids
    pressure: Pressure
    """From cgroup2, on hybrid hosts too; v1 has none."""
    frozen: bool | None
    frozen_ns: int | None = None
    """How long it was frozen in all, since Linux 6.18, cgroup2 only."""
    hugetlb: tuple[HugePages, ...] | None = None
    rdma: tuple[RdmaDevice, ...] | None = None
    misc: Mapping[str, int] | None = None
    """By resource as the kernel names it ("sev", "tdx"), v2 only."""
    dmem_bytes: Mapping[str, int] | None = None
    """Device memory by region, since Linux 6.14, v2 only."""
    descendants: Descendants | None = None
