"""Conversions between docker's, cgroup v1's and cgroup v2's units. Pure functions.

Sources: the Kubernetes, runc 1.3.2 and crun 1.23 conversion of CPU shares (2025); docker's
documentation of `--memory-swap`; the OCI runtime specification's block IO weight.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from cgagent.cgroups.amount import UNLIMITED, Unlimited
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Collection

MIN_SHARES: Final = 2
MAX_SHARES: Final = 262_144
MAX_WEIGHT: Final = 10_000
DEFAULT_PERIOD_US: Final = 100_000
MIN_QUOTA_US: Final = 1_000  # the kernel refuses less
_RANGE: Final = re.compile(r"(\d+)(?:-(\d+)(?::(\d+)/(\d+))?)?", re.ASCII)


def shares_to_weight(shares: int) -> int:
    """cpu.weight for docker's CPU shares: 2 -> 1, 1024 -> 100, 262144 -> 10000.

    A curve through these three points, so that the default maps to the default; the
    straight line of earlier runtimes gave a container with 1024 shares a weight of 39.
    """
    if shares <= MIN_SHARES:
        return 1
    if shares >= MAX_SHARES:
        return MAX_WEIGHT
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


def weight_to_shares(weight: int) -> int:
    """The largest number of shares that has this weight: 100 -> 1024."""
    shares = range(MIN_SHARES, MAX_SHARES + 1)
    return shares[max(bisect_right(shares, weight, key=shares_to_weight) - 1, 0)]


def blkio_weight_to_io_weight(weight: int) -> int:
    """io.weight (1..10000) for docker's block IO weight (10..1000; bfq takes 1..1000)."""
    return max(1 + (weight - 10) * 9_999 // 990, 1)


def io_weight_to_blkio_weight(weight: int) -> int:
    """The smallest block IO weight (10..1000) that reaches this io.weight (1..10000)."""
    return 10 + -(-(weight - 1) * 990 // 9_999)


def swap_from_memory_swap(
    memory: int | Unlimited | None, memory_swap: int | None
) -> int | Unlimited | None:
    """Swap alone, from docker's `--memory` and `--memory-swap` (memory and swap together).

    Args:
        memory: the memory limit in bytes; UNLIMITED and None are no limit.
        memory_swap: bytes; -1 is no limit; None and 0 are docker's default, which is as
            much swap as memory.

    Returns:
        bytes, UNLIMITED, or None where neither was given.

    Raises:
        InvalidInputError: less than the memory limit, or a limit without one.
    """
    if memory_swap == -1:
        return UNLIMITED
    if not isinstance(memory, int):
        if memory_swap:
            raise InvalidInputError("memory-swap: it needs a memory limit too: give --memory")
        return memory
    if not memory_swap:
        return memory
    if memory_swap < memory:
        raise InvalidInputError(
            f"memory-swap: {memory_swap} is below the memory limit {memory}, "
            "which it includes: raise it"
        )
    return memory_swap - memory


def cpus_to_quota(cpus: Decimal | float) -> tuple[int, int]:
    """(quota, period) in microseconds for a number of CPUs such as 1.5.

    Raises:
        InvalidInputError: not a number, or below the 0.01 that the kernel can hold.
    """
    exact = Decimal(str(cpus))
    if not exact.is_finite() or int(exact * DEFAULT_PERIOD_US) < MIN_QUOTA_US:
        raise InvalidInputError(f"cpus: {cpus} is below 0.01, the least the kernel can hold")
    return int(exact * DEFAULT_PERIOD_US), DEFAULT_PERIOD_US


def numbers_in_list(text: str) -> set[int]:
    """The CPUs or nodes of a kernel's list: "0-2,5" -> {0, 1, 2, 5}, "0-7:1/4" -> {0, 4}.

    The form is that of `bitmap_parselist` in the kernel's lib/bitmap-str.c. What is none of it
    is left out.
    """
    found: set[int] = set()
    for part in text.replace(",", " ").split():
        if match := _RANGE.fullmatch(part):
            first, last, used, of = match.groups()
            numbers = range(int(first), int(last or first) + 1)
            taken, group = int(used or 1), int(of or 1)
            found.update(n for n in numbers if group and (n - numbers[0]) % group < taken)
    return found


def list_of_numbers(numbers: Collection[int]) -> str:
    """The list of these numbers as the kernel writes it: {0, 1, 2, 5} -> "0-2,5"."""
    ordered = sorted(numbers)
    starts = [n for n in ordered if n - 1 not in numbers]
    ends = [n for n in ordered if n + 1 not in numbers]
    return ",".join(
        str(first) if first == last else f"{first}-{last}"
        for first, last in zip(starts, ends, strict=True)
    )
