r"""What the agent and the supervisor say to each other, and in which order.

One packet is one JSON object; descriptors travel beside it (SCM_RIGHTS).

    agent                                         supervisor
      │ {"seq": 1, "op": "create", "key": ...}        │   a process in its namespaces and cgroup,
      │──────────────────────────────────────────────>│   waiting for its job (a zygote)
      │                                               │   ("stage": with mounts made already)
      │<──────────────────────────────────────────────│ {"seq": 1, "pid": 4711}
      │ {"seq": 2, "op": "root", "bundle": ...}       │   it goes to the root of a container that is
      │──────────────────────────────────────────────>│   prewarmed, its process not yet known
      │<──────────────────────────────────────────────│ {"seq": 2, "pid": 4711}
      │ {"seq": 3, "op": "attach", ...}  + socket     │   any number of times, also while running;
      │──────────────────────────────────────────────>│   the socket now belongs to the supervisor;
      │                                 (+ memfd)     │   the memfd has input that was read already
      │<──────────────────────────────────────────────│ {"seq": 3}
      │ {"op": "set-up", "bundle": ...}               │   the zygote goes on to its root; or may, as
      │──────────────────────────────────────────────>│   this has no answer. If it is there, it has
      │                                               │   what is known of it by now in "process"
      │ {"seq": 4, "op": "start", "bundle": ...}      │   it does the rest of its steps and execs
      │──────────────────────────────────────────────>│
      │<──────────────────────────────────────────────│ {"seq": 4, "pid": 4711}
      │                                               │   or {"seq": 4, "error": {kind, message}};
      │                                               │   "own": true: it ends with the agent;
      │                                               │   "renewable": true: pid 0 if the zygote
      │                                               │   was killed, and another one may do it
      │ {"seq": 5, "op": "signal", "signal": 15}      │   "group": true: to its process group
      │──────────────────────────────────────────────>│
      │<──────────────────────────────────────────────│ {"seq": 5}
      │ {"seq": 6, "op": "resize", "rows": 24, ...}   │   of its terminal, if it has one
      │──────────────────────────────────────────────>│
      │<──────────────────────────────────────────────│ {"seq": 6}
      │<──────────────────────────────────────────────│ {"event": "exited", "key": ..., ...}
      │ {"seq": 7, "op": "forget", "key": ...}        │   of one that does not run yet: end it, and
      │──────────────────────────────────────────────>│   tell its clients "status"; or they wait
      │                                               │   for the next one: "keep_clients"
      │<──────────────────────────────────────────────│ {"seq": 7}

A key names a task: a container's id, or ``<id>/<exec id>`` for a command run inside it. What one
task goes through, and what may be said to it when:

      create            start             (exec succeeded)          (process ended)
    ─────────> CREATED ───────> STARTING ─────────────────> RUNNING ───────────────> EXITED
                  │                │                           │                        │
                  │ root, attach   │ (a step failed, forget)   │ attach, signal, resize │ forget
                  │ set-up, forget └──> the task is gone       │                        └──> gone
                  └──> gone

A start with a "driver" is done by another OCI runtime (`cgagent.runtime.external`): the zygote
stays what it is, and the pid in the reply is the process that the runtime made.

The exit of a container's process is also written to a file in its directory before it is told,
so an agent that was away learns of it all the same.
"""

from __future__ import annotations

import enum
from typing import Any, Final

from cgagent.errors import CgagentError, ConflictError, from_kind

MAX_PACKET: Final = 128 * 1024
"""Below the kernel's default socket buffer. What may be larger (an OCI configuration) is a file."""

_MAX_MESSAGE: Final = 4096  # characters: a command's name may be in it, and that may be anything

ROOT: Final = "root"
SET_UP: Final = "set-up"
COMPRESS: Final = "compress"
"""Requests and an option of logs that an earlier version's supervisor may not know: it says which
it knows ("hints")."""

READY: Final = {"ready": True}
ROOTED: Final = {"rooted": True}
CONSOLE: Final = {"console": True}
"""What a zygote says: only exec is left, it is in its root, here is its terminal's descriptor."""

EXIT_FILE: Final = "exit.json"
CONFIG_FILE: Final = "config.json"

STDIN, STDOUT, STDERR, STATUS = range(4)
"""Stream numbers in the frames of an attached socket; STATUS carries one JSON object at the end."""


class State(enum.Enum):
    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"


_ALLOWED: Final[dict[str, frozenset[State]]] = {
    "attach": frozenset({State.CREATED, State.RUNNING}),
    ROOT: frozenset({State.CREATED}),
    SET_UP: frozenset({State.CREATED}),
    "start": frozenset({State.CREATED}),
    "signal": frozenset({State.RUNNING}),
    "resize": frozenset({State.RUNNING}),
    "forget": frozenset({State.CREATED, State.STARTING, State.EXITED}),
}

_NEXT: Final[dict[tuple[State, str], State]] = {
    (State.CREATED, "start"): State.STARTING,
    (State.STARTING, "retracted"): State.CREATED,
    (State.STARTING, "running"): State.RUNNING,
    (State.RUNNING, "exited"): State.EXITED,
}


class Exchange:
    """The order of things for one task, without any input or output."""

    __slots__ = ("key", "state")

    def __init__(self, key: str, state: State = State.CREATED) -> None:
        self.key = key
        self.state = state

    def check(self, op: str) -> None:
        """Is the request in order now?

        Raises:
            ConflictError: it is not.
        """
        if self.state not in _ALLOWED[op]:
            raise ConflictError(f"task {self.key} is {self.state.value}: {op} is not possible")

    def advance(self, what: str) -> None:
        """Something happened: ``start`` was asked, the task is ``running``, it ``exited``.

        Raises:
            ConflictError: that cannot happen in this state.
        """
        try:
            self.state = _NEXT[self.state, what]
        except KeyError:
            raise ConflictError(f"task {self.key} is {self.state.value}, not {what}") from None


def error_to_wire(error: CgagentError) -> dict[str, str]:
    """Cut to what surely fits a packet, however its characters are escaped."""
    message = error.message
    if len(message) > _MAX_MESSAGE:
        message = message[:_MAX_MESSAGE] + "…"
    return {"kind": error.kind, "message": message}


def error_from_wire(value: dict[str, Any]) -> CgagentError:
    return from_kind(str(value.get("kind")), str(value.get("message")))
