"""What the kernel counts of a block device, whoever uses it: /sys/dev/block/MAJOR:MINOR/stat.

Of a group it counts bytes and operations alone; cAdvisor's names for merged requests, time and
what is under way have always been the disk's. Source: Documentation/block/stat.rst.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

_FIELDS: Final = 11
"""Since Linux 2.6; later kernels have more."""


@dataclass(frozen=True, slots=True)
class Disk:
    """Times in milliseconds, summed over requests but for `busy_ms`."""

    device: str
    """As "/dev/sda"."""
    reads_merged: int
    read_ms: int
    writes_merged: int
    write_ms: int
    in_flight: int
    """Requests under way."""
    busy_ms: int
    """Time in which there was one under way."""
    weighted_ms: int


def below(path: str) -> str | None:
    """MAJOR:MINOR of the device that a file is on; None where that is no disk (tmpfs, btrfs)."""
    try:
        number = os.stat(path).st_dev
    except FileNotFoundError:
        return None
    return f"{os.major(number)}:{os.minor(number)}" if os.major(number) else None


def read(device: str, root: str = "/sys/dev/block") -> Disk | None:
    """None for a device that has gone."""
    try:
        with open(f"{root}/{device}/stat", encoding="ascii") as file:
            numbers = list(map(int, file.read().split()))
        name = os.path.basename(os.readlink(f"{root}/{device}"))
    except OSError:
        return None
    if len(numbers) < _FIELDS:
        return None
    _, rm, _, rt, _, wm, _, wt, flying, busy, weighted = numbers[:_FIELDS]
    return Disk(f"/dev/{name}", rm, rt, wm, wt, flying, busy, weighted)
