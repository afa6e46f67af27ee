"""What outlives the supervisor: descriptors and a small record each, by name.

The keeper has one copy, the supervisor the other. The supervisor makes every change to its own and
tells the keeper, in one packet each (`Change`): a packet that was sent is as good as done, since
the keeper reads what is left of the connection before it starts a successor. So an entry changes as
a whole or not at all, whenever the supervisor dies. The keeper need not know what an entry means:
to it a record is a JSON object.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from cgagent.messages import wire
from cgagent.messages.record import Record
from cgagent.messages.wire import MAX_PACKET
from cgagent.runtime.messages.held import Change, Reap

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Mapping

R = TypeVar("R", bound=Record)

_ROOM: Final = 8 * 1024  # an agent's packet may be kept as part of a value


@dataclass(slots=True)
class Entry:
    value: dict[str, Any] = field(default_factory=dict)
    fds: dict[str, int] = field(default_factory=dict)


Entries = dict[str, Entry]


def apply(entries: Entries, change: Change, fds: list[int]) -> list[int]:
    """Make a change; returns the descriptors that are held no more, for the caller to close."""
    if change.drop:
        gone = entries.pop(change.name, None)
        return list(gone.fds.values()) if gone else []
    entry = entries.setdefault(change.name, Entry())
    for key, value in change.value.items():
        if value is None:
            entry.value.pop(key, None)
        else:
            entry.value[key] = value
    new = dict(zip(change.labels, fds, strict=True))
    ended = [*change.close, *new]
    closed = [entry.fds.pop(label) for label in ended if label in entry.fds]
    entry.fds |= new
    return closed


class Holdings:
    """The supervisor's copy. Owns the descriptors in it."""

    def __init__(self, entries: Entries, channel: socket.socket) -> None:
        self.entries = entries
        self.channel = channel

    def change(self, change: Change, fds: list[int]) -> None:
        # if the keeper is dead: the next one is given all there is
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            wire.send(self.channel, change, fds, MAX_PACKET + _ROOM)
        for fd in apply(self.entries, change, fds):
            os.close(fd)

    def reap(self, pid: int) -> None:
        """Let the keeper's child go: how it ended is in the holdings, or nobody needs it."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            wire.send(self.channel, Reap(pid=pid))

    def named(self, prefix: str) -> list[str]:
        """The names that begin so."""
        return [name for name in self.entries if name.startswith(prefix)]


class Holding(Generic[R]):
    """One entry, which may not be there yet, with a record of the class `kind`."""

    __slots__ = ("_all", "_value", "name")

    def __init__(self, all_: Holdings, name: str, kind: type[R]) -> None:
        self._all = all_
        self.name = name
        entry = all_.entries.get(name)
        self._value: R | None = kind.from_json(entry.value) if entry else None

    @property
    def exists(self) -> bool:
        return self.name in self._all.entries

    @property
    def value(self) -> R:
        if self._value is None:
            raise KeyError(self.name)
        return self._value

    @property
    def fds(self) -> Mapping[str, int]:
        entry = self._all.entries.get(self.name)
        return entry.fds if entry else {}

    def put(
        self, value: R, fds: Mapping[str, int] | None = None, *, close: Iterable[str] = ()
    ) -> None:
        """Have this record from now on; add descriptors, which are owned here, and close others."""
        fds = fds or {}
        is_new = self._value is None or not self.exists
        changed = value.to_json() if is_new else value.difference(self.value)
        self._value = value
        change = Change(name=self.name, value=changed, labels=tuple(fds), close=tuple(close))
        self._all.change(change, list(fds.values()))

    def update(
        self, fds: Mapping[str, int] | None = None, *, close: Iterable[str] = (), **members: Any
    ) -> None:
        """Change some members of the record; add descriptors and close others."""
        self.put(self.value.replace(**members) if members else self.value, fds, close=close)

    def close(self, *labels: str) -> None:
        self._all.change(Change(name=self.name, close=labels), [])

    def drop(self) -> None:
        """Close all its descriptors and forget it; here its record can still be read."""
        self._all.change(Change(name=self.name, drop=True), [])
