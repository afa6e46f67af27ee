"""The figures from which causes are told, over one span of time. Shares are of that time.

None stands for what this kernel, or the kept history, does not have.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgagent.cgroups import Limits

_V1_FILES: Final = {
    "cpu.max": "cpu.cfs_quota_us",
    "cpu.weight": "cpu.shares",
    "cpuset.cpus.effective": "cpuset.effective_cpus",
    "memory.max": "memory.limit_in_bytes",
    "memory.current": "memory.usage_in_bytes",
    "memory.events": "memory.failcnt",
    "io.max": "blkio.throttle.*_device",
    "io.stat": "blkio.throttle.io_service_bytes_recursive",
    "hugetlb.events": "hugetlb.*.failcnt",
}
"""Of files whose name is another one in v1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUse:
    """What a group did on one block device, a second."""

    read_bytes: float = 0.0
    write_bytes: float = 0.0
    reads: float = 0.0
    writes: float = 0.0

    @property
    def bytes(self) -> float:
        return self.read_bytes + self.write_bytes

    @property
    def operations(self) -> float:
        return self.reads + self.writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one group. Counts are of the span, sizes of its end."""

    cpu_cores: float | None = None
    """CPU seconds a second."""
    throttled: float | None = None
    """Time throttled by its own quota, summed over CPUs; of throttled periods in a history."""
    periods: int | None = None
    throttled_periods: int | None = None
    cpu_some: float | None = None
    """Time in which some task waited for a CPU: others ran, or a quota was used up."""
    run_delay: float | None = None
    """The same of all tasks together, where the kernel has no pressure for the group."""
    memory_some: float | None = None
    memory_full: float | None = None
    io_some: float | None = None
    io_full: float | None = None
    memory_bytes: float | None = None
    swap_bytes: float | None = None
    high_hits: int | None = None
    """How often its own memory.high was hit."""
    max_hits: int | None = None
    """How often its own memory.max was hit; on v1 failcnt, which is its own alone."""
    refault_anon: int | None = None
    """Pages that came back after they had been swapped out."""
    refault_file: int | None = None
    """Pages of files that came back after reclaim had taken them."""
    scanned: int | None = None
    oom_kills: int | None = None
    pids: float | None = None
    forks_refused: int | None = None
    """In its own name; where the kernel counts these by limit, by its own one."""
    hugetlb_refused: int | None = None
    io: Mapping[str, DeviceUse] = field(default_factory=dict)
    """By "MAJOR:MINOR"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    path: str
    container: str | None = None
    name: str = ""
    """Of a group of containers."""
    ours: bool = True
    """The agent's own, changed without insisting on it."""
    is_frozen: bool = False
    """By a wish of its own, not of a group above it."""
    limits: Limits
    figures: Figures
    directories: Mapping[str, str] = field(default_factory=dict)
    """By controller; pressure's is that of cgroup2."""
    v1: frozenset[str] = frozenset()
    """The controllers that are in cgroup v1 here."""

    @property
    def called(self) -> str:
        return f"container {self.container}" if self.container else f"cgroup {self.path}"

    def file(self, name: str) -> str:
        """The path of one of its files, named as in cgroup v2."""
        controller, _, kind = name.partition(".")
        if kind == "pressure" and self.path == "/":
            return f"/proc/pressure/{controller}"
        controller = "pressure" if kind == "pressure" else controller
        here = _V1_FILES.get(name, name) if controller in self.v1 else name
        directory = self.directories.get(controller, "")
        return f"{directory}/{here}" if directory else here


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A group that is neither the one in question nor above or below it."""

    group: Group
    beside: str
    """The path of the one in question, or of that above it, which it is beside of, or below that
    one: the two share what their common parent has."""
    cores_lately: float | None = None
    """CPU seconds a second over the last minutes, where that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One block device, by /proc/diskstats."""

    name: str
    busy: float
    """Share of the time in which it had something to do."""
    latency_ms: float | None = None
    """Of an operation, its time in the queue included; None: there was none."""
    bytes: float = 0.0
    """Read and written a second, by everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    cpus: Mapping[int, float] = field(default_factory=dict)
    """How busy each CPU was, by its number."""
    cores: int = 1
    steal: float = 0.0
    """CPU seconds a second that the hypervisor gave to others."""
    running: int | None = None
    """Tasks that ran or waited for a CPU at the end, of the whole machine."""
    load: float | None = None
    """Averaged over the last minute."""
    cpu_some: float | None = None
    memory_some: float | None = None
    io_some: float | None = None
    memory_bytes: int | None = None
    available_bytes: int | None = None
    swapped_in: float | None = None
    """Pages a second."""
    swapped_out: float | None = None
    disks: Mapping[str, Disk] = field(default_factory=dict)
    """By "MAJOR:MINOR"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OomReport:
    """The last time that the OOM killer came, as the agent keeps it."""

    limiting_group: str | None
    """None: the machine's memory ran out, or it is not known."""
    victims: int
    limit_bytes: int | None
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    span_s: float
    chain: tuple[Group, ...]
    """The group in question, then those above it, the nearest first; the root group is not."""
    below: tuple[Group, ...] = ()
    """Groups in the one in question, whose limits are felt in it as well."""
    neighbours: tuple[Neighbour, ...] = ()
    machine: Machine = Machine()
    oom: OomReport | None = None
    """Where it was in the span, or a minute before."""

    @property
    def own(self) -> Group:
        return self.chain[0]

    def whose(self, group: Group) -> str:
        """How a sentence about a limit of a group in the chain, or below it, begins."""
        if group is self.own:
            return "its own"
        place = "above" if group in self.chain else "below"
        return f"the {group.called} {place} it: its"
