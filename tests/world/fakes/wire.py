"""The supervisor's end of the wire: all that the fake one knows of the form of messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgagent.messages import wire
from cgagent.messages.record import encode
from cgagent.runtime.messages.agent import (
    Answer,
    AnyRequest,
    Ask,
    ClientCutOff,
    CreateInside,
    Done,
    Moved,
    Pid,
    TaskExited,
    TaskListed,
    TaskStarted,
    Who,
)
from cgagent.runtime.messages.outcomes import Exit, Failed, Status
from cgagent.runtime.protocol import STATUS, STDOUT
from cgagent.runtime.supervisor.attached import frame

if TYPE_CHECKING:
    import socket

    from cgagent.errors import CgagentError
    from cgagent.runtime.protocol import Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request of the agent's."""

    op: str
    """``create``, also of a command inside a container, ``attach`` and so on."""
    key: str
    request: AnyRequest
    fds: list[int]
    seq: int
    is_again: bool
    """Another supervisor may have been asked before."""


def receive(sock: socket.socket) -> Asked | None:
    """The next request; None: the agent is gone. Raises BlockingIOError: there is none so far."""
    received = wire.receive(sock, Ask)
    if received is None:
        return None
    ask, fds = received
    request = ask.request
    is_create = isinstance(request, CreateInside)
    return Asked(
        op="create" if is_create else type(request).__name__.lower(),
        key=getattr(request, "key", ""),
        request=request,
        fds=fds,
        seq=ask.seq,
        is_again=ask.again,
    )


def answer(sock: socket.socket, asked: Asked, pid: int | None) -> None:
    """That it is done; with the task's process, where that is what was asked for."""
    result = Done() if pid is None else Pid(pid=pid)
    wire.send(sock, Answer(seq=asked.seq, result=result))


def introduce(sock: socket.socket, asked: Asked, who: Who) -> None:
    """The answer to ``list``."""
    wire.send(sock, Answer(seq=asked.seq, result=who))


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


def tell_moved(sock: socket.socket, who: Who) -> None:
    wire.send(sock, Moved(who=who))


def exit_file(how: Exit) -> bytes:
    """What is in an exit file."""
    return encode(how)


def output(text: bytes) -> bytes:
    """For an attached client."""
    return frame(STDOUT, text)


def status(told: Status) -> bytes:
    """The last that an attached client is told."""
    return frame(STATUS, encode(told))
