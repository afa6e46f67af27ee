"""One ruleset at work: its condition looked at for each target, and the next order of its course.

It carries nothing out: whoever owns it gets the orders, and tells what came of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cgagent.policy.rulesets import victims
from cgagent.policy.rulesets.conditions import Compiled
from cgagent.policy.rulesets.course import Course, Undo
from cgagent.policy.rulesets.figures import MOST_NEEDS

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from cgagent.policy.facts import Facts
    from cgagent.policy.rulesets.conditions import Finding, State
    from cgagent.policy.rulesets.course import Order, Step
    from cgagent.policy.rulesets.model import Need, Ruleset, Target
    from cgagent.policy.rulesets.victims import Victim


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What there is to look at in one round."""

    now_s: float
    """Of the monotonic clock."""
    find: Callable[[str], Target | None]
    """The function that finds a running target by its key."""
    there: Callable[[], Iterable[Target]]
    """The function that lists all running targets."""
    facts: Callable[[Target], Facts | None]
    marked: Callable[[Target], Target]
    """The target with the mark that it has for itself."""


@dataclass(slots=True)
class Watched:
    """A target that a ruleset looks at."""

    target: Target
    state: State
    course: Course
    unless: dict[int, State]
    """The states of the grades' own conditions, by the number of the grade."""
    failed: set[Order] = field(default_factory=set)
    """Orders that could not be carried out, which is told once until all is quiet again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """An order with what it was made of."""

    running: Running
    watched: Watched
    order: Order
    victim: Target | None
    """None: it has gone."""
    facts: Facts | None
    """Of the victim."""
    reason: str


@dataclass(slots=True, kw_only=True)
class Running:
    rules: Ruleset
    table: dict[str, Any]
    """As it was asked for."""
    origin: str
    """A file of the settings; empty: it was added by a request."""
    created_ns: int
    condition: Compiled = field(init=False)
    _unless: dict[int, Compiled] = field(init=False)
    """The grades' own conditions, by number."""
    unknown: str = ""
    """Why it could not be evaluated when that was first tried in vain; empty: it always could."""
    is_known: bool = False
    """It could be of some target: what is missing is that of others."""
    is_news: bool = False
    """That has not been told so far."""
    watched: dict[str, Watched] = field(default_factory=dict)
    _active: dict[str, Watched] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.condition = Compiled(self.rules.when)
        own = enumerate(grade.unless for grade in self.rules.grades)
        self._unless = {number: Compiled(one) for number, one in own if one is not None}

    def needs(self) -> set[Need]:
        """Return the facts beyond the last sample that its conditions and actions read."""
        conditions = (self.condition, *self._unless.values())
        found = {need for condition in conditions for need in condition.needs()}
        if self.rules.against is not None and self.rules.against.most in MOST_NEEDS:
            found.add(MOST_NEEDS[self.rules.against.most])
        if any(grade.action == "cpuset" for grade in self.rules.grades):
            found.add("cpu_list")
        return found

    def has_nothing_to_do(self, one: Watched) -> bool:
        """Whether the ruleset is at rest for the target until the sample of that changes."""
        is_quiet = one.course.is_at_rest and all(since is None for since in one.state)
        return is_quiet and self.condition.follows_sample

    def resume(self, target: Target, in_force: Iterable[Step]) -> None:
        """Go on with what an earlier agent has done."""
        one = self._fresh(target, Course(self.rules, in_force))
        self.watched[target.key] = self._active[target.key] = one

    def _fresh(self, target: Target, course: Course) -> Watched:
        unless = {number: condition.fresh() for number, condition in self._unless.items()}
        return Watched(target, self.condition.fresh(), course, unless)

    def active(self) -> list[Watched]:
        """Those of whom something is to be expected without any new figures."""
        return list(self._active.values())

    def watch(self, target: Target) -> Watched:
        """Begin with it, or go on with one of the same key."""
        one = self.watched.get(target.key)
        if one is None:
            one = self.watched[target.key] = self._fresh(target, Course(self.rules))
        one.target = target
        return one

    def look(self, one: Watched, facts: Facts | None, view: View) -> Wish | None:
        """Evaluate the ruleset for a target, return the next order; `facts` None: it has gone."""
        holds: bool | None = False
        if facts is not None:
            holds = self.condition.holds(facts, one.state)
            if holds is not None:
                self.is_known = True
            elif not self.unknown:
                self.unknown, self.is_news = self._why_unknown(one, facts), True
        if holds or not one.course.is_at_rest:
            return self._next(one, facts, view, holds=holds)
        if self._active and self._active.pop(one.target.key, None) is not None:
            one.failed.clear()
        return None

    def _next(
        self, one: Watched, facts: Facts | None, view: View, *, holds: bool | None
    ) -> Wish | None:
        self._active[one.target.key] = one
        _, victim = one.course.next_grade
        if victim is not None and view.find(victim) is None:
            one.course.gone(victim)
        order = one.course.next(
            view.now_s,
            holds,
            lambda: [found.target.key for found in self.ranked(one.target, view)],
            self._refused(one, facts),
        )
        return None if order is None else self._wish(one, order, facts, view)

    def _refused(self, one: Watched, facts: Facts | None) -> list[int]:
        """Return the numbers of the grades that their own conditions refuse."""
        if facts is None:
            return []
        return [n for n, own in self._unless.items() if own.holds(facts, one.unless[n])]

    def _wish(self, one: Watched, order: Order, facts: Facts | None, view: View) -> Wish:
        victim = view.find(order.step.victim)
        return Wish(
            running=self,
            watched=one,
            order=order,
            victim=victim,
            facts=view.facts(victim) if victim else None,
            reason=self._reason(one, order, facts, victim, view),
        )

    def _reason(
        self, one: Watched, order: Order, facts: Facts | None, victim: Target | None, view: View
    ) -> str:
        if isinstance(order, Undo) and order.why == "time":
            return "its time is over"
        if facts is None or (isinstance(order, Undo) and order.why == "quiet"):
            return "the condition does not hold any more"
        if isinstance(order, Undo):
            number = order.step.grade
            found = _held(self._unless[number], facts, one.unless[number])
            return f"its own condition is against it: {one.target}: {found}"
        return self.why(one, facts, victim, view)

    def why(self, one: Watched, facts: Facts, victim: Target | None, view: View) -> str:
        """The figures that a decision is made on, in words."""
        text = f"{one.target}: {_held(self.condition, facts, one.state)}"
        if self.rules.against is None or victim is None:
            return text
        ranked = victims.ranked(self.rules.against, [victim], view.facts)
        return f"{text}; {victim}: {ranked[0].text}" if ranked else text

    def _why_unknown(self, one: Watched, facts: Facts) -> str:
        missing = (f.text for f in self.condition.findings(facts, one.state) if f.holds is None)
        return f"it cannot be evaluated: {one.target}: {'; '.join(missing)}"

    def forget_all_but(self, kept: Container[str]) -> None:
        """Those of the keys, and those of whom something is still in force."""
        for key in [k for k, one in self.watched.items() if one.course.is_at_rest]:
            if key not in kept:
                del self.watched[key]

    def ranked(self, one: Target, view: View) -> list[Victim]:
        """Whom it would act on, the first to go first."""
        against = self.rules.against
        if against is None:
            return [victims.Victim(one, 0.0, "")] if view.find(one.key) else []
        others = (t for t in view.there() if against.select.fits(t) and not t.has(one))
        return victims.ranked(against, map(view.marked, others), view.facts)

    def findings(self, target: Target, facts: Facts) -> tuple[bool | None, list[Finding]]:
        """Whether the condition holds of a target, and what each detector says."""
        one = self.watched.get(target.key)
        state = list(one.state) if one else self.condition.fresh()
        holds = self.condition.holds(facts, state)
        return holds, self.condition.findings(facts, state)


def _held(condition: Compiled, facts: Facts, state: State) -> str:
    """Return the detectors that hold, with their figures, as a text."""
    return "; ".join(found.text for found in condition.findings(facts, state) if found.holds)
