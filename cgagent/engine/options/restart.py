"""When a container that has ended is started again: docker's policies, as rules without a clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cgagent.errors import ConflictError, InvalidInputError

NO: Final = "no"
ON_FAILURE: Final = "on-failure"
ALWAYS: Final = "always"
UNLESS_STOPPED: Final = "unless-stopped"
_NAMES: Final = (NO, ON_FAILURE, ALWAYS, UNLESS_STOPPED)

FIRST_DELAY_NS: Final = 100_000_000
LONGEST_DELAY_NS: Final = 60_000_000_000
LONG_ENOUGH_NS: Final = 10_000_000_000
"""A run of this length was no failed start: the next delay is the first again."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    name: str = NO
    max_retries: int = 0
    """Of on-failure; 0: no end to it."""


@dataclass(frozen=True, slots=True)
class RestartState:
    """Since the last start by a user."""

    count: int = 0
    delay_ns: int = 0
    due_ns: int | None = None
    """When the next one comes, in Unix nanoseconds."""
    held: bool = False
    """Stopped by a user: none comes."""


def checked(policy: RestartPolicy, *, auto_remove: bool) -> RestartPolicy:
    """Docker's rules.

    Raises:
        InvalidInputError: an unknown policy, or retries where none are counted.
        ConflictError: the container is to be removed when it ends.
    """
    name = policy.name or NO
    if name not in _NAMES:
        raise InvalidInputError(f"restart policy {name!r} is not known; use {', '.join(_NAMES)}")
    if policy.max_retries < 0:
        raise InvalidInputError("restart policy: the number of retries cannot be negative")
    if policy.max_retries and name != ON_FAILURE:
        raise InvalidInputError(
            f"restart policy {name!r} takes no number of retries: only on-failure does"
        )
    if auto_remove and name != NO:
        raise ConflictError("conflicting options: cannot specify both --restart and --rm")
    return RestartPolicy(name, policy.max_retries)


def after_exit(
    policy: RestartPolicy, state: RestartState, exit_code: int | None, ran_ns: int, now_ns: int
) -> RestartState:
    """What follows from the end of a run: `due_ns` says whether there is another."""
    if not _wants_another(policy, state, exit_code):
        return RestartState(state.count, state.delay_ns, None, state.held)
    if ran_ns >= LONG_ENOUGH_NS or not state.delay_ns:
        delay_ns = FIRST_DELAY_NS
    else:
        delay_ns = min(2 * state.delay_ns, LONGEST_DELAY_NS)
    return RestartState(state.count + 1, delay_ns, now_ns + delay_ns)


def _wants_another(policy: RestartPolicy, state: RestartState, exit_code: int | None) -> bool:
    if state.held:
        return False
    if policy.name == ON_FAILURE:
        return exit_code != 0 and not 0 < policy.max_retries <= state.count
    return policy.name in {ALWAYS, UNLESS_STOPPED}


def at_agent_start(policy: RestartPolicy, state: RestartState) -> bool:
    """Is one that ended earlier to be started now? With always even one that a user stopped."""
    return policy.name == ALWAYS or (policy.name == UNLESS_STOPPED and not state.held)
