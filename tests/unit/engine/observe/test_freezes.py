"""Freezes and thaws by another program are shown, with events."""

import pytest

from cgagent.engine.events import EventQuery
from cgagent.engine.observe.freezes import ForeignFreezes
from cgagent.engine.observe.policies import Tick
from tests.world.fakes.agent import started

pytestmark = pytest.mark.anyio


def tick(*frozen):
    return Tick(lambda _: None, lambda _: None, frozenset(frozen))


async def test_the_record_follows_the_kernel(engine):
    container, group_of = await started(engine, "one"), engine.lifecycle.group
    policy = ForeignFreezes(engine.containers, engine.control)
    group_of(container).freeze()
    policy.ticked(tick(container.id))
    assert container.frozen
    group_of(container).thaw()
    policy.ticked(tick())
    assert not container.frozen
    told = engine.events.past(EventQuery())[-2:]
    assert [(e.action, e.attributes["by"]) for e in told] == [
        ("pause", "another program"),
        ("unpause", "another program"),
    ]


async def test_what_is_being_changed_or_is_not_so_by_now_is_left_alone(engine):
    container = await started(engine, "one")
    policy = ForeignFreezes(engine.containers, engine.control)
    policy.ticked(tick(container.id))
    assert not container.frozen
    engine.lifecycle.group(container).freeze()
    async with container.lock:
        policy.ticked(tick(container.id))
    assert not container.frozen
    policy.happened(container, None)
