r"""What the agent and the supervisor say to each other, and in which order.

One packet is one message of `cgagent.runtime.messages`; descriptors travel beside it (SCM_RIGHTS).
Each request is in an `Ask`, and what is answered in an `Answer` of the same number. The agent may
send its next request before the last one is answered; requests are taken in the order they come.

    agent                               supervisor                          zygote
      │ Create(key)                         │                                 │
      │────────────────────────────────────>│ clone, into its namespaces ────>│ mounts what most
      │<────────────────────────────────────│ Pid                             │ containers have
      │ Prepare(key, job)                   │ Prepare                         │
      │────────────────────────────────────>│────────────────────────────────>│ makes a root and
      │<────────────────────────────────────│<────────────────────────────────│ goes there
      │ Pid                                 │ Prepared                        │
      │ Attach(key) + socket (+ memfd)      │                                 │
      │────────────────────────────────────>│ the socket is the supervisor's  │
      │<────────────────────────────────────│ now; any number of times,       │
      │ Done                                │ also while it runs              │
      │ Prepare(key, job, streams)          │ Prepare + streams               │
      │────────────────────────────────────>│────────────────────────────────>│ does all that comes
      │ Start(key, job, streams)            │ Start                           │ before the start
      │────────────────────────────────────>│────────────────────────────────>│
      │<────────────────────────────────────│<────────────────────────────────│
      │ Pid, of the Prepare                 │ Prepared                        │ does the rest
      │                                     │<────────────────────────────────│
      │<────────────────────────────────────│ (Console,) Ready, the end       │ exec
      │ Pid, of the Start; or Failed        │                                 ┴
      │ Signal(key), Resize(key)            │
      │────────────────────────────────────>│
      │<────────────────────────────────────│ Done
      │<────────────────────────────────────│ TaskExited(key)
      │ Forget(key)                         │
      │────────────────────────────────────>│
      │<────────────────────────────────────│ Done

A container that is prewarmed is prepared twice: without streams and process while nobody has asked
for it, with them as far as they are known when somebody has. The agent does not wait for the second
answer before it sends the start: if it is `Failed`, the zygote has ended, and a start that was sent
meets the same failure. Asked for after the start it is superfluous, and answered at once.

A key names a task: a container's id, or ``<id>/<exec id>`` for a command run inside it. What one
task goes through, and what may be said to it when:

      create            start             (exec succeeded)          (process ended)
    ─────────> CREATED ───────> STARTING ─────────────────> RUNNING ───────────────> EXITED
                  │                │                           │                        │
                  │ attach,        │ (a step failed, forget)   │ attach, signal, resize │ forget
                  │ prepare,       └──> the task is gone       │                        └──> gone
                  │ forget
                  └──> gone

A start with a `launch` is done by another OCI runtime (`cgagent.runtime.external`): the zygote
stays what it is, says that it `Became` the process that the runtime made, and the pid in the answer
is that one.

The exit of a container's process is also written to a file in its directory before it is told,
so an agent that was away learns of it all the same.
"""

from __future__ import annotations

import enum
from typing import Final

from cgagent.errors import ConflictError

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
    "prepare": frozenset({State.CREATED}),
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
