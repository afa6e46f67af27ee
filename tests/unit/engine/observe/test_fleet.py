"""The fleet at a glance: the whole for who comes, changes for who stays."""

import asyncio
import json
from contextlib import aclosing

import pytest

from cgagent.cgroups import Limits
from cgagent.engine.events import EventQuery
from cgagent.engine.observe.fleet import Fleet, Picture, rounded
from cgagent.engine.options.overrides import LimitOverride
from tests.world.fakes.agent import started

pytestmark = pytest.mark.anyio


class Look:
    """One container more with each look; the first is gone after the third."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1
        ids = [f"c{n}" for n in range(self.count)][1 if self.count > 3 else 0 :]
        return Picture({i: {"name": i} for i in ids}, {i: [1.0] for i in ids}, {"cpus": 2})


async def told(stream):
    return json.loads(await anext(stream))


async def test_the_whole_and_then_what_changes():
    fleet = Fleet(Look(), 0.02)
    async with aclosing(fleet.follow()) as stream:
        first = await told(stream)
        assert first["whole"]
        assert first["facts"] == {"c0": {"name": "c0"}}
        second = await told(stream)
        assert (second["whole"], list(second["facts"]), second["gone"]) == (False, ["c1"], [])
        await told(stream)
        assert (await told(stream))["gone"] == ["c0"]


async def test_one_look_for_all_and_none_for_nobody():
    look = Look()
    fleet = Fleet(look, 0.05)
    async with aclosing(fleet.follow()) as one:
        await told(one)
        async with aclosing(fleet.follow()) as late:
            assert (await told(late))["whole"]
            assert look.count == 1
            assert await told(one) == await told(late)
            assert look.count == 2
    await asyncio.sleep(0.12)
    assert look.count <= 3
    async with aclosing(fleet.follow()) as again:
        assert (await told(again))["whole"]


async def test_who_is_far_behind_has_to_ask_again():
    fleet = Fleet(Look(), 0.001)
    async with aclosing(fleet.follow()) as quick, aclosing(fleet.follow()) as slow:
        await told(slow)
        for _ in range(20):
            await told(quick)
        with pytest.raises(StopAsyncIteration):
            await told(slow)


async def test_what_stops_has_no_figures_any_more():
    before = Picture({"a": {"status": "running"}}, {"a": [1.0]})
    after = Picture({"a": {"status": "exited"}}, {})
    found = after.since(before)
    assert found["facts"] == {"a": {"status": "exited"}}
    assert found["figures"] == {"a": []}


async def test_figures_of_what_idles_stay_the_same():
    assert rounded(0.123456) == 0.123
    assert rounded(104857600.0) == 105000000.0
    assert (rounded(None), rounded(0.0)) == (None, 0.0)


async def test_who_does_not_read_is_hung_up_on():
    fleet = Fleet(Look(), 0.001)
    gone = asyncio.Event()
    async with aclosing(fleet.follow(gone.set)) as slow, aclosing(fleet.follow()) as quick:
        await told(slow)
        while not gone.is_set():
            await told(quick)


async def test_a_look_that_fails_ends_nobodys_stream():
    look = Look()

    def fails_at_times():
        if (found := look()) and look.count == 2:
            raise RuntimeError("for a test")
        return found

    async with aclosing(Fleet(fails_at_times, 0.01).follow()) as stream:
        assert list((await told(stream))["facts"]) == ["c0"]
        assert list((await told(stream))["facts"]) == ["c1", "c2"]


async def test_what_holds_a_container_is_in_its_facts(engine):
    usual = await started(engine, "usual")
    held = await started(engine, "held", budget="cpu=1h/24h")
    narrow = Limits(memory_max_bytes=64 << 20)
    override = LimitOverride(owner="night", reason="it is late", since_ns=1, limits=narrow)
    await engine.control.override(held, override)
    facts = engine.monitor.fleet.look().facts
    assert facts[held.id]["overrides"] == {"night": "it is late"}
    assert facts[held.id]["budgets"] == {"cpu": {"used_ratio": 0.0, "acts": False}}
    assert not {"overrides", "budgets", "sleep"} & facts[usual.id].keys()
    await engine.hibernation.hibernate(held)
    facts = engine.monitor.fleet.look().facts
    assert facts[held.id]["sleep"]["by"] == "user"


async def test_it_tells_the_number_of_the_last_event(engine):
    container = await started(engine, "one")
    before = engine.monitor.fleet.look()
    assert before.last_event == engine.events.past(EventQuery())[-1].number
    engine.events.tell(container, "oom")
    after = engine.monitor.fleet.look()
    assert after.last_event == before.last_event + 1
    assert after.since(before)["last_event"] == after.last_event
