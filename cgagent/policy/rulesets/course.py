"""Which grade is next: the course of one ruleset with one target that it looks at.

                 the condition holds                     after each grade's delay
    at rest ───────────────────────────> up: a victim is chosen, grade 0, 1, 2 ...
       ^                                   │    ^                      │ last one
       │ nothing is in force any more      │    │ holds again          v
       └────────────── down: the last <────┘    │           cool-down, the next victim
                       grade is undone ─────────┘
                       each `clear_for`

A grade is taken only when the condition has held for its delay without interruption since the one
before it was taken, was impossible, or was given up because its user wanted otherwise. So nothing
is ended while something gentler still works. A ruleset that is spread takes each grade of all
victims before the next one of any. The caller carries orders out and tells what came of them; until
then there is no other order.

A grade may be for a time: then it is undone after that, and taken again where the condition goes on
to hold. And it may be refused by a condition of its own: then it is not taken; where it was, it is
undone, and not taken again before all is quiet.

Trouble that is back soon after a grade was undone is that which the grade has held down: with each
such time the course waits twice as long before it undoes anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from cgagent.policy.rulesets.model import LASTING, TOLD_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from cgagent.policy.rulesets.model import Grade, Ruleset


_MOST_PATIENCE: Final = 32.0
"""Times `clear_for`: sixteen minutes where it is the usual half a minute."""


@dataclass(frozen=True, slots=True)
class Step:
    """A grade, and who it is about: a target's key."""

    grade: int
    victim: str


@dataclass(frozen=True, slots=True)
class Take:
    step: Step


@dataclass(frozen=True, slots=True)
class Undo:
    step: Step
    why: Literal["quiet", "time", "unless"] = "quiet"
    """The condition does not hold any more, its time is over, or its own condition refuses it."""


Order = Take | Undo


class Course:
    """Times are seconds of the monotonic clock."""

    def __init__(self, ruleset: Ruleset, in_force: Iterable[Step] = ()) -> None:
        """`in_force`: what an earlier agent has done, the oldest first."""
        self._ruleset = ruleset
        self._in_force = list(in_force)
        last = self._in_force[-1] if self._in_force else None
        self._victim = last.victim if last else None
        self._grade = last.grade + 1 if last else 0
        self._held_since: float | None = None
        self._clear_since: float | None = None
        self._moved_at = float("-inf")
        """When the last grade was taken or passed over."""
        self._cool_until = float("-inf")
        self._barred: set[Step] = set()
        """What a user has wanted otherwise, or was refused, in this course up and down."""
        self._told: set[Step] = set()
        self._taken_at: dict[Step, float] = {}
        """The time at which each step in force was taken, or first seen by this agent."""
        self._end_again_at = float("-inf")
        self._refused: Collection[int] = ()
        self._through: set[str] = set()
        """Victims for whom no grade is left."""
        self._passed: set[Step] = set()
        """Of a spread ruleset: what has been taken, or was impossible, since it began."""
        self._patience = 1.0
        self._undone_at: float | None = None
        """None: a grade has been taken since."""
        self._undone_grade: int | None = None
        self.is_at_rest = not self._in_force
        """Nothing is in force, and it was seen that the condition does not hold any more."""
        self.waits_for: Order | None = None
        """The order that is being carried out."""

    @property
    def in_force(self) -> tuple[Step, ...]:
        return tuple(self._in_force)

    @property
    def next_grade(self) -> tuple[int, str | None]:
        """Its number, and who it would be about if that is known so far."""
        return self._grade, self._victim

    def next(
        self,
        now: float,
        holds: bool | None,
        victims: Callable[[], Sequence[str]],
        refused: Collection[int] = (),
    ) -> Order | None:
        """What is to be done now. `victims` ranks those there are, the first to go first.

        Where it cannot be told whether the condition holds nothing more is done. `refused` are the
        grades that their own conditions speak against.
        """
        if self.waits_for is not None:
            return None
        self._refused = refused
        ended = self._ended(now)
        self.waits_for = ended or (self._up(now, victims) if holds else self._down(now))
        return self.waits_for

    def _ended(self, now: float) -> Order | None:
        """What is not to be in force any more, whether the condition holds or not."""
        for step in reversed(self._in_force if now >= self._end_again_at else ()):
            if step.grade in self._refused:
                return Undo(step, "unless")
            for_s = self._ruleset.grades[step.grade].for_s
            if for_s is not None and now - self._taken_at.setdefault(step, now) >= for_s:
                return Undo(step, "time")
        return None

    def _up(self, now: float, victims: Callable[[], Sequence[str]]) -> Order | None:
        self._clear_since = self._undone_grade = None
        self.is_at_rest = False
        if self._held_since is None:
            self._held_since = now
        since = max(self._held_since, self._moved_at)
        if now < self._cool_until:
            return None
        if self._is_spread:
            return self._up_abreast(now, since, victims())
        if self._victim is None and not self._choose(victims()):
            return None
        while self._grade < len(self._ruleset.grades):
            step = Step(self._grade, self._victim or "")
            if self._has_been(step):
                self._grade += 1  # it was given its time when it was taken
                continue
            return Take(step) if now - since >= self._current.after_s else None
        self._through.add(self._victim or "")
        self._begin_anew(now)
        return None

    def _up_abreast(self, now: float, since: float, ranked: Sequence[str]) -> Order | None:
        """The first grade that has not been taken of all of them; its delay is waited for once."""
        for number, grade in enumerate(self._ruleset.grades):
            steps = [Step(number, victim) for victim in ranked]
            left = [s for s in steps if s not in self._passed and not self._has_been(s)]
            if not left:
                continue
            has_begun = any(step.grade == number for step in self._passed)
            self._grade, self._victim = number, left[0].victim
            return Take(left[0]) if has_begun or now - since >= grade.after_s else None
        if ranked:
            self._begin_anew(now)
        return None

    def _has_been(self, step: Step) -> bool:
        """Nothing is left of it to be done. A limit may be raised again, up to its ceiling."""
        if step in self._barred or step in self._told or step.grade in self._refused:
            return True
        return step in self._in_force and self._ruleset.grades[step.grade].action != "raise"

    @property
    def _current(self) -> Grade:
        return self._ruleset.grades[self._grade]

    def _choose(self, ranked: Sequence[str]) -> bool:
        if not ranked:
            return False
        fresh = [key for key in ranked if key not in self._through]
        if not fresh:
            self._through.clear()
        self._victim = (fresh or ranked)[0]
        self._grade = 0
        return True

    def _begin_anew(self, now: float) -> None:
        self._victim, self._grade = None, 0
        self._passed.clear()
        self._cool_until = now + self._ruleset.cool_down_s

    def _down(self, now: float) -> Order | None:
        self._held_since = None
        if self._clear_since is None:
            self._clear_since = now
        if self.is_at_rest or now - self._clear_since < self._clear_for_s:
            return None
        if self._in_force:
            return Undo(self._in_force[-1])
        self._come_to_rest(now)
        return None

    @property
    def _is_spread(self) -> bool:
        return self._ruleset.against is not None and self._ruleset.against.spread

    @property
    def _clear_for_s(self) -> float:
        """How long it must be quiet: all that was done in one grade is undone at once."""
        last = self._in_force[-1] if self._in_force else None
        if self._is_spread and last is not None and last.grade == self._undone_grade:
            return 0.0
        return self._ruleset.clear_for_s * self._patience

    def _come_to_rest(self, now: float) -> None:
        if self._moved_at > self._cool_until:
            self._cool_until = now + self._ruleset.cool_down_s
        self._victim, self._grade = None, 0
        self._barred.clear()
        self._told.clear()
        self._through.clear()
        self._passed.clear()
        self.is_at_rest = True

    # -- what came of an order ----------------------------------------------------------------

    def done(self, now: float) -> None:
        """It was carried out."""
        order = self._answered()
        self._moved_at = now
        if isinstance(order, Undo):
            self._undone(order, now)
            return
        self._take_note(order.step, now)
        action = self._ruleset.grades[order.step.grade].action
        if action in LASTING and order.step not in self._in_force:
            self._in_force.append(order.step)
            self._taken_at[order.step] = now
        if action in TOLD_ONCE:
            self._told.add(order.step)
        if action in {"kill", "restart"}:
            self._begin_anew(now)
        else:
            self._grade = order.step.grade + 1

    def impossible(self, now: float) -> None:
        """It could not be: the next grade is given its time from now on.

        What could not be undone is tried again after a while.
        """
        order = self._answered()
        self._moved_at = now
        if isinstance(order, Undo):
            self._clear_since, self._undone_grade = now, None
            self._end_again_at = now + self._ruleset.clear_for_s
        else:
            self._grade = order.step.grade + 1
            self._passed.add(order.step)

    def over(self, step: Step) -> None:
        """What was in force has ended by itself: a freeze after its time, all of who has gone."""
        self._taken_at.pop(step, None)
        if step in self._in_force:
            self._in_force.remove(step)

    def given_up(self, step: Step) -> None:
        """Its user has wanted otherwise: it is not done again before all is quiet."""
        self.over(step)
        self._barred.add(step)

    def gone(self, victim: str) -> None:
        """Nothing can be done about it any more, for now."""
        if victim == self._victim and self.waits_for is None:
            self._victim, self._grade = None, 0

    def _take_note(self, step: Step, now: float) -> None:
        self._passed.add(step)
        if self._undone_at is not None:
            is_back = now - self._undone_at <= self._ruleset.clear_for_s * self._patience
            self._patience = min(self._patience * 2, _MOST_PATIENCE) if is_back else 1.0
            self._undone_at = None

    def _answered(self) -> Order:
        order = self.waits_for
        if order is None:
            raise RuntimeError("a course was told of an order that it has not given")
        self.waits_for = None
        return order

    def _undone(self, order: Undo, now: float) -> None:
        step = order.step
        if order.why == "unless":
            self.given_up(step)
            return
        self.over(step)
        self._passed.discard(step)
        self._victim, self._grade = step.victim, step.grade
        if order.why == "time":
            return
        self._clear_since = self._undone_at = now
        self._undone_grade = step.grade
        if not self._in_force:
            self._come_to_rest(now)
