"""Where a container's output is kept, by the name of Docker's log driver; loaded as it is needed.

The agent checks what is asked for (`cgagent.engine.options.logging`) and tells the supervisor with
each start, as one object:

    {"driver": "json-file", "path": ..., "max_bytes": ..., "max_files": ..., "attributes": {}}
    {"driver": "journald", "fields": {"CONTAINER_NAME": ..., ...}}
    null: the output goes to attached clients only
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from cgagent.runtime.logs.json_file import Mark


class Log(Protocol):
    """The writing end of one run's log."""

    dropped_bytes: int
    """What could not be written. A container does not stop for its log."""

    @property
    def piece_bytes(self) -> int:
        """How much to give to `append` at a time: bounds what a turn of the writer takes."""

    @property
    def is_full(self) -> bool:
        """`rotate` comes next."""

    def mark(self, stream: int) -> Mark:
        """Where it stands, for a successor to `rewind` to."""

    def rewind(self, stream: int, mark: Mark) -> None: ...

    def rotate(self) -> None: ...

    def append(self, stream: int, data: bytes) -> int:
        """How many bytes were taken; none: not now, watch `fileno` for writing."""

    def write(self, stream: int, data: bytes) -> None:
        """Log all of it now, and wait only a little for that."""

    def fileno(self) -> int: ...

    def close(self) -> None:
        """Log the last lines, complete or not."""


def open_log(how: dict[str, Any] | None, *, again: bool = False) -> Log | None:
    """By a successor `again`. Raises UnavailableError: the journal is not there, at first."""
    if how is None:
        return None
    options = dict(how)
    if options.pop("driver") == "journald":
        from cgagent.runtime.logs.journald import JournalLog

        return JournalLog(**options, again=again)
    from cgagent.runtime.logs.json_file import LogFile

    return LogFile(**options)
