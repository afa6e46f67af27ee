"""Where a container's output is kept, by the name of Docker's log driver; loaded as it is needed.

The agent checks what is asked for (`cgagent.engine.options.logging`) and tells the supervisor with
each start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cgagent.runtime.messages.jobs import JournaldLog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.runtime.logs.json_file import Mark
    from cgagent.runtime.messages.jobs import JsonFileLog


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

    def since(self, inode: int, offset: int, limit: int) -> Iterable[tuple[int, bytes]]:
        """Output by stream, after a place in a file that can be read. Raises ConflictError."""

    def fileno(self) -> int: ...

    def close(self) -> None:
        """Log the last lines, complete or not."""


def open_log(log: JsonFileLog | JournaldLog | None, *, again: bool = False) -> Log | None:
    """By a successor `again`. Raises UnavailableError: the journal is not there, at first."""
    if log is None:
        return None
    if isinstance(log, JournaldLog):
        from cgagent.runtime.logs.journald import JournalLog

        return JournalLog(log.fields, again=again)
    from cgagent.runtime.logs.json_file import LogFile

    return LogFile(
        log.path,
        max_bytes=log.max_bytes,
        max_files=log.max_files,
        attributes=log.attributes,
        compress=log.compress,
    )
