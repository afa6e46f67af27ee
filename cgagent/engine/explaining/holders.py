"""Who holds a container or a group to the limit that holds it back, where that is no user."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cgagent.policy.causes.values import Cause, Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cgagent.engine.options.overrides import Overridden
    from cgagent.policy.causes.values import Kind

_FIELDS: Final[Mapping[Kind, frozenset[str]]] = {
    "cpu-quota": frozenset({"cpu_quota_us"}),
    "cpu-weight": frozenset({"cpu_weight", "cpu_shares"}),
    "cpuset": frozenset({"cpuset_cpus"}),
    "io-max": frozenset({"io_max"}),
    "memory-high": frozenset({"memory_high_bytes"}),
    "memory-max": frozenset({"memory_max_bytes"}),
    "pids-limit": frozenset({"pids_max"}),
}


def with_holders(causes: Iterable[Cause], records: Mapping[str, Overridden]) -> tuple[Cause, ...]:
    """With the owner of the override that a limit is from. `records` are by their groups."""
    return tuple(_with_holder(cause, records.get(cause.group)) for cause in causes)


def _with_holder(cause: Cause, record: Overridden | None) -> Cause:
    fields = _FIELDS.get(cause.kind)
    if record is None or fields is None:
        return cause
    for override in reversed(record.overrides):
        if any(name in fields and _counts(record, name, v) for name, v in override.limits):
            what = f"held to it by {override.owner}"
            held = Evidence(what=what, value=override.reason)
            return replace(cause, evidence=(*cause.evidence, held))
    return cause


def _counts(record: Overridden, name: str, value: Any) -> bool:
    """A budget's cap does not where what is below it is narrower; devices are not looked at."""
    return name == "io_max" or getattr(record.limits_in_force, name) == value
