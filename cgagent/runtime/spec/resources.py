"""``linux.resources`` of an OCI configuration as limits and device rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from cgagent.cgroups import CONTAINER_DEVICES, UNLIMITED, DeviceRule
from cgagent.errors import InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.cgroups import IoMax, IoWeight, Limits, Unlimited

Resources = dict[str, Any]

_THROTTLES: Final = {
    "throttleReadBpsDevice": "rbps",
    "throttleWriteBpsDevice": "wbps",
    "throttleReadIOPSDevice": "riops",
    "throttleWriteIOPSDevice": "wiops",
}
_PLAIN: Final = {
    ("memory", "swappiness"): "memory_swappiness",
    ("memory", "disableOOMKiller"): "oom_kill_disable",
    ("cpu", "shares"): "cpu_shares",
    ("cpu", "period"): "cpu_period_us",
    ("cpu", "burst"): "cpu_burst_us",
    ("cpu", "realtimePeriod"): "cpu_rt_period_us",
    ("cpu", "cpus"): "cpuset_cpus",
    ("cpu", "mems"): "cpuset_mems",
    ("blockIO", "weight"): "blkio_weight",
}
_BOUNDED: Final = {
    ("memory", "limit"): "memory_max_bytes",
    ("memory", "reservation"): "memory_low_bytes",
    ("cpu", "quota"): "cpu_quota_us",
    ("cpu", "realtimeRuntime"): "cpu_rt_runtime_us",
    ("pids", "limit"): "pids_max",
}
_DEVICE_KINDS: Final[dict[str, Literal["a", "b", "c"]]] = {"a": "a", "b": "b", "c": "c"}
_REFUSED: Final = (("blockIO", "leafWeight"), ("network", "classID"), ("network", "priorities"))


def limits(resources: Resources) -> Limits:
    """The limits asked for. Zero in a field that has no use for it means: not asked.

    Raises:
        InvalidInputError: a value out of range.
        UnsupportedError: a controller that has no place in `Limits`.
    """
    from cgagent.cgroups import Limits

    for section, name in _REFUSED:
        if (resources.get(section) or {}).get(name):
            raise UnsupportedError(f"linux.resources.{section}.{name} is not supported")
    found: dict[str, Any] = {}
    for (section, name), field in _PLAIN.items():
        value = (resources.get(section) or {}).get(name)
        if value or (value == 0 and name == "swappiness"):
            found[field] = value
    for (section, name), field in _BOUNDED.items():
        value = (resources.get(section) or {}).get(name)
        if value or (value == 0 and section == "pids"):
            found[field] = UNLIMITED if value < 0 else value
    idle = (resources.get("cpu") or {}).get("idle")
    found["cpu_idle"] = None if idle is None else bool(idle)
    found["memory_swap_max_bytes"] = _swap(resources.get("memory") or {})
    io = resources.get("blockIO") or {}
    found["io_max"] = _throttles(io) or None
    found["blkio_weight_device"] = _weights(io) or None
    found["hugetlb_max_bytes"] = (
        tuple((h["pageSize"], h["limit"]) for h in resources.get("hugepageLimits") or ()) or None
    )
    found["conf"] = tuple(_settings(resources)) or None
    return Limits(**found)


def _swap(memory: dict[str, Any]) -> int | Unlimited | None:
    """The specification limits memory and swap together, `Limits` swap alone."""
    from cgagent.cgroups import swap_from_memory_swap

    total, limit = memory.get("swap"), memory.get("limit")
    if not total:
        return None
    if total < 0:
        return UNLIMITED
    if not limit or limit < 0:
        raise InvalidInputError("linux.resources.memory: swap needs a limit of memory beside it")
    return swap_from_memory_swap(limit, total)


def _throttles(io: dict[str, Any]) -> tuple[IoMax, ...]:
    from cgagent.cgroups import IoMax

    devices: dict[tuple[int, int], dict[str, int | Unlimited]] = {}
    for name, key in _THROTTLES.items():
        for entry in io.get(name) or ():
            caps = devices.setdefault((entry["major"], entry["minor"]), {})
            caps[key] = entry["rate"] or UNLIMITED
    return tuple(IoMax(major=ma, minor=mi, **caps) for (ma, mi), caps in devices.items())


def _weights(io: dict[str, Any]) -> tuple[IoWeight, ...]:
    from cgagent.cgroups import IoWeight

    entries = io.get("weightDevice") or ()
    for entry in entries:
        if entry.get("leafWeight"):
            raise UnsupportedError(
                "linux.resources.blockIO.weightDevice: leafWeight is not supported"
            )
        if not entry.get("weight"):
            raise InvalidInputError(
                f"linux.resources.blockIO.weightDevice: {entry['major']}:{entry['minor']} has no "
                "weight"
            )
    return tuple(IoWeight(major=e["major"], minor=e["minor"], weight=e["weight"]) for e in entries)


def _settings(resources: Resources) -> Iterator[tuple[str, str]]:
    """What is written to a file as it stands."""
    for device, caps in (resources.get("rdma") or {}).items():
        words = {"hca_handle": caps.get("hcaHandles"), "hca_object": caps.get("hcaObjects")}
        pairs = [f"{key}={value}" for key, value in words.items() if value is not None]
        if not pairs:
            raise InvalidInputError(f"linux.resources.rdma: {device} has no limit")
        yield "rdma.max", " ".join([device, *pairs])
    for file, text in (resources.get("unified") or {}).items():
        for line in list(filter(None, text.split("\n"))) or [text]:
            yield file, line


def device_rules(resources: Resources) -> tuple[DeviceRule, ...]:
    """In the order given; what every container has comes last, as runc does it.

    Raises:
        InvalidInputError: a type that is not one of a, b, c.
    """
    rules = []
    for entry in resources.get("devices") or ():
        kind = _DEVICE_KINDS.get(entry.get("type") or "a")
        if kind is None:
            raise InvalidInputError(
                f"linux.resources.devices: type {entry['type']!r} is not one of a, b, c"
            )
        rules.append(
            DeviceRule(
                kind,
                _number(entry.get("major")),
                _number(entry.get("minor")),
                entry.get("access") or "rwm",
                bool(entry.get("allow")),
            )
        )
    return (*rules, *CONTAINER_DEVICES)


def _number(value: int | None) -> int | None:
    return None if value is None or value < 0 else value
