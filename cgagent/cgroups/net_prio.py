"""The net_prio controller, v1's alone: the priority of what a group's tasks send (Linux 3.3).

It is kept for each interface of the machine's first network namespace, and says which band of the
interface's queue a packet is in. Packets of other network namespaces do not have it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar, Final

from cgagent.cgroups import files
from cgagent.cgroups.changes import Write, missing
from cgagent.cgroups.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIELDS: Final = frozenset({"net_priority"})
_PORT_OF_A_BRIDGE: Final = "/sys/class/net/{}/brport"


class NetPrioV1:
    FIELDS: ClassVar = FIELDS

    def __init__(self, directory: str) -> None:
        self._map = f"{directory}/net_prio.ifpriomap"

    def writes(self, limits: Limits) -> list[Write]:
        """One for each interface; one that comes later has priority 0."""
        if limits.net_priority is None:
            return []
        if not os.path.exists(self._map):
            raise missing("net_priority", self._map)
        return [
            Write("net_priority", self._map, f"{name} {limits.net_priority}", _undo(name))
            for name, _ in self._interfaces()
        ]

    def held(self) -> Limits:
        """The highest of any interface's: those that have come since are at 0."""
        return Limits(net_priority=max((value for _, value in self._interfaces()), default=None))

    def _interfaces(self) -> Iterator[tuple[str, int]]:
        """All but bridges' ports: containers' links come and go, and say nothing of the host."""
        for line in files.lines(files.read(self._map) or ""):
            name, _, value = line.rpartition(" ")
            if not os.path.exists(_PORT_OF_A_BRIDGE.format(name)):
                yield name, int(value)


def _undo(name: str) -> Callable[[str], str]:
    """Its own line of the file, which is as it is written."""

    def undo(text: str) -> str:
        return next(line for line in files.lines(text) if line.startswith(f"{name} "))

    return undo
