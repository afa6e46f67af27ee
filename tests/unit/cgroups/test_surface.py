"""What a user of the library alone can rely on."""

import subprocess
import sys
from pathlib import Path

import cgagent.cgroups

ROOT = Path(cgagent.__file__).parent.parent


def test_public_names():
    assert cgagent.cgroups.__all__ == [
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
    assert all(hasattr(cgagent.cgroups, name) for name in cgagent.cgroups.__all__)


def test_importing_it_is_light():
    heavy = {"asyncio", "subprocess", "json", "ctypes", "logging", "socket", "psutil"}
    code = "import sys, cgagent.cgroups; print(*sys.modules)"
    command = [sys.executable, "-S", "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert not heavy & set(loaded.split())
