"""Orders carried out, each in a task of its own, and what came of them told and kept."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from cgagent.concurrency import KeyedLock
from cgagent.engine.policies import decisions
from cgagent.errors import CgagentError
from cgagent.policy.rulesets.course import Take

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from cgagent.engine.policies.acting import Acting
    from cgagent.engine.policies.decisions import Decisions
    from cgagent.engine.policies.holds import Hold, Holds
    from cgagent.engine.policies.running import Running, Wish
    from cgagent.engine.policies.targets import Targets

log = logging.getLogger(__name__)

_RETRY_S: Final = 30.0


class Carrying:
    def __init__(self, acting: Acting, holds: Holds, targets: Targets, decided: Decisions) -> None:
        self._acting = acting
        self._holds = holds
        self._targets = targets
        self._decided = decided
        self._turns = KeyedLock()
        """Two rulesets that act on one target see what the other has done."""
        self._work: set[asyncio.Task[None]] = set()
        self._orphans: list[Hold] = []
        """What has no owner any more and could not be undone so far."""
        self._due_s = 0.0

    @property
    def has_orphans(self) -> bool:
        return bool(self._orphans)

    def go(self, wish: Wish | None) -> None:
        """Begin to carry out an order, if there is one."""
        if wish is not None:
            self._spawn(wish.running.rules.name, self._carry_out(wish))

    async def settled(self, policy: str) -> None:
        """Until nothing of this ruleset is being carried out."""
        while pending := [task for task in self._work if task.get_name() == policy]:
            await asyncio.wait(pending)

    async def close(self) -> None:
        """What is in force stays so: the next agent goes on."""
        for task in list(self._work):
            task.cancel()
        if self._work:
            await asyncio.wait(self._work)

    def _spawn(self, policy: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=policy)
        self._work.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("policy %s failed", task.get_name(), exc_info=task.exception())

    async def _carry_out(self, wish: Wish) -> None:
        course = wish.watched.course
        try:
            await (self._take(wish) if isinstance(wish.order, Take) else self._undo(wish))
        except CgagentError as e:
            course.impossible(time.monotonic())
            if wish.order not in wish.watched.failed:
                wish.watched.failed.add(wish.order)
                self._note(wish, decisions.FAILED, f"{e.message}; {wish.reason}")
        except BaseException:  # a fault of ours, or the agent's end: its row says what is left
            is_held = isinstance(wish.order, Take) and self._hold(wish) is not None
            (course.done if is_held else course.impossible)(time.monotonic())
            raise
        else:
            course.done(time.monotonic())

    def _hold(self, wish: Wish) -> Hold | None:
        watched = wish.watched.target.key
        return self._holds.find(wish.running.rules.name, watched, wish.order.step)

    async def _take(self, wish: Wish) -> None:
        if wish.running.rules.dry_run:
            self._note(wish, decisions.DRY_RUN, wish.reason)
            return
        async with self._turns.hold(wish.order.step.victim):
            told = await self._acting.take(wish)
        self._note(wish, decisions.DONE, f"{wish.reason}: {told}" if told else wish.reason)

    async def _undo(self, wish: Wish) -> None:
        hold = self._hold(wish)
        if hold is not None:
            async with self._turns.hold(hold.step.victim):
                await self._acting.undo(hold)
        if hold is not None or wish.running.rules.dry_run:
            self._note(wish, decisions.UNDONE, wish.reason)

    # -- what is in force --------------------------------------------------------------------

    def look_after(self, running: Running | None, hold: Hold) -> None:
        """See whether it has ended by itself, or by its user's will."""
        if hold in self._orphans:
            return
        one = running.watched.get(hold.watched) if running else None
        if one is None:
            self._orphans.append(hold)
            return
        course = one.course
        if course.waits_for is not None or hold.step not in course.in_force:
            return
        state = self._acting.state(hold)
        if state == "over":
            course.over(hold.step)
            self._spawn(hold.policy, self._end(hold, decisions.OVER, _why_over(hold)))
        elif state == "given up":
            course.given_up(hold.step)
            reason = "its user wants it otherwise"
            self._spawn(hold.policy, self._end(hold, decisions.GIVEN_UP, reason))

    def retry(self, now_s: float) -> None:
        """Undo what could not be undone before."""
        if self._orphans and now_s >= self._due_s:
            self._due_s = now_s + _RETRY_S
            orphans, self._orphans = self._orphans, []
            for hold in (one for one in orphans if one in self._holds):
                work = self._end(hold, decisions.UNDONE, "it has no owner any more")
                self._spawn(hold.policy, work)

    async def undo(self, hold: Hold, reason: str) -> None:
        """Of what has no owner any more; where it cannot be now it is tried again."""
        await self._end(hold, decisions.UNDONE, reason)

    def adopt(self, hold: Hold) -> None:
        """It has no owner any more."""
        self._orphans.append(hold)

    async def _end(self, hold: Hold, outcome: str, reason: str) -> None:
        try:
            async with self._turns.hold(hold.step.victim):
                await self._acting.undo(hold)
        except CgagentError as e:
            self._orphans.append(hold)
            outcome, reason = decisions.FAILED, f"{reason}, but {e.message}"
        watched = self._targets.of_key(hold.watched)
        self._decided.note(
            hold.policy,
            str(watched or hold.watched),
            hold.action,
            self._targets.of_key(hold.step.victim),
            outcome=outcome,
            reason=reason,
        )

    def _note(self, wish: Wish, outcome: str, reason: str) -> None:
        rules = wish.running.rules
        if rules.dry_run and outcome == decisions.UNDONE:
            outcome, reason = decisions.DRY_RUN, f"undone: {reason}"
        action = rules.grades[wish.order.step.grade].action
        victim = wish.victim or self._targets.of_key(wish.order.step.victim)
        watched = str(wish.watched.target)
        self._decided.note(rules.name, watched, action, victim, outcome=outcome, reason=reason)


def _why_over(hold: Hold) -> str:
    return "its time is over" if hold.action == "freeze" else "its target has gone"
