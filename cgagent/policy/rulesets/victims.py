"""Who is acted on first: those that a ruleset selects, by a figure and by their marks.

Marks are oomd's and systemd's: who is to be preferred comes before all others, who is to be avoided
after them, and who is to be omitted not at all. The target's own mark counts where the ruleset says
nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.policy.rulesets.figures import MOST_UNITS, most, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cgagent.policy.facts import Facts
    from cgagent.policy.rulesets.model import Against, Most, Target

_GROWN: Final = 1.25
"""oomd's `min_growth_ratio`: who has grown so much comes before those that are only large."""
_LARGE: Final = 0.5
"""The part of the largest group's size that a group must have for its growth to count."""


@dataclass(frozen=True, slots=True)
class Victim:
    target: Target
    figure: float
    text: str
    mark: str = ""


def ranked(
    against: Against, targets: Iterable[Target], facts: Callable[[Target], Facts | None]
) -> list[Victim]:
    """The first to go first. Targets of which the figure is not known are left out."""
    found = []
    for target in targets:
        if not against.select.fits(target):
            continue
        mark = _mark(against, target)
        known = None if mark == "omit" else facts(target)
        figure = None if known is None else most(against.most)(known)
        if figure is None or known is None or figure < against.at_least:
            continue
        found.append(Victim(target, figure, _told(against.most, figure), mark))
    if against.most == "growth":
        return sorted(found, key=lambda one: (_order(one.mark), *_by_growth(one, found, facts)))
    return sorted(found, key=lambda one: (_order(one.mark), -one.figure, one.target.name))


def _mark(against: Against, target: Target) -> str:
    if against.beside is not None and against.beside.fits(target):
        return "omit"
    if against.prefer is not None and against.prefer.fits(target):
        return "prefer"
    if against.avoid is not None and against.avoid.fits(target):
        return "avoid"
    return target.mark


def _order(mark: str) -> int:
    return {"prefer": 0, "avoid": 2}.get(mark, 1)


def _by_growth(
    one: Victim, all_of_them: list[Victim], facts: Callable[[Target], Facts | None]
) -> tuple[bool, float, str]:
    """As oomd: among the large ones the one that grows fastest, else the largest."""
    sizes = {v.target.key: _size(facts(v.target)) for v in all_of_them}
    size = sizes[one.target.key]
    has_grown = one.figure >= _GROWN and size >= _LARGE * max(sizes.values())
    return not has_grown, -one.figure if has_grown else -size, one.target.name


def _size(facts: Facts | None) -> float:
    return most("memory")(facts) or 0.0 if facts else 0.0


def _told(by: Most, figure: float) -> str:
    return f"{by} {shown(figure, MOST_UNITS[by])}"
