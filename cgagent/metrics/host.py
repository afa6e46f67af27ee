"""Figures of the machine and of the agent's own process, through psutil."""

from __future__ import annotations

import contextlib
import glob
import os
import time
from functools import cache
from typing import TYPE_CHECKING, Final

import psutil

from cgagent.metrics.samples import HostSample

if TYPE_CHECKING:
    from collections.abc import Mapping

_IDS: Final = {
    "boot_id": ("/proc/sys/kernel/random/boot_id",),
    "machine_id": ("/etc/machine-id", "/var/lib/dbus/machine-id"),
    "system_uuid": (
        "/sys/class/dmi/id/product_uuid",
        "/proc/device-tree/system-id",
        "/proc/device-tree/vm,uuid",
        "/etc/machine-id",
    ),
}
"""Where each is, the first that is there."""


@cache
def machine_ids() -> Mapping[str, str]:
    """By cAdvisor's labels; empty where the machine has none. None changes while an agent runs."""
    return {name: next(filter(None, map(_id, files)), "") for name, files in _IDS.items()}


def _id(file: str) -> str:
    try:
        with open(file, "rb") as opened:
            return opened.read().strip(b"\0\n ").decode("ascii", "replace")
    except OSError:  # there is none on this machine, or not for this user
        return ""


@cache
def cpu_topology() -> tuple[int, int]:
    """Physical cores and sockets, of the CPUs that are online at the agent's start."""
    packages = set()
    for file in glob.glob("/sys/devices/system/cpu/cpu*/topology/physical_package_id"):
        with contextlib.suppress(OSError), open(file, encoding="ascii") as opened:
            packages.add(opened.read())
    return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1, len(packages) or 1


@cache
def _agent() -> psutil.Process:
    return psutil.Process()


def sample(last: HostSample | None = None) -> HostSample:
    """What takes long (swap, descriptors by the thousand) is read where there is no `last`."""
    memory = psutil.virtual_memory()
    swap_total, swap_free = (last.swap_total_bytes, last.swap_free_bytes) if last else _swap_bytes()
    agent = _agent()
    with agent.oneshot():
        own_cpu = agent.cpu_times()
        return HostSample(
            at_s=time.time(),
            cpu_cores=psutil.cpu_count() or 1,
            cpu_seconds=psutil.cpu_times()._asdict(),
            load=psutil.getloadavg(),
            memory_total_bytes=memory.total,
            memory_available_bytes=memory.available,
            swap_total_bytes=swap_total,
            swap_free_bytes=swap_free,
            agent_started_at_s=agent.create_time(),
            agent_cpu_seconds=own_cpu.user + own_cpu.system,
            agent_resident_bytes=agent.memory_info().rss,
            # Its size is their number since Linux 6.2; to list thousands takes long.
            agent_open_fds=os.stat("/proc/self/fd").st_size
            or (last.agent_open_fds if last else agent.num_fds()),
        )


def _swap_bytes() -> tuple[int, int]:
    swap = psutil.swap_memory()
    return swap.total, swap.free
