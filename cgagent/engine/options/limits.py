"""Limits as a user asks for them: docker's conveniences, checks against this host, JSON.

`cgagent.cgroups.Limits` is the model; this module turns a request into it and back.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.cgroups import UNLIMITED, Drift, IoLatency, IoMax, IoWeight, Limits, Unlimited, convert
from cgagent.cgroups.limits import RATES
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_MEMORY_BYTES: Final = 6 * 1024 * 1024
"""Below it nothing starts; the figure is Docker's."""

_MIN_CPUS: Final = 0.01  # the kernel refuses quotas below 1 ms

_PRIORITY: Final = "net_priority"
_NONE: Final = Limits()

_ENTRIES: Final[dict[str, Callable[..., Any]]] = {
    "io_max": IoMax,
    "io_latency": IoLatency,
    "io_weight_device": IoWeight,
    "blkio_weight_device": IoWeight,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conveniences:
    """What docker's flags say in units of their own."""

    cpus: float | None = None
    memory_swap_bytes: int | None = None
    """Memory and swap together; -1: unlimited swap. Docker's ``--memory-swap``."""


def block_device(path: str) -> tuple[int, int]:
    """Major and minor number. Raises InvalidInputError: it is not there, or is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as e:
        reason = getattr(e, "strerror", None) or "not a path"
        raise InvalidInputError(f"device {path!r}: {reason.lower()}") from None
    if not stat.S_ISBLK(status.st_mode):
        raise InvalidInputError(f"device {path!r} is not a block device")
    return os.major(status.st_rdev), os.minor(status.st_rdev)


def host_memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def resolve(asked: Limits, extra: Conveniences, current: Limits | None = None) -> Limits:
    """The limits to apply, conveniences converted. `current`: what an update changes.

    Raises:
        InvalidInputError: a value no host or this host cannot have.
    """
    values = {name: value for name, value in asked}  # noqa: C416 - Limits iterates over pairs
    if extra.cpus is not None:
        if "cpu_quota_us" in values:
            raise InvalidInputError("cpus and cpu_quota_us are one limit: give one of them")
        _check_cpus(extra.cpus)
        values["cpu_quota_us"], values["cpu_period_us"] = convert.cpus_to_quota(extra.cpus)
    memory = values.get("memory_max_bytes", current.memory_max_bytes if current else None)
    if extra.memory_swap_bytes is not None and "memory_swap_max_bytes" in values:
        raise InvalidInputError("memory_swap_bytes and memory_swap_max_bytes are one limit")
    fresh_memory = isinstance(values.get("memory_max_bytes"), int) and current is None
    if extra.memory_swap_bytes is not None or (
        fresh_memory and "memory_swap_max_bytes" not in values
    ):
        values["memory_swap_max_bytes"] = _swap(memory, extra.memory_swap_bytes)
    limits = Limits(**values)
    _check_memory(limits)
    return limits


def _swap(memory: int | Unlimited | None, memory_swap: int | None) -> int | Unlimited | None:
    return convert.swap_from_memory_swap(memory, memory_swap)


def _check_cpus(cpus: float) -> None:
    available = len(os.sched_getaffinity(0))
    if not _MIN_CPUS <= cpus <= available:
        raise InvalidInputError(
            f"cpus {cpus:g} is not in {_MIN_CPUS}..{available}: this host has {available} CPUs"
        )


def nano_cpus(limits: Limits) -> int:
    """How many billionths of a CPU docker's ``--cpus`` asked for; 0: it was not given.

    It sets quota and period, which is what is kept of it.
    """
    quota, period = limits.cpu_quota_us, limits.cpu_period_us
    if not isinstance(quota, int) or period != convert.DEFAULT_PERIOD_US:
        return 0
    return quota * 10**9 // period


def _check_memory(limits: Limits) -> None:
    maximum = limits.memory_max_bytes
    if not isinstance(maximum, int):
        return
    if maximum < MIN_MEMORY_BYTES:
        raise InvalidInputError(
            f"memory limit {maximum} bytes is below {MIN_MEMORY_BYTES} (6m): "
            "no container starts in that"
        )
    host = host_memory_bytes()
    if maximum > host:
        raise InvalidInputError(
            f"memory limit {maximum} bytes is larger than the host's {host}: it would limit "
            "nothing; give less, or leave the limit out"
        )


def of_network(limits: Limits, *, priority: bool) -> Limits:
    """Those of a container's network interfaces; `priority`: that one is among them."""
    names = RATES | {_PRIORITY} if priority else RATES
    found = {name: value for name, value in limits if name in names}
    return Limits(**found) if found else _NONE


def of_group(limits: Limits, *, priority: bool) -> Limits:
    """Those of a container's cgroup, which are all others."""
    others = dict(of_network(limits, priority=not priority))
    if not others:
        return limits
    return Limits(**{name: value for name, value in limits if name not in others})


def to_json(limits: Limits) -> dict[str, Any]:
    """Only what is set; UNLIMITED is ``"max"``, a device's entry an object."""
    return {name: _plain(value) for name, value in limits}


def _plain(value: Any) -> Any:
    if isinstance(value, Unlimited):
        return value.value
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return value


def from_json(values: dict[str, Any]) -> Limits:
    """The inverse of `to_json`.

    Raises:
        InvalidInputError: an unknown name or a value out of range.
    """
    known = {f.name for f in fields(Limits)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise InvalidInputError(f"limit {unknown[0]!r} is not known; known are {sorted(known)}")
    return Limits(**{name: _typed(name, value) for name, value in values.items()})


def _typed(name: str, value: Any) -> Any:
    if name == "conf" and value is not None:  # kernel files: "max" is text here
        return tuple((file, text) for file, text in value)
    if value == UNLIMITED.value:
        return UNLIMITED
    if isinstance(value, list | tuple):
        entry = _ENTRIES.get(name)
        if entry is None:
            return tuple((size, _typed("", limit)) for size, limit in value)
        return tuple(entry(**{n: _typed("", v) for n, v in item.items()}) for item in value)
    return value


def as_kept(limits: Limits) -> Limits:
    """As the kernel will hold them: memory in whole pages, rates in whole bytes a second."""
    page = os.sysconf("SC_PAGE_SIZE")
    kept = {}
    for name, value in limits:
        unit = page if name.startswith("memory_") else 8 if name.startswith("net_rate_") else 1
        is_size = isinstance(value, int) and name.endswith(("_bytes", "_bits"))
        kept[name] = value - value % unit if is_size else value
    return Limits(**kept)


def drift_to_json(drifts: tuple[Drift, ...]) -> list[dict[str, Any]]:
    return [{"name": d.name, "asked": _plain(d.asked), "held": _plain(d.held)} for d in drifts]
