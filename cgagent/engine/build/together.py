"""All stages of a build: those that need nothing of each other go on at the same time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cgagent.engine.build.stage import StageRun
from cgagent.engine.build.values import StageDone, Step, StepBegun
from cgagent.errors import CgagentError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.engine.build.run import Run
    from cgagent.engine.build.state import State
    from cgagent.images.build.stages import Stage


async def all_stages(run: Run) -> State:
    """Each as soon as those are done that it needs; the first failure ends all.

    Raises:
        CgagentError: that failure.
    """
    run.expect()
    for number, instruction in enumerate(run.plan.global_instructions, 1):
        step = Step(number=number, total=run.steps, stage=-1, shown="", text=instruction.text)
        run.tell(StepBegun(step))
    run.tell(StageDone(-1))
    numbers = dict(_numbered(run.plan.stages, len(run.plan.global_instructions) + 1))

    async def one(stage: Stage) -> None:
        state = await StageRun(run, stage, numbers[stage.index]).carry_out()
        run.tell(StageDone(stage.index))
        run.finish(stage.index, state)

    try:
        async with asyncio.TaskGroup() as group:
            for stage in run.plan.stages:
                group.create_task(one(stage))
    except BaseExceptionGroup as e:
        raise _first(e) from None
    return await run.finished(run.plan.stages[-1].index)


def _numbered(found: tuple[Stage, ...], first: int) -> Iterator[tuple[int, int]]:
    for stage in found:
        yield stage.index, first
        first += 1 + len(stage.instructions)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Of several stages that fail at the same moment."""
    for one in group.exceptions:
        found = _first(one) if isinstance(one, BaseExceptionGroup) else one
        if isinstance(found, CgagentError):
            return found
    return group.exceptions[0]
