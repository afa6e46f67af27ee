"""Who among groups in each other is to be named: the lowest that has nearly all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cgagent.policy.causes.figures import Neighbour

    Measure = Callable[[Neighbour], float]

_NEARLY: Final = 0.8


def cores_of(neighbour: Neighbour) -> float:
    return neighbour.group.figures.cpu_cores or 0.0


def memory_of(neighbour: Neighbour) -> float:
    return neighbour.group.figures.memory_bytes or 0.0


def largest(neighbours: Iterable[Neighbour], measure: Measure, most: int = 1) -> list[Neighbour]:
    """The few with the most: of a group and those below it only one.

    That is the one below that has nearly all of it, or the group where several share it.
    """
    found: list[Neighbour] = []
    # With the same amount the lower one comes first.
    ranked = sorted(neighbours, key=lambda n: (measure(n), len(n.group.path)), reverse=True)
    for one in ranked:
        if measure(one) <= 0 or len(found) == most:
            break
        inside = [n for n in ranked if n.group.path.startswith(f"{one.group.path}/")]
        if any(measure(n) >= _NEARLY * measure(one) for n in inside):
            continue
        if not any(_are_kin(one, other) for other in found):
            found.append(one)
    return found


def _are_kin(one: Neighbour, other: Neighbour) -> bool:
    a, b = f"{one.group.path}/", f"{other.group.path}/"
    return a.startswith(b) or b.startswith(a)
