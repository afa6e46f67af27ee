"""Why something failed, and how a process ended."""

from __future__ import annotations

from typing import Final, Self

from cgagent.errors import CgagentError, from_kind
from cgagent.messages.record import Message, Record

_MAX_MESSAGE: Final = 4096  # characters: a command's name may be in it, and that may be anything


class Failure(Record):
    """An error, by the kind that `cgagent.errors` has for it."""

    kind: str
    message: str

    @classmethod
    def of(cls, error: CgagentError) -> Self:
        """Cut to what surely fits a packet, however its characters are escaped."""
        message = error.message
        if len(message) > _MAX_MESSAGE:
            message = message[:_MAX_MESSAGE] + "…"
        return cls(kind=error.kind, message=message)

    def error(self) -> CgagentError:
        return from_kind(self.kind, self.message)


class Failed(Message):
    """What was asked for, or what the sender was doing, has failed."""

    why: Failure

    @classmethod
    def of(cls, error: CgagentError) -> Self:
        return cls(why=Failure.of(error))


class Exit(Record):
    """How a task ended; also the contents of a container's exit file.

    Without an `exit_code` it could not be started, or nobody knows how it ended.
    """

    pid: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    finished_ns: int | None = None
    log_dropped_bytes: int = 0
    """Output that is missing in the log."""
    error: str | None = None


class Status(Record):
    """What an attached client is told last, in a frame of the stream STATUS."""

    error: Failure | None = None
    """Why the start failed."""
    pid: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    finished_ns: int | None = None
    log_dropped_bytes: int | None = None
    detached: bool = False
    """The client sent the keys that end its session; the task goes on."""

    @classmethod
    def of_failure(cls, error: CgagentError) -> Self:
        return cls(error=Failure.of(error))

    @classmethod
    def of_exit(cls, exit_: Exit) -> Self:
        """An ``error`` of the exit is not told: to clients that is a start that failed."""
        return cls(
            pid=exit_.pid,
            exit_code=exit_.exit_code,
            signal=exit_.signal,
            finished_ns=exit_.finished_ns,
            log_dropped_bytes=exit_.log_dropped_bytes,
        )
