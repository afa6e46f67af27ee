"""The commands that would help, to be pasted."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cgagent.policy.causes.figures import Group

_MIB: Final = 1 << 20
_LEAST_CPUS: Final = 0.1


def change(group: Group, *flags: str) -> str:
    """Of a limit: a container's group and one of containers by their names, others by their paths.

    Empty for the root group, which has none.
    """
    if group.path == "/":
        return ""
    if group.container:
        return shlex.join(["cgagent", "update", *flags, group.container])
    if group.name:
        return shlex.join(["cgagent", "group", "update", *flags, group.name])
    return shlex.join(["cgagent", "cgroup", "set", *_insisting(group), *flags, group.path])


def thaw(group: Group) -> str:
    if group.container:
        return shlex.join(["cgagent", "thaw", group.container])
    if group.name:
        return shlex.join(["cgagent", "group", "thaw", group.name])
    return shlex.join(["cgagent", "cgroup", "thaw", *_insisting(group), group.path])


def _insisting(group: Group) -> list[str]:
    return [] if group.ours else ["--force"]


def cpus(value: float, most: int) -> str:
    """So many CPUs, rounded up to a tenth and no more than there are."""
    return f"{min(max(math.ceil(value * 10 - 1e-6) / 10, _LEAST_CPUS), most):g}"


def memory(value: float) -> str:
    """So many bytes, rounded up to 4 MiB."""
    return f"{max(math.ceil(value / (4 * _MIB)) * 4, 8)}m"


def rate(bytes_per_s: float) -> str:
    return memory(bytes_per_s) if bytes_per_s >= 8 * _MIB else f"{math.ceil(bytes_per_s / 1024)}k"
