"""Figures of the machine and of the agent's own process, most of them through psutil."""

from __future__ import annotations

import contextlib
import glob
import os
import re
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
_MEMINFO: Final = "/proc/meminfo"
_MEMORY: Final = re.compile(
    rb"^(MemTotal|MemAvailable|SwapTotal|SwapFree): +(\d+) kB", re.MULTILINE
)


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
    """What takes long (descriptors by the thousand) is read where there is no `last`."""
    memory = _memory_bytes()
    agent = _agent()
    with agent.oneshot():
        own_cpu = agent.cpu_times()
        return HostSample(
            at_s=time.time(),
            cpu_cores=psutil.cpu_count() or 1,
            cpu_seconds=psutil.cpu_times()._asdict(),
            load=psutil.getloadavg(),
            memory_total_bytes=memory["MemTotal"],
            memory_available_bytes=memory["MemAvailable"],
            swap_total_bytes=memory["SwapTotal"],
            swap_free_bytes=memory["SwapFree"],
            agent_started_at_s=agent.create_time(),
            agent_cpu_seconds=own_cpu.user + own_cpu.system,
            agent_resident_bytes=agent.memory_info().rss,
            # Its size is their number since Linux 6.2; to list thousands takes long.
            agent_open_fds=os.stat("/proc/self/fd").st_size
            or (last.agent_open_fds if last else agent.num_fds()),
        )


def _memory_bytes() -> dict[str, int]:
    """Read memory and swap in bytes, of one moment: policies decide by both together."""
    with open(_MEMINFO, "rb") as opened:
        return {name.decode(): int(kib) << 10 for name, kib in _MEMORY.findall(opened.read())}
