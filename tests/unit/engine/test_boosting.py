"""Start-up boosts: in force when the command runs, until time, health or a user end them."""

from dataclasses import replace

import pytest

from cgagent.cgroups import Limits
from cgagent.engine.containers.container import Outcome
from cgagent.engine.options import limits as limit_rules
from cgagent.engine.options.health import Health
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.overrides import LimitOverride
from cgagent.engine.options.wishes import Wishes
from cgagent.engine.policies import boosting
from cgagent.errors import CgagentError, InvalidInputError
from cgagent.images.image import HealthCheck
from tests.world.fakes.agent import request, until

pytestmark = pytest.mark.anyio
MIB = 1 << 20
NARROW = Limits(memory_max_bytes=64 * MIB, cpu_quota_us=20_000, cpu_period_us=100_000)
LONG = "cpus=1,memory=128m,for=1h"
NOTHING = Limits(), Conveniences()
CHECK = HealthCheck(test=("CMD", "true"), interval_ns=3600 * 10**9)


async def made(engine, boost=LONG, **config):
    asked = replace(request(boost=boost, **config), limits=NARROW)
    return await engine.lifecycle.create(asked)


async def started(engine, boost=LONG, **config):
    container = await made(engine, boost, **config)
    await engine.lifecycle.start(container)
    return container


def owners(container):
    return [o.owner for o in container.record.overrides]


def in_force(container):
    limits = container.record.limits_in_force
    return limits.memory_max_bytes // MIB, limits.cpu_quota_us


async def test_on_a_host_that_has_become_smaller_it_starts_all_the_same(engine, monkeypatch):
    container = await made(engine)
    monkeypatch.setattr(limit_rules, "host_memory_bytes", lambda: 100 * MIB)
    monkeypatch.setattr(limit_rules.os, "sched_getaffinity", lambda _: ())
    await engine.lifecycle.start(container)
    assert in_force(container) == (128, 100_000)
    with pytest.raises(InvalidInputError, match="boost: cpus 1 is not in"):
        await engine.control.update(container, *NOTHING, wishes=Wishes(boost=LONG))


async def test_it_is_in_force_from_the_start_and_over_in_time(engine, world):
    container = await made(engine, "cpus=1,memory=128m,for=100ms")
    assert owners(container) == []
    await engine.lifecycle.start(container)
    assert in_force(container) == (128, 100_000)
    path = container.record.cgroup_path
    assert world.tree.held(path, "memory.max") == str(128 * MIB)
    assert container.record.outcome.boost_until_ns is not None
    await until(lambda: not container.record.overrides)
    assert world.tree.held(path, "memory.max") == str(64 * MIB)
    assert world.tree.held(path, "cpu.max") == "20000 100000"
    found = engine.rulesets.decisions.page(5, policy="boost")
    assert [d.outcome for d in found] == ["undone", "done"]
    assert "its time is over" in found[0].reason
    assert found[1].reason.endswith(": memory_max_bytes=134217728, cpus=1")


async def test_until_it_is_healthy(engine):
    with pytest.raises(InvalidInputError, match="needs a health check"):
        await made(engine, "cpus=1,for=healthy")
    container = await started(engine, "cpus=1,for=healthy", health=CHECK)
    assert owners(container) == ["boost"]
    healthy = container.with_outcome(health=Health("healthy"))
    engine.containers.note(container, healthy)
    await until(lambda: not container.record.overrides)
    assert "it is healthy" in engine.rulesets.decisions.page(1)[0].reason


async def test_its_user_ends_it(engine):
    container = await started(engine)
    await engine.control.update(container, Limits(cpu_quota_us=30_000), Conveniences())
    assert in_force(container) == (128, 30_000)
    await engine.control.update(container, *NOTHING, wishes=Wishes(boost="off"))
    assert (in_force(container), owners(container)) == ((64, 30_000), [])
    await until(lambda: len(engine.rulesets.decisions.page(5, policy="boost")) > 1)
    told, _ = engine.rulesets.decisions.page(5, policy="boost")
    assert (told.outcome, told.reason) == ("given up", "its user wants it otherwise")
    await engine.control.update(container, *NOTHING, wishes=Wishes(boost=LONG))
    assert owners(container) == []
    await engine.lifecycle.restart(container, 0)
    assert in_force(container) == (128, 100_000)
    with pytest.raises(InvalidInputError, match="needs a health check"):
        await engine.control.update(container, *NOTHING, wishes=Wishes(boost="cpus=1,for=healthy"))


async def test_what_a_ruleset_holds_it_to_counts_more(engine):
    container = await started(engine)
    cap = Limits(cpu_quota_us=10_000, cpu_period_us=100_000)
    hold = LimitOverride(owner="policy.x", reason="busy", since_ns=1, limits=cap)
    await engine.control.override(container, hold)
    await engine.lifecycle.restart(container, 0)
    assert owners(container) == ["boost", "policy.x"]
    assert in_force(container) == (128, 10_000)


async def test_a_run_that_ends_takes_it_along(engine):
    container = await started(engine)
    await engine.lifecycle.stop(container, 0)
    assert owners(container) == []

    async def fails(*_):
        raise CgagentError("no")

    engine.supervisor.request, before = fails, engine.supervisor.request
    with pytest.raises(CgagentError):
        await engine.lifecycle.start(container)
    engine.supervisor.request = before
    assert owners(container) == []


async def test_what_is_left_of_the_run_before_does_not_end_the_next_one(engine, monkeypatch):
    monkeypatch.setattr(boosting, "_AGAIN_S", 0.3)
    container = await started(engine, "cpus=1,memory=128m,for=100ms")
    override = engine.control.override

    async def fails(*_, **__):
        raise CgagentError("the memory is in use")

    engine.control.override = fails
    told = engine.rulesets.decisions
    await until(lambda: [d.outcome for d in told.page(9, policy="boost")] == ["failed", "done"])
    engine.control.override = override
    await engine.control.update(container, *NOTHING, wishes=Wishes(boost=LONG))
    await engine.lifecycle.restart(container, 0)
    await until(lambda: not engine.boosting._timers)
    assert owners(container) == ["boost"]
    engine.boosting.ticked(None)
    assert engine.boosting._timers, "and somebody waits for its end"


async def test_over_the_agents_death(world):
    async with world.agent() as engine:
        running, other = await started(engine), await made(engine)
        soon = replace(running.record.outcome, boost_until_ns=1)
        engine.containers.save(running, replace(running.record, outcome=soon))
        engine.containers.save(other, other.record.boosted())  # and died before it ran
    async with world.agent() as engine:
        other, running = engine.containers.find(other.id), engine.containers.find(running.id)
        assert owners(other) == []
        assert isinstance(other.record.outcome, Outcome)
        await until(lambda: not running.record.overrides)
        assert world.tree.held(running.record.cgroup_path, "memory.max") == str(64 * MIB)
