"""What builds tell, for who comes late or reads slowly."""

import asyncio
from contextlib import aclosing

import pytest

from cgagent.engine.build import outputs
from cgagent.engine.build.outputs import Missed, Outputs
from cgagent.engine.build.values import Step, StepNote, StepOutput
from cgagent.errors import NotFoundError

pytestmark = pytest.mark.anyio
STEP = Step(number=1, total=1, stage=0, shown="0", text="RUN make")


def said(text):
    return StepOutput(STEP, "stdout", text)


async def test_who_comes_late_has_all_of_it_until_the_end():
    kept, told = Outputs(), []
    with kept.kept(7, told.append) as tell:
        tell(said("a"))
        async with aclosing(kept.get(7).follow()) as follower:
            assert await anext(follower) == [said("a")]
            await asyncio.to_thread(tell, StepNote(STEP, "b"))
            assert await anext(follower) == [StepNote(STEP, "b")]
    assert told == [said("a"), StepNote(STEP, "b")]
    late = [one async for some in kept.get(7).follow() for one in some]
    assert late == told


async def test_who_does_not_wait_has_what_is_there():
    kept = Outputs()
    with kept.kept(7, lambda _: None) as tell:
        tell(said("a"))
        await asyncio.sleep(0)
        assert [some async for some in kept.get(7).follow(wait=False)] == [[said("a")]]


async def test_it_is_bounded_and_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(outputs, "_KEPT_BYTES", 3100)
    kept = Outputs()
    with kept.kept(7, lambda _: None) as tell:
        for number in range(10):
            tell(said(f"{number}" + 600 * "x"))
    found = [one async for some in kept.get(7).follow() for one in some]
    assert found[0] == Missed(7)
    assert [one.text[0] for one in found[1:]] == ["7", "8", "9"]


async def test_of_those_that_have_ended_the_last_are_kept():
    kept = Outputs()
    for number in range(20):
        with kept.kept(number, lambda _: None) as tell:
            tell(said("a"))
        await asyncio.sleep(0)
    with pytest.raises(NotFoundError, match="job 5 has no output"):
        kept.get(5)
    assert len([number for number in range(20) if number in kept._all]) == 8
