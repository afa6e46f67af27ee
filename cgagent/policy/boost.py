"""A start-up boost as it is asked for: wider limits for the first time of each run.

``cpus=4,memory=1g,for=30s``, or ``for=healthy``: until the health check says so, five minutes at
most, or as long as ``most=2m`` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InvalidInputError
from cgagent.policy.texts import parsed_options
from cgagent.units import parse_duration, parse_size

if TYPE_CHECKING:
    from cgagent.cgroups import Limits

HEALTHY: Final = "healthy"
_USUAL_MOST_S: Final = 300.0
_LEAST_S, _LONGEST_S = 0.1, 86400.0
_FORM: Final = "write cpus=2,memory=1g,for=30s or for=healthy, or off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Boost:
    cpus: float | None = None
    memory_bytes: int | None = None
    until_healthy: bool = False
    most_s: float
    """When it ends, at the latest."""

    def __str__(self) -> str:
        """As it is kept, and shown."""
        parts = []
        if self.cpus is not None:
            parts.append(f"cpus={self.cpus:g}")
        if self.memory_bytes is not None:
            parts.append(f"memory={self.memory_bytes}")
        if self.until_healthy:
            parts.append(f"for={HEALTHY}")
        parts.append(f"{'most' if self.until_healthy else 'for'}={self.most_s:g}s")
        return ",".join(parts)


def parse(text: str) -> Boost | None:
    """None: it is off.

    Raises:
        InvalidInputError: it is no boost.
    """
    if text in {"", "off"}:
        return None
    found = parsed_options(text, "boost", ("cpus", "memory", "for", "most"), _FORM)
    until, most = found.get("for"), found.get("most")
    if until is None or not found.keys() & {"cpus", "memory"}:
        raise InvalidInputError(
            f"boost {text[:80]!r}: it must say what is wider and for how long; {_FORM}"
        )
    until_healthy = until == HEALTHY
    if most is not None and not until_healthy:
        raise InvalidInputError(f"boost {text[:80]!r}: most is for for=healthy alone")
    ends = (most or f"{_USUAL_MOST_S}") if until_healthy else until
    most_s = parse_duration(ends, "boost: for" if not until_healthy else "boost: most")
    if not _LEAST_S <= most_s <= _LONGEST_S:
        raise InvalidInputError(f"boost: {ends} is not in 100ms..24h")
    return Boost(
        cpus=_cpus(found["cpus"]) if "cpus" in found else None,
        memory_bytes=parse_size(found["memory"], "boost: memory") if "memory" in found else None,
        until_healthy=until_healthy,
        most_s=most_s,
    )


def _cpus(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidInputError(f"boost: cpus {text[:40]!r} is not a number of CPUs") from None


def wider(boosted: Limits, held: Limits) -> dict[str, Any]:
    """Those of the limits that are wider than what is held: no boost makes anything narrower.

    Where there is no limit nothing can be wider.
    """
    found: dict[str, Any] = {}
    memory, most = boosted.memory_max_bytes, held.memory_max_bytes
    if isinstance(memory, int) and isinstance(most, int) and memory > most:
        found["memory_max_bytes"] = memory
    cpus, least = cores(boosted), cores(held)
    if cpus is not None and least is not None and cpus > least:
        found["cpu_quota_us"] = boosted.cpu_quota_us
        found["cpu_period_us"] = boosted.cpu_period_us
    return found


def cores(limits: Limits) -> float | None:
    """CPUs of a quota; None: there is none."""
    if not isinstance(limits.cpu_quota_us, int):
        return None
    return limits.cpu_quota_us / (limits.cpu_period_us or 100_000)
