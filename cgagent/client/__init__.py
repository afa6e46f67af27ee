"""A client of the agent, for programs: the command line uses it, and so can you.

    from cgagent.client import NotFoundError, connect

    with connect() as agent:
        web = agent.containers.create("alpine", ["sleep", "60"], name="web")
        agent.containers.start(web.id)

`connect` finds the agent as the command line does: on this host's socket, or wherever a flag's
counterpart, the environment or a context says. Answers are frozen dataclasses, which have all that
the agent said as `raw`; an error is one of `cgagent.errors`, with its `kind`, `object`, `cause` and
`next_step`; what goes on is an iterator. docs/api.md has more.

A client is for one thread at a time. This module loads nothing until it is asked for a name.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from cgagent.client.agent import Agent, connect
    from cgagent.client.answers import (
        Capacity,
        Cause,
        Container,
        ContainerSummary,
        Created,
        Decision,
        Event,
        Exec,
        Explanation,
        Group,
        Image,
        Job,
        LogEntry,
        Network,
        Policy,
        Progress,
        Sizing,
        Sleep,
        State,
        Stats,
        Volume,
    )
    from cgagent.client.sessions import Completed, Output, Session
    from cgagent.errors import (
        CgagentError,
        ChangedError,
        CommandNotFoundError,
        ConflictError,
        DeadlineError,
        DeniedError,
        InternalError,
        InvalidInputError,
        KeyReusedError,
        NoSpaceError,
        NoSuchImageError,
        NotExecutableError,
        NotFoundError,
        RemoteError,
        UnauthenticatedError,
        UnavailableError,
        UnsupportedError,
    )

_HOMES: Final = {
    "cgagent.client.agent": ("Agent", "connect"),
    "cgagent.client.answers": (
        *("Capacity", "Cause", "Container", "ContainerSummary", "Created", "Decision", "Event"),
        *("Exec", "Explanation", "Group", "Image", "Job", "LogEntry", "Network", "Policy"),
        *("Progress", "Sizing", "Sleep", "State", "Stats", "Volume"),
    ),
    "cgagent.client.sessions": ("Completed", "Output", "Session"),
    "cgagent.errors": (
        *("CgagentError", "ChangedError", "CommandNotFoundError", "ConflictError", "DeadlineError"),
        *("DeniedError", "InternalError", "InvalidInputError", "KeyReusedError", "NoSpaceError"),
        *(
            "NoSuchImageError",
            "NotExecutableError",
            "NotFoundError",
            "RemoteError",
            "UnauthenticatedError",
        ),
        *("UnavailableError", "UnsupportedError"),
    ),
}

__all__ = [
    "Agent",
    "Capacity",
    "Cause",
    "CgagentError",
    "ChangedError",
    "CommandNotFoundError",
    "Completed",
    "ConflictError",
    "Container",
    "ContainerSummary",
    "Created",
    "DeadlineError",
    "Decision",
    "DeniedError",
    "Event",
    "Exec",
    "Explanation",
    "Group",
    "Image",
    "InternalError",
    "InvalidInputError",
    "Job",
    "KeyReusedError",
    "LogEntry",
    "Network",
    "NoSpaceError",
    "NoSuchImageError",
    "NotExecutableError",
    "NotFoundError",
    "Output",
    "Policy",
    "Progress",
    "RemoteError",
    "Session",
    "Sizing",
    "Sleep",
    "State",
    "Stats",
    "UnauthenticatedError",
    "UnavailableError",
    "UnsupportedError",
    "Volume",
    "connect",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(__import__(home, fromlist=[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
