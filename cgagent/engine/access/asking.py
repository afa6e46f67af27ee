"""The request that is at work: its caller travels with it to the jobs that it begins.

The agent's own work (restarts, policies, probes) has no caller. Work that goes on after the answer
to the request that began it is the agent's own, too.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.engine.access.caller import Caller
    from cgagent.engine.access.policy import Rule


class Work(Protocol):
    """A job that a request has begun."""

    id: int
    name: str
    arguments: dict[str, str]
    caller: str | None


@dataclass(slots=True, kw_only=True)
class Asking:
    """One request: its caller, the rule that holds for them, and the jobs it has begun."""

    caller: Caller
    rule: Rule
    jobs: list[Work] = field(default_factory=list)
    denied: str = ""
    """What the policy has refused of it, which the answer may tell in its stream alone."""
    ended: bool = False


_asking: ContextVar[Asking | None] = ContextVar("asking", default=None)


def current() -> Asking | None:
    """The request that is at work here; None: the agent works by itself."""
    found = _asking.get()
    return None if found is None or found.ended else found


@contextmanager
def asking(caller: Caller, rule: Rule) -> Iterator[Asking]:
    """The body is the request, and so is what it calls and awaits."""
    one = Asking(caller=caller, rule=rule)
    before = _asking.set(one)
    try:
        yield one
    finally:
        one.ended = True
        _asking.reset(before)
