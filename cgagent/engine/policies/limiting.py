"""The limits that a grade comes to, for what a target is held to and does now. Pure functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from cgagent.cgroups import UNLIMITED, IoMax, Limits, convert
from cgagent.engine.options.limits import host_memory_bytes, to_json
from cgagent.errors import ConflictError, UnsupportedError
from cgagent.policy.boost import cores
from cgagent.policy.facts import Facts, HostFacts
from cgagent.policy.rulesets.actions import RAISED
from cgagent.policy.rulesets.figures import cpu_cores

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cgroups import Usage
    from cgagent.policy.budgets import Budget
    from cgagent.policy.rulesets.model import Grade

_IO: Final = {"read": "rbps", "write": "wbps", "read_iops": "riops", "write_iops": "wiops"}


def limits(grade: Grade, held: Limits, facts: Facts) -> Limits:
    """What to override.

    Raises:
        ConflictError: it would be no change, or the contrary of what is wanted.
        UnsupportedError: nothing is known that it could be about.
    """
    return _MAKERS[grade.action](grade.options, held, facts)


def _weight(options: Any, held: Limits, _facts: Facts) -> Limits:
    values: dict[str, Any] = {}
    cpu, io = options.get("cpu"), options.get("io")
    if cpu == "idle" and held.cpu_idle is None:  # Linux before 5.15
        cpu = 1
    if cpu == "idle" and not held.cpu_idle:
        values["cpu_idle"] = True
    elif isinstance(cpu, int) and not held.cpu_idle and (held.weight or 100) > cpu:
        values["cpu_weight"] = cpu
    if io is not None and _io_weight(held) > io:
        values["io_weight"] = io
    if not values:
        raise ConflictError("its weight is as low already")
    return Limits(**values)


def _io_weight(held: Limits) -> int:
    if held.blkio_weight is not None:  # cgroup v1's
        return convert.blkio_weight_to_io_weight(held.blkio_weight)
    return held.io_weight or 100


def _cpuset(options: Any, held: Limits, facts: Facts) -> Limits:
    """Return its cpuset without the host's last CPUs (leave), or of these alone (keep)."""
    if held.cpuset_cpus is None:
        raise UnsupportedError("the cpuset controller is not there")
    online = sorted(convert.numbers_in_list(facts.host.cpu_list))
    has = convert.numbers_in_list(held.cpuset_cpus) or set(online)
    keeps = "keep" in options
    count = _cpus(options["keep" if keeps else "leave"], len(online))
    left = has.intersection(online[-count:] if keeps else online[:-count])
    if not left:
        which = "with the last {} alone" if keeps else "without the last {}"
        raise ConflictError(f"it would have no CPU {which.format(count)}")
    if left == has:
        none = "no other CPUs" if keeps else "none of the CPUs that are to be left"
        raise ConflictError(f"it has {none}")
    used = cpu_cores(facts) or 0.0
    if keeps and used > len(left):
        raise ConflictError(f"it uses {used:.2f} CPUs, and would have {len(left)}")
    return Limits(cpuset_cpus=convert.list_of_numbers(left))


def _cpus(asked: tuple[float, str], online: int) -> int:
    """Return a number of CPUs; a share of those online is rounded up."""
    value, unit = asked
    return math.ceil(online * value / 100) if unit == "percent" else int(value)


def _cpu_cap(options: Any, held: Limits, _facts: Facts | None) -> Limits:
    quota, period = convert.cpus_to_quota(options["cpus"])
    before = cores(held)
    if before is not None and before <= options["cpus"]:
        raise ConflictError(f"it has no more than {before:g} CPUs already")
    return Limits(cpu_quota_us=quota, cpu_period_us=period)


def _io_cap(options: Any, held: Limits, facts: Facts) -> Limits:
    """Of each device that it has used, and nowhere above what it is held to."""
    used = facts.usage.io if facts.usage else None
    if not used:
        raise UnsupportedError("it has read and written nothing on a device so far")
    before = {caps.device: caps for caps in held.io_max or ()}
    caps = []
    for device in used:
        major, minor = map(int, device.device.split(":"))
        values = {field: options[name] for name, field in _IO.items() if name in options}
        known = before.get(device.device)
        lower = {n: v for n, v in values.items() if not _is_at_most(getattr(known, n, None), v)}
        if lower:
            caps.append(IoMax(major=major, minor=minor, **lower))
    if not caps:
        raise ConflictError("its IO is capped as low already")
    return Limits(io_max=tuple(caps))


def _is_at_most(held: Any, cap: float) -> bool:
    return isinstance(held, int) and held <= cap


def _raise(options: Any, held: Limits, _facts: Facts) -> Limits:
    name, (by, unit), ceiling = options["limit"], options["by"], options["to"]
    field = RAISED[name]
    before = cores(held) if name == "cpus" else getattr(held, field)
    if before is None or before is UNLIMITED:
        raise ConflictError(f"it has no limit {name} that could be raised")
    after = min(before * (1 + by / 100) if unit == "percent" else before + by, ceiling)
    if after <= before:
        raise ConflictError(f"its limit {name} is at the ceiling already")
    if name == "cpus":
        quota, period = convert.cpus_to_quota(after)
        return Limits(cpu_quota_us=quota, cpu_period_us=period)
    most = host_memory_bytes() if field.endswith("_bytes") else after
    raised: dict[str, Any] = {field: int(min(after, most))}
    return Limits(**raised)


def budget_cap(budget: Budget, held: Limits, usage: Usage | None) -> Limits:
    """What holds one to the throttle of a budget that is spent.

    Raises:
        ConflictError: it is held to as little already.
        UnsupportedError: nothing is known that it could be about.
    """
    value = budget.throttle
    if budget.resource == "cpu":
        return _cpu_cap({"cpus": value}, held, None)
    if budget.resource == "io":
        facts = Facts(at_s=0.0, host=HostFacts(), usage=usage)
        return _io_cap({"read": int(value), "write": int(value)}, held, facts)
    rates = {name: getattr(held, name) for name in ("net_rate_in_bits", "net_rate_out_bits")}
    lower: dict[str, Any] = {n: int(value) for n, r in rates.items() if not _is_at_most(r, value)}
    if not lower:
        raise ConflictError("its network rate is as low already")
    return Limits(**lower)


_MAKERS: Final[dict[str, Callable[[Any, Limits, Facts], Limits]]] = {
    "weight": _weight,
    "cpuset": _cpuset,
    "cpu_cap": _cpu_cap,
    "io_cap": _io_cap,
    "raise": _raise,
}


def shown(found: Limits) -> str:
    """In a line, with CPUs as people count them."""
    told = to_json(found)
    if isinstance(found.cpu_quota_us, int) and found.cpu_period_us:
        del told["cpu_quota_us"], told["cpu_period_us"]
        told["cpus"] = f"{found.cpu_quota_us / found.cpu_period_us:.4g}"
    return ", ".join(f"{name}={_told(value)}" for name, value in told.items())


def _told(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    entries = []
    for entry in value:
        caps = " ".join(f"{n}={v}" for n, v in entry.items() if n not in {"major", "minor"} and v)
        entries.append(f"{entry['major']}:{entry['minor']} {caps}")
    return "; ".join(entries)
