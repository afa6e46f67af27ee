"""The limits that an automatic size comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgagent.cgroups import Limits, convert
from cgagent.engine.options import limits as limit_rules
from cgagent.engine.options.limits import Conveniences
from cgagent.policy.boost import cores

if TYPE_CHECKING:
    from cgagent.policy.autosize import Resource

NAMES: Final[dict[Resource, frozenset[str]]] = {
    "memory": frozenset({"memory_max_bytes"}),
    "cpu": frozenset({"cpu_quota_us", "cpu_period_us"}),
}


def limits(name: Resource, size: float) -> Limits:
    if name == "memory":
        return Limits(memory_max_bytes=int(size))
    quota, period = convert.cpus_to_quota(size)
    return Limits(cpu_quota_us=quota, cpu_period_us=period)


def require_possible(name: Resource, size: float) -> None:
    """Raises InvalidInputError: more than this host has, or less than anything runs in."""
    asked = Limits(memory_max_bytes=int(size)) if name == "memory" else Limits()
    cpus = size if name == "cpu" else None
    limit_rules.resolve(asked, Conveniences(cpus=cpus), current=Limits())


def size(name: Resource, held: Limits) -> float | None:
    """The inverse; None: there is no limit."""
    if name == "cpu":
        return cores(held)
    return float(held.memory_max_bytes) if isinstance(held.memory_max_bytes, int) else None
