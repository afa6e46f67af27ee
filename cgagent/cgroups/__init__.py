"""Limit, measure, freeze and kill any control group, on cgroup v1, v2 or both at once.

    host = Host.detect()
    group = host.group("/batch/job-1")
    group.create()
    group.apply(Limits(memory_max_bytes=256 * 2**20, cpu_quota_us=50_000))
    group.join(pid)
    group.usage().memory.current_bytes

A library of its own: it knows no containers and needs the standard library only. Writing needs
root or a delegated tree; reading needs neither. Errors are those of `cgagent.errors`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cgagent.cgroups.amount import UNLIMITED, Unlimited
    from cgagent.cgroups.convert import (
        blkio_weight_to_io_weight,
        cpus_to_quota,
        io_weight_to_blkio_weight,
        shares_to_weight,
        swap_from_memory_swap,
        weight_to_shares,
    )
    from cgagent.cgroups.device_rule import DeviceRule
    from cgagent.cgroups.devices import CONTAINER_DEVICES
    from cgagent.cgroups.drift import Drift
    from cgagent.cgroups.events import (
        Event,
        Frozen,
        MemoryHigh,
        MemoryMax,
        Oom,
        PidsRefused,
        Populated,
        PressureStall,
        Removed,
        Trigger,
    )
    from cgagent.cgroups.group import Group
    from cgagent.cgroups.hierarchy import Placement
    from cgagent.cgroups.host import Host
    from cgagent.cgroups.limits import IoLatency, IoMax, IoWeight, Limits
    from cgagent.cgroups.membership import Membership
    from cgagent.cgroups.oom import OomCounters
    from cgagent.cgroups.reader import Descriptors, Reader
    from cgagent.cgroups.usage import (
        Cpu,
        Descendants,
        DeviceIo,
        HugePages,
        Memory,
        Pids,
        Pressure,
        Psi,
        RdmaDevice,
        Stall,
        Usage,
    )
    from cgagent.cgroups.watcher import Watcher

__all__ = [
    "CONTAINER_DEVICES",
    "UNLIMITED",
    "Cpu",
    "Descendants",
    "Descriptors",
    "DeviceIo",
    "DeviceRule",
    "Drift",
    "Event",
    "Frozen",
    "Group",
    "Host",
    "HugePages",
    "IoLatency",
    "IoMax",
    "IoWeight",
    "Limits",
    "Membership",
    "Memory",
    "MemoryHigh",
    "MemoryMax",
    "Oom",
    "OomCounters",
    "Pids",
    "PidsRefused",
    "Placement",
    "Populated",
    "Pressure",
    "PressureStall",
    "Psi",
    "RdmaDevice",
    "Reader",
    "Removed",
    "Stall",
    "Trigger",
    "Unlimited",
    "Usage",
    "Watcher",
    "blkio_weight_to_io_weight",
    "cpus_to_quota",
    "io_weight_to_blkio_weight",
    "shares_to_weight",
    "swap_from_memory_swap",
    "weight_to_shares",
]

# Each name is loaded when it is asked for: all of them take 60 ms.
_HOMES = {
    "amount": "UNLIMITED Unlimited",
    "convert": "blkio_weight_to_io_weight cpus_to_quota io_weight_to_blkio_weight "
    "shares_to_weight swap_from_memory_swap weight_to_shares",
    "device_rule": "DeviceRule",
    "devices": "CONTAINER_DEVICES",
    "drift": "Drift",
    "events": "Event Frozen MemoryHigh MemoryMax Oom PidsRefused Populated PressureStall Removed "
    "Trigger",
    "group": "Group",
    "hierarchy": "Placement",
    "host": "Host",
    "limits": "IoLatency IoMax IoWeight Limits",
    "membership": "Membership",
    "oom": "OomCounters",
    "reader": "Descriptors Reader",
    "usage": "Cpu Descendants DeviceIo HugePages Memory Pids Pressure Psi RdmaDevice Stall Usage",
    "watcher": "Watcher",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
