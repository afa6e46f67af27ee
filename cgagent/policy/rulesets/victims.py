"""Who is acted on first: those that a ruleset selects, by a figure and by their marks.

Marks are oomd's and systemd's: who is to be preferred comes before all others, who is to be avoided
after them, and who is to be omitted not at all. The target's own mark counts where the ruleset says
nothing of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.policy.rulesets.figures import MOST_OF_HOST, MOST_UNITS, most, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cgagent.policy.facts import Facts
    from cgagent.policy.rulesets.model import Against, Most, Target

_GROWN: Final = 1.25
"""oomd's `min_growth_ratio`: who has so many times its average has grown."""
_LARGE: Final = 0.5
"""oomd's `size_threshold`: who has so much of what all have together goes first."""
_LARGEST: Final = 0.2
"""oomd's `growing_size_percentile`, 80: the part of all, the largest, among whom growth counts."""


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
        if figure is None or known is None or figure < _least(against, known):
            continue
        found.append(Victim(target, figure, _told(against.most, figure), mark))
    sizes = {one.target.key: _size(facts(one.target)) for one in found}
    if against.most == "growth":
        rank = _growth_ranks(sizes)
        return sorted(found, key=lambda one: (_order(one.mark), rank(one), one.target.name))
    return sorted(
        found,
        key=lambda one: (
            *(_order(one.mark), -one.figure, -sizes[one.target.key]),
            one.target.name,
        ),
    )


def _least(against: Against, facts: Facts) -> float:
    if not against.at_least_percent:
        return against.at_least
    return MOST_OF_HOST[against.most](facts.host) * against.at_least_percent / 100


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


def _growth_ranks(sizes: Mapping[str, float]) -> Callable[[Victim], tuple[float, ...]]:
    """As oomd: first who has most of all, then who grows among the largest, then by size."""
    large = _LARGE * sum(sizes.values())
    place = max(math.ceil(len(sizes) * _LARGEST) - 1, 0)
    largest = sorted(sizes.values(), reverse=True)[place] if sizes else 0.0

    def rank(one: Victim) -> tuple[float, ...]:
        size = sizes[one.target.key]
        grows = one.figure >= _GROWN and size >= largest
        return -(size if size >= large else 0), -(one.figure if grows else 0), -size

    return rank


def _size(facts: Facts | None) -> float:
    """Of its memory what is not protected (memory.low, memory.min)."""
    if facts is None:
        return 0.0
    limits = facts.limits
    guards = (limits.memory_low_bytes, limits.memory_min_bytes) if limits else ()
    spared = max((g for g in guards if isinstance(g, int)), default=0)
    return max((most("memory")(facts) or 0.0) - spared, 0.0)


def _told(by: Most, figure: float) -> str:
    return f"{by} {shown(figure, MOST_UNITS[by])}"
