"""The supervisor's end of the wire: all that the fake one knows of the form of messages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cgagent.runtime import wire
from cgagent.runtime.protocol import COMPRESS, ROOT, SET_UP, STATUS, STDOUT, error_to_wire
from cgagent.runtime.supervisor.attached import frame

if TYPE_CHECKING:
    import socket

    from cgagent.errors import CgagentError
    from cgagent.runtime.protocol import Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request of the agent's."""

    op: str
    key: str
    arguments: dict[str, Any]
    fds: list[int]
    seq: int | None
    """None: it is not answered."""
    is_again: bool
    """Another supervisor may have been asked before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a supervisor is; `life` is its successors', too."""

    pid: int
    keeper: int
    life: str


def receive(sock: socket.socket) -> Asked | None:
    """The next request; None: the agent is gone. Raises BlockingIOError: there is none so far."""
    received = wire.receive(sock)
    if received is None:
        return None
    message, fds = received
    return Asked(
        op=message.pop("op"),
        key=message.pop("key", ""),
        seq=message.pop("seq", None),
        is_again=message.pop("again", False),
        arguments=message,
        fds=fds,
    )


def answer(sock: socket.socket, asked: Asked, pid: int | None) -> None:
    """That it is done; with the task's process, where that is what was asked for."""
    result = {} if pid is None else {"pid": pid}
    wire.send(sock, {"seq": asked.seq, **result})


def introduce(sock: socket.socket, asked: Asked, who: Identity) -> None:
    """The answer to ``list``."""
    known = {"hints": [SET_UP, ROOT, COMPRESS]}
    message = {"pid": who.pid, "keeper": who.keeper, "life": who.life, **known}
    wire.send(sock, {"seq": asked.seq, **message})


def refuse(sock: socket.socket, asked: Asked, error: CgagentError) -> None:
    wire.send(sock, {"seq": asked.seq, "error": error_to_wire(error)})


def tell_task(sock: socket.socket, task: Exchange, pid: int) -> None:
    wire.send(sock, {"event": "task", "key": task.key, "state": task.state.value, "pid": pid})


def tell_exit(sock: socket.socket, key: str, how: dict[str, Any]) -> None:
    wire.send(sock, {"event": "exited", "key": key, **how})


def tell_started(sock: socket.socket, key: str, pid: int) -> None:
    wire.send(sock, {"event": "started", "key": key, "pid": pid})


def tell_cut_off(sock: socket.socket, key: str) -> None:
    wire.send(sock, {"event": "client-cut-off", "key": key})


def tell_moved(sock: socket.socket, who: Identity) -> None:
    wire.send(sock, {"event": "moved", "pid": who.pid, "keeper": who.keeper})


def exit_text(how: dict[str, Any]) -> str:
    """What is in an exit file."""
    return json.dumps(how)


def output(text: bytes) -> bytes:
    """For an attached client."""
    return frame(STDOUT, text)


def exit_status(how: dict[str, Any]) -> bytes:
    """The last that an attached client is told."""
    return frame(STATUS, json.dumps(how).encode())


def failure_status(error: CgagentError) -> bytes:
    return frame(STATUS, json.dumps({"error": error_to_wire(error)}).encode())


def given_status(asked: Asked) -> bytes | None:
    """What ``forget`` tells clients that wait, if it does."""
    status = asked.arguments.get("status")
    return frame(STATUS, json.dumps(status).encode()) if status else None
