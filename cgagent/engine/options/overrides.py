"""Limits that a policy holds a container to, beside those that its user asked for.

An override has an owner and a reason, and is lifted by its owner. What is in force is what the user
asked for, and over it each override in turn, the latest last. As soon as an override is lifted, the
user's limit is in force again, or that of a new group where the user asked for none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from cgagent.cgroups import UNLIMITED, IoLatency, IoMax, IoWeight, Limits
from cgagent.engine.options import limits as limit_json
from cgagent.errors import InvalidInputError, NotFoundError
from cgagent.policy.boost import cores
from cgagent.policy.rulesets.model import OWNER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

AUTO_SIZE: Final = "auto-size"
BOOST: Final = "boost"
BUDGET: Final = "budget"
OURS: Final = frozenset({AUTO_SIZE, BOOST, BUDGET})
"""Owners that are the agent itself, for what a container has asked for."""
_RANKS: Final = {AUTO_SIZE: 0, BOOST: 1}
"""What is lower counts less: a boost is wider than a size, and a cap holds over both."""
_ABOVE: Final = 2
_OWNER: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}")
REASON_MAX: Final = 1000
"""The most characters that a reason has."""
_MOST: Final = 16
_USUAL: Final[dict[str, Any]] = {
    **dict.fromkeys(("memory_max_bytes", "memory_high_bytes", "memory_swap_max_bytes"), UNLIMITED),
    **dict.fromkeys(("memory_zswap_max_bytes", "cpu_quota_us", "pids_max"), UNLIMITED),
    **dict.fromkeys(("net_rate_in_bits", "net_rate_out_bits"), UNLIMITED),
    "net_priority": 0,
    **dict.fromkeys(("memory_low_bytes", "memory_min_bytes", "cpu_burst_us"), 0),
    **dict.fromkeys(("oom_group", "oom_kill_disable", "cpu_idle"), False),
    **dict.fromkeys(("cpuset_cpus", "cpuset_mems"), ""),
    "cpu_weight": 100,
    "cpu_shares": 1024,
    "cpu_period_us": 100_000,
    "io_weight": 100,
}
"""What a new group (cgroup-v2.rst), or a new link, has. Devices are looked at one by one; what is
not here differs from host to host, and cannot be overridden."""
_OTHER_UNIT: Final = {
    "cpu_weight": "cpu_shares",
    "cpu_shares": "cpu_weight",
    "io_weight": "blkio_weight",
    "blkio_weight": "io_weight",
}
_QUOTA: Final = frozenset({"cpu_quota_us", "cpu_period_us"})
"""One limit in two fields."""
_CPU_WEIGHT: Final = frozenset({"cpu_weight", "cpu_shares", "cpu_idle"})
"""An idle group has no weight: the kernel refuses one while it is idle, and forgets its own."""
_RATES: Final = frozenset({"net_rate_in_bits", "net_rate_out_bits"})
_CAPS: Final = ("rbps", "wbps", "riops", "wiops")
_PER_DEVICE: Final = ("io_max", "io_latency", "io_weight_device")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOverride:
    owner: str
    """Who set it and may lift it: a policy's name, or an outside controller's."""
    reason: str
    """Why, in words for whoever wonders about the limit."""
    since_ns: int
    limits: Limits
    widens: tuple[str, ...] = ()
    """Of a ruleset: the limits that it raises. It makes no others wider than without it."""

    def to_json(self) -> dict[str, Any]:
        return {
            "owner": self.owner,
            "reason": self.reason,
            "since_ns": self.since_ns,
            "limits": limit_json.to_json(self.limits),
            **({"widens": list(self.widens)} if self.widens else {}),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LimitOverride:
        limits, widens = limit_json.from_json(value["limits"]), tuple(value.get("widens", ()))
        return cls(**{**value, "limits": limits, "widens": widens})


def checked(override: LimitOverride) -> LimitOverride:
    """Raises InvalidInputError: an owner, a reason or a limit that cannot be one."""
    if not _OWNER.fullmatch(override.owner):
        raise InvalidInputError(
            f"override owner {override.owner[:80]!r}: letters, digits, '_', '.' and '-', 64 at most"
        )
    if not override.reason.strip() or len(override.reason) > REASON_MAX:
        raise InvalidInputError(
            f"override of {override.owner}: a reason is needed, of {REASON_MAX} characters at most"
        )
    names = [name for name, _ in override.limits]
    if not names:
        raise InvalidInputError(f"override of {override.owner}: no limit is given")
    for name in names:
        if name not in _USUAL and name not in _PER_DEVICE:
            raise InvalidInputError(f"limit {name} cannot be overridden; update it instead")
    return override


def require_foreign(owner: str) -> str:
    """The owner. Raises InvalidInputError: overrides of that one are the agent's own."""
    if owner in OURS:
        raise InvalidInputError(
            f"override owner {owner!r} is the agent itself (--{owner}); take another name"
        )
    return owner


def ordered(overrides: Iterable[LimitOverride]) -> tuple[LimitOverride, ...]:
    """The later ones count more; those of the same rank stay in their order."""
    return tuple(sorted(overrides, key=lambda o: _RANKS.get(o.owner, _ABOVE)))


def below(overrides: Iterable[LimitOverride], owner: str) -> tuple[LimitOverride, ...]:
    """Those that count less than one of this owner."""
    rank = _RANKS.get(owner, _ABOVE)
    return tuple(o for o in overrides if _RANKS.get(o.owner, _ABOVE) < rank)


def of_owner(overrides: Iterable[LimitOverride], owner: str) -> LimitOverride | None:
    return next((o for o in overrides if o.owner == owner), None)


def with_override(
    overrides: Iterable[LimitOverride], new: LimitOverride
) -> tuple[LimitOverride, ...]:
    """With the owner's earlier one replaced. Raises InvalidInputError: there are too many."""
    kept = (*(o for o in overrides if o.owner != new.owner), checked(new))
    if len(kept) > _MOST:
        owners = ", ".join(o.owner for o in kept[:-1])
        raise InvalidInputError(
            f"override of {new.owner}: there are {_MOST} at most; lift one of those of {owners}"
        )
    return ordered(kept)


def without(overrides: Iterable[LimitOverride], owner: str) -> tuple[LimitOverride, ...]:
    """Raises NotFoundError: the owner has none."""
    before = tuple(overrides)
    kept = tuple(o for o in before if o.owner != owner)
    if len(kept) == len(before):
        raise NotFoundError(f"there is no override of {owner}")
    return kept


def yielding(overrides: Iterable[LimitOverride], changes: Limits) -> tuple[LimitOverride, ...]:
    """What is left of them when a user updates these limits: the agent never fights a user.

    Overrides of other owners than rulesets and the agent stay: they have been set by hand.
    """
    names = {name for name, _ in changes}
    taken = names | {_OTHER_UNIT[name] for name in names if name in _OTHER_UNIT}
    for several in (_QUOTA, _CPU_WEIGHT):
        if names & several:
            taken |= several
    kept = []
    for override in overrides:
        if not override.owner.startswith(OWNER) and override.owner not in OURS:
            kept.append(override)
        elif left := {name: value for name, value in override.limits if name not in taken}:
            kept.append(replace(override, limits=Limits(**left)))
    return tuple(kept)


def updating(changes: Limits, before: Overridden, after: Overridden) -> Limits:
    """What an update of the user's limits writes: its fields, and those that overrides yield."""
    write = seen_through(changes, after.overrides)
    write = with_weight(write, after.limits_in_force)
    names = {name for override in before.overrides for name, _ in override.limits}
    yielded = names - {name for override in after.overrides for name, _ in override.limits}
    return write.merged(to_write(yielded, before.limits_in_force, after.limits_in_force))


class Overridden(Protocol):
    """A container's record, or a group's."""

    @property
    def overrides(self) -> tuple[LimitOverride, ...]: ...
    @property
    def limits_in_force(self) -> Limits: ...


def in_force(asked: Limits, overrides: Iterable[LimitOverride]) -> Limits:
    """The limits that the kernel is to hold."""
    found = asked
    for override in overrides:
        above = override.limits
        if override.owner == BUDGET or override.owner.startswith(OWNER):
            above = _narrower(above, found, override.widens)
        merged = found.merged(above)
        if found.io_max and above.io_max:
            merged = replace(merged, io_max=_caps(found.io_max, above.io_max))
        found = merged
    return found


def _narrower(cap: Limits, below: Limits, widens: Collection[str]) -> Limits:
    """What of it is narrower: what was below it when it was made, a boost say, may have ended."""
    values = dict(cap)
    capped, held = cores(cap), cores(below)
    is_raised = not _QUOTA.isdisjoint(widens)
    if capped is not None and held is not None and held <= capped and not is_raised:
        values = {name: value for name, value in values.items() if name not in _QUOTA}
    for name in _RATES & values.keys():
        if _is_at_most(getattr(below, name), values[name]):
            del values[name]
    if cap.io_max:
        known = {caps.device: caps for caps in below.io_max or ()}
        values["io_max"] = tuple(_narrower_caps(c, known.get(c.device)) for c in cap.io_max)
    return Limits(**values)


def _narrower_caps(caps: IoMax, below: IoMax | None) -> IoMax:
    set_here = _caps_set(caps).items()
    wider: dict[str, Any] = {
        n: None for n, v in set_here if _is_at_most(getattr(below, n, None), v)
    }
    return replace(caps, **wider)


def _is_at_most(held: Any, cap: Any) -> bool:
    return isinstance(held, int) and isinstance(cap, int) and held <= cap


def _caps(below: Iterable[IoMax], above: Iterable[IoMax]) -> tuple[IoMax, ...]:
    """Of each device; of one that both have, what `above` says and what it leaves open."""
    found = {caps.device: caps for caps in below}
    for caps in above:
        old = found.get(caps.device, caps)
        found[caps.device] = replace(old, **_caps_set(caps))
    return tuple(found.values())


def seen_through(changes: Limits, overrides: Iterable[LimitOverride]) -> Limits:
    """What an update of the user's limits writes: its own fields, as overrides leave them."""
    names = dict(changes).keys()
    return Limits(**{n: value for n, value in in_force(changes, overrides) if n in names})


def to_write(names: Collection[str], before: Limits, after: Limits) -> Limits:
    """What brings a group that holds `before` to `after`, in the fields of these names.

    Where nothing is in force any more, it is what a new group has.
    """
    values: dict[str, Any] = {}
    for name in names:
        old, new = getattr(before, name), getattr(after, name)
        if name in _PER_DEVICE:
            values[name] = _devices(old or (), new or ()) or None
        elif new is not None:
            values[name] = new
        elif (other := _OTHER_UNIT.get(name)) and getattr(after, other) is not None:
            values[other] = getattr(after, other)
        elif old is not None:
            values[name] = _USUAL[name]
    return with_weight(Limits(**values), after)


def with_weight(write: Limits, in_force: Limits) -> Limits:
    """A group that is not idle any more gets its weight back; one that is idle has none to set."""
    if write.cpu_idle is None and not in_force.cpu_idle:
        return write
    weights = ("cpu_weight", "cpu_shares")
    if write.cpu_idle is None:
        return Limits(**{name: value for name, value in write if name not in weights})
    held = {name: value for name, value in in_force if name in weights}
    return write.merged(Limits(**held))


def _devices(before: Iterable[Any], after: Iterable[Any]) -> tuple[Any, ...]:
    wanted = {entry.device: entry for entry in after}
    freed = {entry.device: _free(entry) for entry in before}
    return tuple(
        _over(freed[device], wanted[device])
        if device in freed and device in wanted
        else wanted.get(device, freed.get(device))
        for device in {**freed, **wanted}
    )


def _free(entry: IoMax | IoLatency | IoWeight) -> Any:
    """The same device without a limit."""
    if isinstance(entry, IoMax):
        unlimited: Any = dict.fromkeys(_caps_set(entry), UNLIMITED)
        return replace(entry, **unlimited)
    if isinstance(entry, IoLatency):
        return replace(entry, target_us=UNLIMITED)
    return replace(entry, weight=None)


def _over(free: Any, wanted: Any) -> Any:
    if not isinstance(wanted, IoMax):
        return wanted
    return replace(free, **_caps_set(wanted))


def _caps_set(caps: IoMax) -> dict[str, Any]:
    """The caps of a device that are not None, by their names."""
    found = {name: getattr(caps, name) for name in _CAPS}
    return {name: value for name, value in found.items() if value is not None}
