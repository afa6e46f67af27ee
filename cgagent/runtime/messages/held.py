"""What the keeper keeps for a supervisor's successor, and what the two say to each other."""

from __future__ import annotations

from typing import Any, Final

from cgagent.messages.record import Message, Record
from cgagent.runtime.messages.agent import Start
from cgagent.runtime.messages.jobs import Streams
from cgagent.runtime.messages.outcomes import Exit, Failure, Status
from cgagent.runtime.protocol import State


class Ended(Message):
    """A child of the keeper's has ended; it stays a zombie until it is said to `Reap` it."""

    pid: int
    killed: bool
    status: int
    """The signal that killed it, or its exit code."""


class Reap(Message):
    """How this child of the keeper's ended is noted, or nobody needs to know it."""

    pid: int


class Change(Message):
    """Of one entry of the holdings, with descriptors for the `labels`. Made as a whole."""

    name: str
    value: dict[str, Any] = {}  # noqa: RUF012 - never changed
    """The members of the entry's record that change, as JSON; None: back to its default."""
    labels: tuple[str, ...] = ()
    close: tuple[str, ...] = ()
    drop: bool = False
    """The entry and all its descriptors."""


CHANGES: Final[tuple[type[Change | Reap], ...]] = (Change, Reap)
"""What the keeper hears."""


class HeldTask(Record):
    """How far a task is."""

    key: str
    state: State
    pid: int
    cgroup_dirs: tuple[str, ...] = ()
    """Directories made for it alone, which go with a zygote that nobody wants."""
    is_preparing: bool = False
    """The zygote was asked to prepare."""
    streams: Streams | None = None
    """Those that are open."""
    start: Start | None = None
    """From the start until its command runs."""
    directory: str | None = None
    """Where its exit file is written."""
    own: bool = False
    """As in `Start`."""
    is_ready: bool = False
    failure: Failure | None = None
    """What the zygote has said."""
    ended: Ended | None = None
    exit: Exit | None = None
    is_stray: bool = False
    """Its parent was a keeper that was killed."""


class HeldClient(Record):
    """A client that is attached to the task `key`, or will be."""

    key: str
    streams: tuple[int, ...]
    """Those that it wants; with standard input its own input is taken."""
    raw: bool = False
    status: bool = True
    """A status is sent at the end."""
    failures: bool = False
    """A start that failed is told as text."""
    detach_keys: str = ""
    stay: bool = False
    closing: bool = False
    """Nothing more will be queued for it."""
    last: Status | None = None
    """The status that is being queued, after so many bytes `before` it."""
    before: int = 0


class HeldSelf(Record):
    """What successive supervisors have in common."""

    life: str
    agent: str = ""
    """Which agent was connected last."""
