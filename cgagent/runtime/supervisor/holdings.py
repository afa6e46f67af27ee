"""What outlives the supervisor: descriptors and a little JSON, by name.

The keeper has one copy, the supervisor the other. The supervisor makes every change to its own and
tells the keeper, in one packet each: a packet that was sent is as good as done, since the keeper
reads what is left of the connection before it starts a successor. So an entry changes as a whole
or not at all, whenever the supervisor dies.

    {"name": "task/4f…", "value": {"state": "starting"}, "labels": ["out", "err"]}  + descriptors
    {"name": "task/4f…", "close": ["stdin"]}
    {"name": "task/4f…", "drop": true}
    {"reap": 4711}                    how this child of the keeper's ended is noted
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cgagent.runtime import wire
from cgagent.runtime.protocol import MAX_PACKET

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Mapping

REAP: Final = "reap"
_ROOM: Final = 8 * 1024  # an agent's packet may be kept as part of a value


@dataclass(slots=True)
class Entry:
    value: dict[str, Any] = field(default_factory=dict)
    fds: dict[str, int] = field(default_factory=dict)


Entries = dict[str, Entry]


def apply(entries: Entries, change: Mapping[str, Any], fds: list[int]) -> list[int]:
    """Make a change; returns the descriptors that are held no more, for the caller to close.

    Of a value only the members given change; None removes one.
    """
    name = change["name"]
    if change.get("drop"):
        gone = entries.pop(name, None)
        return list(gone.fds.values()) if gone else []
    entry = entries.setdefault(name, Entry())
    for key, value in change.get("value", {}).items():
        if value is None:
            entry.value.pop(key, None)
        else:
            entry.value[key] = value
    new = dict(zip(change.get("labels", ()), fds, strict=True))
    ended = [*change.get("close", ()), *new]
    closed = [entry.fds.pop(label) for label in ended if label in entry.fds]
    entry.fds |= new
    return closed


class Holdings:
    """The supervisor's copy. Owns the descriptors in it."""

    def __init__(self, entries: Entries, channel: socket.socket) -> None:
        self.entries = entries
        self.channel = channel

    def change(self, change: dict[str, Any], fds: list[int]) -> None:
        # if the keeper is dead: the next one is given all there is
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            wire.send(self.channel, change, fds, MAX_PACKET + _ROOM)
        for fd in apply(self.entries, change, fds):
            os.close(fd)

    def reap(self, pid: int) -> None:
        """Let the keeper's child go: how it ended is in the holdings, or nobody needs it."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            wire.send(self.channel, {REAP: pid})

    def named(self, prefix: str) -> list[Holding]:
        """Those whose name begins so."""
        return [Holding(self, name) for name in self.entries if name.startswith(prefix)]


class Holding:
    """One entry, which may not be there yet."""

    __slots__ = ("_all", "name")

    def __init__(self, all_: Holdings, name: str) -> None:
        self._all = all_
        self.name = name

    @property
    def exists(self) -> bool:
        return self.name in self._all.entries

    @property
    def value(self) -> Mapping[str, Any]:
        return self._entry.value

    @property
    def fds(self) -> Mapping[str, int]:
        return self._entry.fds

    @property
    def _entry(self) -> Entry:
        return self._all.entries.get(self.name) or Entry()

    def put(
        self, fds: Mapping[str, int] | None = None, *, close: Iterable[str] = (), **value: Any
    ) -> None:
        """Add descriptors, owned here from now on; set members of the value (None: remove)."""
        fds = fds or {}
        change = {"name": self.name, "value": value, "labels": list(fds), "close": list(close)}
        self._all.change(change, list(fds.values()))

    def close(self, *labels: str) -> None:
        self._all.change({"name": self.name, "close": labels}, [])

    def drop(self) -> None:
        """Close all its descriptors and forget it."""
        self._all.change({"name": self.name, "drop": True}, [])
