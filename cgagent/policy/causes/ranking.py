"""All causes of a situation, the worst first, and the one sentence that it comes to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.policy.causes import cpu, io, memory, tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgagent.policy.causes.figures import Situation
    from cgagent.policy.causes.values import Cause

_UNMEASURED: Final = 0.1
"""The share by which a cause is ranked whose share the kernel does not measure."""


def causes(situation: Situation) -> list[Cause]:
    """What fails comes before what waits, and of that what takes more of the time before less.

    What is frozen waits for nothing else.
    """
    freeze = tasks.frozen(situation)
    if freeze is not None:
        return [freeze]
    of_memory = list(memory.causes(situation))
    explained = max((cause.share or 0.0 for cause in of_memory), default=0.0)
    found = [
        *tasks.failures(situation),
        *cpu.causes(situation),
        *of_memory,
        *io.causes(situation, explained),
    ]
    told = (replace(cause, commands=tuple(filter(None, cause.commands))) for cause in found)
    return sorted(told, key=_rank)


def _rank(cause: Cause) -> tuple[bool, float]:
    return not cause.fails, -(_UNMEASURED if cause.share is None else cause.share)


def verdict(found: Sequence[Cause]) -> str:
    return found[0].says if found else "nothing holds it back"
