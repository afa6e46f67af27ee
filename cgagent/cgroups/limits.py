"""What may be asked of a group, in one model for cgroup v1 and v2.

A value here is a wish or a reading, never a promise: `Group.apply` writes the fields that are
not None, `Group.held` returns what the kernel holds. Kernel spellings, units in the names.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from cgagent.cgroups import convert, drift
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.cgroups.amount import Unlimited
    from cgagent.cgroups.drift import Drift


@dataclass(frozen=True, slots=True, kw_only=True)
class IoMax:
    """Caps of one block device, in bytes and operations a second; None = leave as it is."""

    major: int
    minor: int
    rbps: int | Unlimited | None = None
    wbps: int | Unlimited | None = None
    riops: int | Unlimited | None = None
    wiops: int | Unlimited | None = None

    @property
    def device(self) -> str:
        return f"{self.major}:{self.minor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IoWeight:
    """One block device's weight, in the unit of the field it stands in; None = the group's."""

    major: int
    minor: int
    weight: int | None = None

    @property
    def device(self) -> str:
        return f"{self.major}:{self.minor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IoLatency:
    """The latency of one block device that is to be kept; UNLIMITED takes the target back."""

    major: int
    minor: int
    target_us: int | Unlimited

    @property
    def device(self) -> str:
        return f"{self.major}:{self.minor}"


_RANGES: Final = {
    "cpu_weight": (1, 10_000),
    "cpu_shares": (2, 262_144),
    "io_weight": (1, 10_000),
    "blkio_weight": (1, 1_000),
    "memory_swappiness": (0, 200),
    "net_priority": (0, 2**32 - 1),
    "net_rate_in_bits": (8_000, 10**12),
    "net_rate_out_bits": (8_000, 10**12),
}

RATES: Final = frozenset({"net_rate_in_bits", "net_rate_out_bits"})
"""Limits that no cgroup has: `Group` refuses them, the engine holds a container's links to them."""

_WEIGHTS: Final = {
    "io_weight_device": _RANGES["io_weight"],
    "blkio_weight_device": _RANGES["blkio_weight"],
}

# 0 is no limit on v1 and refused on v2, and v1 keeps only the low 32 bits of operations.
_CAPS: Final = {
    "rbps": (1, 2**63 - 1),
    "wbps": (1, 2**63 - 1),
    "riops": (1, 2**32 - 1),
    "wiops": (1, 2**32 - 1),
}

_EITHER: Final = (
    ("cpu_weight", "cpu_shares"),
    ("io_weight", "blkio_weight"),
    ("io_weight_device", "blkio_weight_device"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every limit of a group. None: not asked, or the kernel has no such file.

    `cpu_shares` is v1's and docker's unit for `cpu_weight` (the v2 unit), `blkio_weight`
    docker's and bfq's for `io_weight`: give one of the two; the one the kernel does not speak is
    converted (see `convert`). `held` fills the one the kernel speaks; `weight`, `shares`
    give either.

    `memory_swap_max_bytes` is swap alone, as on v2. v1 limits memory and swap together, so
    there it is written as the sum. `memory_low_bytes` is the soft limit on v1, where
    nothing asked (0) means an unlimited soft limit. `cpu_rt_*_us` and `oom_kill_disable` are
    v1's alone, `memory_high_bytes`, `memory_min_bytes`, `memory_zswap_max_bytes`, `oom_group`
    and `io_latency` v2's.

    `cpuset_cpus` and `cpuset_mems` are lists such as "0-3,7"; "" follows the parent.

    Raises:
        InvalidInputError: a value out of range, or two units for one limit.
    """

    memory_max_bytes: int | Unlimited | None = None
    memory_high_bytes: int | Unlimited | None = None
    memory_low_bytes: int | Unlimited | None = None
    memory_min_bytes: int | Unlimited | None = None
    memory_swap_max_bytes: int | Unlimited | None = None
    memory_zswap_max_bytes: int | Unlimited | None = None
    memory_swappiness: int | None = None
    oom_group: bool | None = None
    oom_kill_disable: bool | None = None
    cpu_weight: int | None = None
    cpu_shares: int | None = None
    cpu_quota_us: int | Unlimited | None = None
    cpu_period_us: int | None = None
    cpu_burst_us: int | None = None
    cpu_idle: bool | None = None
    cpu_rt_period_us: int | None = None
    cpu_rt_runtime_us: int | Unlimited | None = None
    """Of each realtime period, for SCHED_FIFO and SCHED_RR tasks; a new group has 0."""
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    pids_max: int | Unlimited | None = None
    io_weight: int | None = None
    blkio_weight: int | None = None
    io_weight_device: tuple[IoWeight, ...] | None = None
    blkio_weight_device: tuple[IoWeight, ...] | None = None
    io_max: tuple[IoMax, ...] | None = None
    io_latency: tuple[IoLatency, ...] | None = None
    hugetlb_max_bytes: tuple[tuple[str, int | Unlimited], ...] | None = None
    """Pairs of a page size as the kernel spells it ("2MB", "1GB") and a limit."""
    net_rate_in_bits: int | Unlimited | None = None
    """Wire bits a second that reach each network interface of a container; no cgroup's."""
    net_rate_out_bits: int | Unlimited | None = None
    """Wire bits a second that leave each network interface of a container; no cgroup's."""
    net_priority: int | None = None
    """Of what is sent, for the queues of the machine's interfaces (SO_PRIORITY); v1's net_prio."""
    conf: tuple[tuple[str, str], ...] | None = None
    """Pairs of a file of one of the group's controllers and what to write into it, for all that
    has no field here: ("rdma.max", "mlx4_0 hca_handle=2"), ("misc.max", "sev 5").
    """

    def __post_init__(self) -> None:
        for name, value in self:
            _check_range(name, value, _RANGES.get(name, (0, 2**63 - 1)))
        self._check_devices()
        for name in ("cpuset_cpus", "cpuset_mems"):
            _check_list(name, getattr(self, name) or "")
        for one, other in _EITHER:
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise InvalidInputError(f"limits {one} and {other} are one limit: give one of them")

    def _check_devices(self) -> None:
        for caps in self.io_max or ():
            for name, range_ in _CAPS.items():
                _check_range(f"io_max: {name}", getattr(caps, name), range_)
        for name, range_ in _WEIGHTS.items():
            for device in getattr(self, name) or ():
                _check_range(name, device.weight, range_)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """(name, value) of each field that is not None."""
        for name in _FIELDS:
            value = getattr(self, name)
            if value is not None:
                yield name, value

    @property
    def weight(self) -> int | None:
        """The CPU weight in v2's unit, whichever unit it is kept in."""
        if self.cpu_shares is not None:
            return convert.shares_to_weight(self.cpu_shares)
        return self.cpu_weight

    @property
    def shares(self) -> int | None:
        """The CPU weight in v1's unit, whichever unit it is kept in."""
        if self.cpu_weight is not None:
            return convert.weight_to_shares(self.cpu_weight)
        return self.cpu_shares

    def diff(self, held: Limits) -> tuple[Drift, ...]:
        """Where what is held is not what is asked here, but for the kernel's own rounding."""
        return drift.between(self, held)

    def merged(self, other: Limits) -> Limits:
        """These limits, and where `other` has a value, that one instead."""
        theirs = dict(other)
        mine = {name: value for name, value in self if _counterpart(name) not in theirs}
        return Limits(**{**mine, **theirs})


_FIELDS: Final = tuple(field.name for field in fields(Limits))


def _check_range(name: str, value: object, range_: tuple[int, int]) -> None:
    low, high = range_
    if isinstance(value, int) and not low <= value <= high:
        raise InvalidInputError(f"limit {name}: {value} is not in {low}..{high}")


def _check_list(name: str, text: str) -> None:
    """The kernel's form: 0-3,7, also 0-7:1/2 (the first of each two), N (the last) and all."""
    import re

    for part in re.split(r"[,\s]+", text):
        found = re.fullmatch(r"(\d+|N)(?:-(\d+|N)(:\d+/\d+)?)?|all|", part)
        first, last = (found[1], found[2]) if found else (None, None)
        ordered = not (first and last) or "N" in {first, last} or int(first) <= int(last)
        if found is None or not ordered:
            raise InvalidInputError(f"limit {name}: {text!r} is not a list such as 0-3,7")


def _counterpart(name: str) -> str | None:
    for one, other in _EITHER:
        if name in (one, other):
            return other if name == one else one
    return None
