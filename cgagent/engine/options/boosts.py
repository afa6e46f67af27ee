"""The override that a start-up boost is: put into the record for a run, and taken out after it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cgagent.cgroups import Limits, convert
from cgagent.engine.options import limits as limit_rules
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.overrides import (
    BOOST,
    LimitOverride,
    below,
    in_force,
    of_owner,
    ordered,
)
from cgagent.errors import InvalidInputError
from cgagent.policy.boost import Boost, parse, wider

if TYPE_CHECKING:
    from cgagent.images.image import HealthCheck


def canonical(text: str) -> str:
    """As it is kept. Raises InvalidInputError: no boost, or none that this host can give."""
    boost = parse(text)
    if boost is None:
        return ""
    try:
        limit_rules.resolve(
            Limits(memory_max_bytes=boost.memory_bytes),
            Conveniences(cpus=boost.cpus),
            current=Limits(),
        )
    except InvalidInputError as e:
        raise InvalidInputError(f"boost: {e.message}") from None
    return str(boost)


def require_possible(text: str, health: HealthCheck | None) -> None:
    """Raises InvalidInputError: it is to last until a health check that there is not."""
    boost = parse(text)
    if boost is not None and boost.until_healthy and health is None:
        raise InvalidInputError(
            "boost: for=healthy needs a health check, and there is none; give --health-cmd, or a "
            "time as in for=30s"
        )


def begun(
    text: str, asked: Limits, overrides: tuple[LimitOverride, ...]
) -> tuple[LimitOverride, ...]:
    """With the override of a run that begins now; none where it would widen nothing."""
    others = ended(overrides)
    boost = parse(text)
    if boost is None:
        return others
    values = wider(_unchecked(boost), in_force(asked, below(others, BOOST)))
    if not values:
        return others
    until = f"it is healthy, {boost.most_s:g} s at most" if boost.until_healthy else None
    override = LimitOverride(
        owner=BOOST,
        reason=f"start-up boost, until {until}" if until else f"start-up boost, {boost.most_s:g} s",
        since_ns=time.time_ns(),
        limits=Limits(**values),
    )
    return ordered((*others, override))


def ended(overrides: tuple[LimitOverride, ...]) -> tuple[LimitOverride, ...]:
    """Without a boost's."""
    return tuple(o for o in overrides if o.owner != BOOST)


def until_ns(text: str, overrides: tuple[LimitOverride, ...], started_ns: int) -> int | None:
    """When the boost of a run that began then ends at the latest; None: it has none."""
    boost = parse(text)
    if boost is None or of_owner(overrides, BOOST) is None:
        return None
    return started_ns + int(boost.most_s * 1e9)


def _unchecked(boost: Boost) -> Limits:
    """Of a host that has become smaller since, it is more than that has, and so no limit there."""
    asked = Limits(memory_max_bytes=boost.memory_bytes)
    if boost.cpus is None:
        return asked
    quota, period = convert.cpus_to_quota(boost.cpus)
    return asked.merged(Limits(cpu_quota_us=quota, cpu_period_us=period))
