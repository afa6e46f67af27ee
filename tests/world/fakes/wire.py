"""The supervisor's end of the wire: all that the fake one knows of the form of messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.runtime import wire
from cgagent.runtime.messages.agent import (
    Answer,
    Ask,
    Attach,
    ClientCutOff,
    Create,
    CreateInside,
    Done,
    Forget,
    List,
    Moved,
    Pid,
    Prepare,
    Resize,
    Signal,
    Start,
    TaskExited,
    TaskListed,
    TaskStarted,
    Who,
)
from cgagent.runtime.messages.outcomes import Exit, Failed, Status
from cgagent.runtime.messages.record import encode
from cgagent.runtime.protocol import STATUS, STDOUT
from cgagent.runtime.supervisor.attached import frame

if TYPE_CHECKING:
    import socket

    from cgagent.errors import CgagentError
    from cgagent.runtime.messages.record import Message, Record
    from cgagent.runtime.protocol import Exchange

_OPS: Final[dict[type[Message], str]] = {
    List: "list",
    Create: "create",
    CreateInside: "create",
    Attach: "attach",
    Prepare: "prepare",
    Start: "start",
    Signal: "signal",
    Resize: "resize",
    Forget: "forget",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request of the agent's."""

    op: str
    key: str
    request: Any
    fds: list[int]
    seq: int
    is_again: bool
    """Another supervisor may have been asked before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a supervisor is; `life` is its successors', too."""

    pid: int
    keeper: int
    life: str

    def message(self) -> Who:
        return Who(pid=self.pid, keeper=self.keeper, life=self.life)


def receive(sock: socket.socket) -> Asked | None:
    """The next request; None: the agent is gone. Raises BlockingIOError: there is none so far."""
    received = wire.receive(sock, Ask)
    if received is None:
        return None
    ask, fds = received
    return Asked(
        op=_OPS[type(ask.request)],
        key=getattr(ask.request, "key", ""),
        seq=ask.seq,
        is_again=ask.again,
        request=ask.request,
        fds=fds,
    )


def answer(sock: socket.socket, asked: Asked, pid: int | None) -> None:
    """That it is done; with the task's process, where that is what was asked for."""
    result = Done() if pid is None else Pid(pid=pid)
    wire.send(sock, Answer(seq=asked.seq, result=result))


def introduce(sock: socket.socket, asked: Asked, who: Identity) -> None:
    """The answer to ``list``."""
    wire.send(sock, Answer(seq=asked.seq, result=who.message()))


def refuse(sock: socket.socket, asked: Asked, error: CgagentError) -> None:
    wire.send(sock, Answer(seq=asked.seq, result=Failed.of(error)))


def tell_task(sock: socket.socket, task: Exchange, pid: int) -> None:
    wire.send(sock, TaskListed(key=task.key, state=task.state, pid=pid))


def tell_exit(sock: socket.socket, key: str, how: Exit) -> None:
    wire.send(sock, TaskExited(key=key, exit=how))


def tell_started(sock: socket.socket, key: str, pid: int) -> None:
    wire.send(sock, TaskStarted(key=key, pid=pid))


def tell_cut_off(sock: socket.socket, key: str) -> None:
    wire.send(sock, ClientCutOff(key=key))


def tell_moved(sock: socket.socket, who: Identity) -> None:
    wire.send(sock, Moved(who=who.message()))


def exit_text(how: Exit) -> str:
    """What is in an exit file."""
    return encode(how).decode()


def output(text: bytes) -> bytes:
    """For an attached client."""
    return frame(STDOUT, text)


def exit_status(how: Exit) -> bytes:
    """The last that an attached client is told."""
    return _status(Status.of_exit(how))


def failure_status(error: CgagentError) -> bytes:
    return _status(Status.of_failure(error))


def given_status(asked: Asked) -> bytes | None:
    """What ``forget`` tells clients that wait, if it does."""
    return _status(asked.request.status) if asked.request.status else None


def _status(status: Record) -> bytes:
    return frame(STATUS, encode(status))
