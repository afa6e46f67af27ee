"""What an explanation is made of: causes with their evidence and the commands that would help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "ended",
    "frozen",
    "oom",
    "pids-limit",
    "hugetlb-limit",
    "cpu-quota",
    "cpu-weight",
    "cpuset",
    "cpu-own",
    "cpu-neighbour",
    "cpu-host",
    "memory-high",
    "memory-max",
    "memory-neighbour",
    "memory-host",
    "swap",
    "io-max",
    "io-own",
    "io-neighbour",
    "io-device",
]

LEAST_SHARE: Final = 0.05
"""Of the time: what holds back less than this is no cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One figure that a cause was told by."""

    what: str
    value: float | str
    unit: str = ""
    file: str = ""
    """Where the kernel has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    kind: Kind
    group: str
    """The group whose limit it is, or that takes what is missing; "/" is the host itself."""
    container: str | None
    """The name of the container whose group that is."""
    share: float | None
    """Of the time, in which some task was held back by it; None: this kernel does not measure it,
    or something fails instead of waiting."""
    fails: bool = False
    """Something is ended or refused: worse than any waiting."""
    says: str
    evidence: tuple[Evidence, ...]
    commands: tuple[str, ...] = ()
    """Any of them would help, the likeliest first."""
