"""What happens in groups, as the kernel announces it: one stream of events for many groups.

A `Watcher` has a descriptor to wait for and no thread of its own; it belongs to whoever waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cgagent.cgroups.amount import Unlimited

Resource = Literal["cpu", "memory", "io", "irq"]
StallKind = Literal["some", "full"]


@dataclass(frozen=True, slots=True)
class Trigger:
    """Announce when tasks have stalled on a resource for `stall_us` within a `window_us`."""

    resource: Resource
    kind: StallKind
    stall_us: int
    window_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Oom:
    """The OOM killer was at work in the group.

    `limiting_group` is the group whose limit was hit: itself, one above or one below it; None
    when it was the machine's memory. The figures are that group's, right after the kill.
    """

    group: str
    limiting_group: str | None
    victims: int
    usage_bytes: int | None
    peak_bytes: int | None
    limit_bytes: int | Unlimited | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryHigh:
    group: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryMax:
    group: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PidsRefused:
    group: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Populated:
    group: str
    populated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    group: str
    frozen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PressureStall:
    group: str
    trigger: Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """The group has gone; it is no longer watched."""

    group: str


Event = Oom | MemoryHigh | MemoryMax | PidsRefused | Populated | Frozen | PressureStall | Removed
