"""Limits that what a container or a group has used makes advisable, each with its reason."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.units import show_age, show_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.cgroups import Limits
    from cgagent.policy.advice.use import ContainerUse, Use

_MIB: Final = 1 << 20
_WEEK_S: Final = 7 * 86400.0
_LEAST_MEMORY: Final = 6 * _MIB
"""Less is refused as a limit, as docker does."""
_LEAST_CPUS: Final = 0.05
_YOUNG_S: Final = 3600.0
_CPU_MARGIN: Final = 1.15
_TASKS_MARGIN: Final = 1.5
_MORE_TASKS: Final = 16
_IO_MARGIN: Final = 1.5
_LEAST_IO: Final = 1.0 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    resource: str
    """memory, cpus, pids, reads or writes; bytes, CPUs, tasks, bytes a second."""
    asked: float | None
    """None: no limit was asked for."""
    p50: float | None
    p95: float | None
    most: float | None
    advised: float
    confidence: float
    """From 0 to 1: how much of a week has been seen."""
    why: str
    flags: tuple[str, ...]


def advice(use: ContainerUse, asked: Limits, device: str | None) -> list[Advice]:
    """Of each resource of which something is known; `device`: the path of what it uses most."""
    return list(_all(use, asked, device)) if use.samples else []


def command(update: tuple[str, ...], name: str, found: list[Advice]) -> str:
    """One that takes all of the advice, to be pasted; `update` are its words."""
    flags = [flag for one in found for flag in one.flags]
    return shlex.join(["cgagent", *update, *flags, name]) if flags else ""


def _all(use: ContainerUse, asked: Limits, device: str | None) -> Iterator[Advice]:
    seen_s = max(use.last_s - use.first_s, 1.0)
    seen = show_age(seen_s).lower()
    confidence = min(seen_s / _WEEK_S, 1.0)

    def one(resource: str, limit: object, advised: float, why: str, *flags: str) -> Advice:
        kept: Use = getattr(use, resource)
        most = kept.peaks.most
        p50, p95 = kept.histogram.percentile(0.5), kept.histogram.percentile(0.95)
        return Advice(
            resource=resource,
            asked=float(limit) if isinstance(limit, int | float) else None,
            p50=p50 if p50 is None or most is None else min(p50, most),
            p95=p95 if p95 is None or most is None else min(p95, most),
            most=most,
            advised=advised,
            confidence=round(confidence, 2),
            why=why,
            flags=flags,
        )

    def careful(needed: float, limit: object) -> tuple[float, str]:
        """In the first hour nothing is lowered: what comes later is not known."""
        if seen_s >= _YOUNG_S:
            return needed, ""
        held = float(limit) if isinstance(limit, int | float) else 0.0
        return max(2 * needed, held), f"; of {seen} only: twice that, nothing is lowered"

    limit = asked.memory_max_bytes
    memory, caution = careful(use.memory.advised() or 0.0, limit)
    mib = math.ceil(max(memory, _LEAST_MEMORY) / _MIB)
    why = _of_memory(use, seen) + caution
    yield one("memory", limit, float(mib * _MIB), why, "--memory", f"{mib}m")
    if not use.cpus.histogram.is_empty:
        quota, period = asked.cpu_quota_us, asked.cpu_period_us or 100_000
        cores = quota / period if isinstance(quota, int) else None
        cpus, caution = careful(_cpus(use), cores)
        why = f"95 % of the minutes of {seen}, newer ones counting more, and {_CPU_MARGIN - 1:.0%}"
        yield one("cpus", cores, cpus, why + caution, "--cpus", f"{cpus:g}")
    tasks = max(math.ceil((use.pids.peaks.most or 0.0) * _TASKS_MARGIN), _MORE_TASKS)
    why = f"the most within a week, of {seen} that were seen, and {_TASKS_MARGIN - 1:.0%}"
    yield one("pids", asked.pids_max, float(tasks), why, "--pids-limit", str(tasks))
    for resource, flag, cap in (
        ("reads", "--device-read-bps", "rbps"),
        ("writes", "--device-write-bps", "wbps"),
    ):
        most = getattr(use, resource).peaks.most
        if device is not None and most:
            rate = math.ceil(max(most * _IO_MARGIN, _LEAST_IO) / _MIB)
            caps = (getattr(c, cap) for c in asked.io_max or () if c.device == use.device)
            why = f"the most of a minute within a week, and {_IO_MARGIN - 1:.0%}"
            yield one(
                resource, next(caps, None), float(rate * _MIB), why, flag, f"{device}:{rate}m"
            )


def _of_memory(use: ContainerUse, seen: str) -> str:
    margin = f"{use.memory.margin:.0%}"
    most = show_size(use.memory.peaks.most or 0.0)
    killed = f"; {use.ooms} OOM kills were seen" if use.ooms else ""
    excess = use.memory.peaks.excess
    if excess:
        learned = f"some six hours brought {excess:.1%} more than ever before"
    else:
        learned = f"nothing brought more than ever before in {seen}"
    return f"at most {most} within a week, and {margin}: {learned}{killed}"


def _cpus(use: ContainerUse) -> float:
    p95 = use.cpus.histogram.percentile(0.95) or 0.0
    return max(math.ceil(p95 * _CPU_MARGIN * 20) / 20, _LEAST_CPUS)
