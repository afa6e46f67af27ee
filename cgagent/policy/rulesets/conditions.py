"""Whether a ruleset's condition holds of a target: thresholds, hysteresis and durations.

A condition is compiled once. What is remembered of a target is its `State`, a list. A third answer
beside yes and no is None: it cannot be told. `all` is no if one of it is no, `any` yes if one of it
is, whatever the others are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.policy.rulesets.figures import FIGURES, shown
from cgagent.policy.rulesets.model import Combined, Detector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cgagent.policy.facts import Facts
    from cgagent.policy.rulesets.model import Condition, Need

    Holds = Callable[[Facts, list[float | None]], bool | None]

State = list[float | None]
"""For each detector and combination: since when it has been so, None: it is not."""
_BEYOND: Final = "above", "below"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one detector found, for people."""

    detector: str
    figure: float | None
    unit: str
    bound: float
    holds: bool | None
    """For as long as it has to."""
    text: str


class Compiled:
    """A condition as one function over the facts and the state of a target."""

    def __init__(self, condition: Condition) -> None:
        self._detectors: list[tuple[Detector, Callable[[Facts], float | None], int]] = []
        self._places = 0
        self.holds = self._compiled(condition)
        """The function that tells whether the condition holds; it updates the target's `state`."""
        names = [detector.figure for detector, _, _ in self._detectors]
        self.follows_sample = all(FIGURES[name].follows_sample for name in names)
        """Whether all of its figures do."""

    def fresh(self) -> State:
        return [None] * self._places

    def needs(self) -> set[Need]:
        """Return the facts beyond the last sample that its figures read."""
        found = (FIGURES[detector.figure].needs for detector, _, _ in self._detectors)
        return {need for need in found if need is not None}

    def findings(self, facts: Facts, state: State) -> list[Finding]:
        """What each detector says; `holds` is asked before."""
        return list(self._findings(facts, state))

    def _findings(self, facts: Facts, state: State) -> Iterator[Finding]:
        for detector, read, place in self._detectors:
            value, since = read(facts), state[place]
            held_s = None if since is None else facts.at_s - since
            holds = None if value is None else held_s is not None and held_s >= detector.for_s
            yield Finding(
                detector=detector.figure,
                figure=value,
                unit=detector.unit,
                bound=detector.bound,
                holds=holds,
                text=_told(detector, value, held_s),
            )

    def _compiled(self, condition: Condition) -> Holds:
        if isinstance(condition, Detector):
            return self._detector(condition)
        parts = [self._compiled(part) for part in condition.parts]
        combined = (_all if condition.how == "all" else _any)(parts)
        return self._lasting(combined, condition) if condition.for_s else combined

    def _place(self) -> int:
        self._places += 1
        return self._places - 1

    def _detector(self, detector: Detector) -> Holds:
        figure = FIGURES[detector.figure]
        read, place = figure.read(detector.options, detector.unit), self._place()
        bound, clear, for_s = detector.bound, detector.clear, detector.for_s
        self._detectors.append((detector, read, place))
        sign = -1 if figure.below else 1
        signed_bound, signed_clear = sign * bound, sign * clear

        def holds(facts: Facts, state: State) -> bool | None:
            value, since = read(facts), state[place]
            if value is None:
                state[place] = None
                return None
            if value * sign <= (signed_bound if since is None else signed_clear):
                state[place] = None
                return False
            if since is None:
                state[place] = since = facts.at_s
            return facts.at_s - since >= for_s

        return holds

    def _lasting(self, holds: Holds, combined: Combined) -> Holds:
        place, for_s = self._place(), combined.for_s

        def lasting(facts: Facts, state: State) -> bool | None:
            found = holds(facts, state)
            if not found:
                state[place] = None
                return found
            since = state[place]
            if since is None:
                state[place] = since = facts.at_s
            return facts.at_s - since >= for_s

        return lasting


def _all(parts: Sequence[Holds]) -> Holds:
    def holds(facts: Facts, state: State) -> bool | None:
        answer: bool | None = True
        for part in parts:  # every one is asked: each has its own time to remember
            found = part(facts, state)
            if found is False or answer is False:
                answer = False
            elif found is None:
                answer = None
        return answer

    return holds


def _any(parts: Sequence[Holds]) -> Holds:
    def holds(facts: Facts, state: State) -> bool | None:
        answer: bool | None = False
        for part in parts:
            found = part(facts, state)
            if found is True or answer is True:
                answer = True
            elif found is None:
                answer = None
        return answer

    return holds


def _told(detector: Detector, value: float | None, held_s: float | None) -> str:
    figure = FIGURES[detector.figure]
    words = " ".join(str(v) for v in detector.options.values() if isinstance(v, str))
    name = f"{words} {figure.what}".strip()
    if value is None:
        return f"{name} cannot be told: {figure.missing}"
    if detector.unit == "yes":
        found = f"{name}: {shown(value, detector.unit)}"
    else:
        bound = shown(detector.bound, detector.unit)
        found = f"{name} {shown(value, detector.unit)} ({_BEYOND[figure.below]} {bound})"
    if held_s is None:
        return found
    return f"{found} for {held_s:.0f} s" + (f" of {detector.for_s:g}" * (held_s < detector.for_s))
