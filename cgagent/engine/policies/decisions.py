"""What rulesets decided, kept: with the figures it was made on, and what came of it."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from cgagent.errors import CgagentError
from cgagent.policy.rulesets.model import Target
from cgagent.store.policies import DecisionRow as Decision

if TYPE_CHECKING:
    from cgagent.engine.containers.container import Container
    from cgagent.engine.events import Events
    from cgagent.store.policies import PolicyRows

__all__ = ["Decision", "Decisions"]

log = logging.getLogger(__name__)

KEPT: Final = 10_000
_PRUNE_EVERY: Final = 500
_LAST: Final = 2**62
_LONGEST: Final = 2000
"""Of a reason: a condition may have any number of detectors."""

DONE: Final = "done"
DRY_RUN: Final = "dry run"
UNDONE: Final = "undone"
FAILED: Final = "failed"
OVER: Final = "over"
GIVEN_UP: Final = "given up"
UNKNOWN: Final = "cannot be evaluated"


class Decisions:
    def __init__(self, rows: PolicyRows, events: Events) -> None:
        self._rows = rows
        self._events = events
        self._until_pruned = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        """By policy and action, since the agent's start; those that were carried out."""

    def note(
        self,
        policy: str,
        watched: str,
        action: str,
        target: Target | None,
        *,
        outcome: str,
        reason: str,
    ) -> Decision:
        """Keep it, count it and tell it as an event ``policy``."""
        made = Decision(
            time_ns=time.time_ns(),
            policy=policy,
            watched=watched,
            action=action,
            container=target.id if target and target.kind == "container" else "",
            group=target.name if target and target.kind == "group" else "",
            target=target.name if target else "",
            outcome=outcome,
            reason=reason[:_LONGEST],
        )
        try:
            self._rows.insert(made)
            self._prune()
        except CgagentError as e:  # a full disk does not keep policies from acting
            log.error("decision of policy %s is not kept: %s", policy, e.message)  # noqa: TRY400
        if outcome in {DONE, UNDONE}:
            self.counts[policy, action if outcome == DONE else f"undo {action}"] += 1
        self._events.publish("policy", action, policy, _attributes(made))
        log.info("policy %s: %s %s: %s: %s", policy, action, made.target, outcome, made.reason)
        return made

    def note_own(
        self, wish: str, action: str, container: Container, *, outcome: str, reason: str
    ) -> Decision:
        """Of the agent itself, about a container that has asked for it (``--boost``, ...)."""
        target = Target(kind="container", id=container.id, name=container.name)
        return self.note(wish, str(target), action, target, outcome=outcome, reason=reason)

    def _prune(self) -> None:
        if self._until_pruned == 0:
            self._rows.prune(KEPT)
            self._until_pruned = _PRUNE_EVERY
        self._until_pruned -= 1

    def page(
        self,
        count: int,
        *,
        before: int | None = None,
        policy: str = "",
        container: str = "",
        group: str = "",
    ) -> list[Decision]:
        """The newest first, those with a smaller number than `before`."""
        number = _LAST if before is None else before
        return self._rows.before(number, count, policy=policy, container=container, group=group)


def _attributes(made: Decision) -> dict[str, str]:
    found = {
        "name": made.policy,
        "watched": made.watched,
        "target": made.target,
        "container": made.container,
        "group": made.group,
        "outcome": made.outcome,
        "reason": made.reason,
    }
    return {name: value for name, value in found.items() if value}
