"""Automatic sizes at work: begun, undone, given up, and kept over the agent's death."""

import asyncio
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from cgagent.cgroups import Cpu, Limits, Memory, Oom, Pids, Pressure, Psi, Stall, Usage
from cgagent.engine.observe import watch
from cgagent.engine.observe.policies import Tick
from cgagent.engine.options import limits as limit_rules
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.wishes import Wishes
from cgagent.engine.sizing import autosizing
from cgagent.errors import ConflictError, InvalidInputError
from cgagent.metrics import Sample, Target
from tests.world.fakes.agent import request, until

pytestmark = pytest.mark.anyio
MIB = 1 << 20
RANGES = "memory=64m..512m,cpu=0.1..1"
NOTHING = Limits(), Conveniences()


class Rounds:
    """Rounds of sampling a minute apart, with what is advised then."""

    def __init__(self, monkeypatch):
        self.number, self.seen = 0, []
        clock = SimpleNamespace(
            time=self.now_s,
            monotonic=lambda: time.monotonic() + 60 * self.number,
            time_ns=lambda: int(self.now_s() * 1e9),
        )
        monkeypatch.setattr(autosizing, "time", clock)
        monkeypatch.setattr(watch, "time", clock)

    def now_s(self):
        return time.time() + 60 * self.number

    async def go(self, engine, container, count=1, *, advised=None, waited=0.0, throttled=0.0):
        engine.policies.stop()
        advice = [
            SimpleNamespace(resource=name, advised=value, why="a test says so")
            for name, value in (advised or {}).items()
        ]
        engine.usages.advice = lambda _, held: self.seen.append(held) or advice
        stall = Stall(avg10=waited, avg60=0.0, avg300=0.0, total_ns=0)
        usage = Usage(
            cpu=Cpu(),
            memory=Memory(current_bytes=512 * MIB, working_set_bytes=10 * MIB),
            io=None,
            pids=Pids(),
            pressure=Pressure(memory=Psi(some=stall)),
            frozen=False,
        )
        sample = Sample(Target(container.id, "", "", "/", 0.0), 0.0, 1, 1, usage, Limits())
        rates = SimpleNamespace(throttled_percent=throttled)
        for _ in range(count):
            self.number += 1
            engine.autosizing.ticked(Tick(lambda _: sample, lambda _: rates, frozenset()))
            await until(lambda: all(one.work is None for one in engine.autosizing._all.values()))


@pytest.fixture
def rounds(monkeypatch):
    return Rounds(monkeypatch)


async def started(engine, auto_size=RANGES, limits=Limits(), name="one", **config):  # noqa: B008
    asked = replace(request(name, auto_size=auto_size, **config), limits=limits)
    container = await engine.lifecycle.create(asked)
    await engine.lifecycle.start(container)
    return container


def in_force(container):
    limits = container.record.limits_in_force
    return limits.memory_max_bytes // MIB, limits.cpu_quota_us / limits.cpu_period_us


def outcomes(engine):
    return [d.outcome for d in engine.rulesets.decisions.page(50, policy="auto-size")][::-1]


async def test_down_step_by_step_and_back_where_tasks_wait(engine, rounds):
    one = await started(engine)
    await rounds.go(engine, one)
    assert in_force(one) == (512, 1.0)
    advised = {"memory": 100.0 * MIB, "cpus": 0.5}
    await rounds.go(engine, one, advised=advised)
    assert in_force(one) == (461, 0.9)
    assert rounds.seen[-1].memory_max_bytes == 512 * MIB, "advice in the first hour keeps to that"
    await rounds.go(engine, one, advised=advised, waited=5.0)
    assert in_force(one) == (512, 0.81)
    await rounds.go(engine, one, 3, advised=advised)
    assert in_force(one)[0] == 512, "it is paused"
    await rounds.go(engine, one, 5, advised=advised, throttled=80.0)
    assert in_force(one)[1] == 0.54
    last = engine.rulesets.decisions.page(1, policy="auto-size")[0]
    assert last.reason.startswith("cpu: 0.5 CPUs to 0.54 CPUs: its CPU quota was used up in 80%")
    (memory, cpu) = engine.autosizing.view(one.id)
    assert (memory["resource"], memory["least"], cpu["most"]) == ("memory", 64 * MIB, 1.0)
    assert "automatic size" in one.record.overrides[0].reason


async def test_what_cannot_be_given_back_stays(engine, rounds):
    one = await started(engine)
    await rounds.go(engine, one)

    async def refuses(*_, **__):
        raise ConflictError("the memory in use could not be brought down")

    engine.control.override, override = refuses, engine.control.override
    await rounds.go(engine, one, advised={"memory": 100.0 * MIB})
    engine.control.override = override
    assert in_force(one)[0] == 512
    assert outcomes(engine)[-1] == "failed"
    await rounds.go(engine, one, advised={"memory": 100.0 * MIB})
    assert in_force(one)[0] == 512, "it is paused"
    await engine.control.update(one, Limits(memory_max_bytes=300 * MIB), Conveniences())
    await rounds.go(engine, one)
    assert outcomes(engine)[-1] == "given up", "its user has the last word all the same"


async def test_a_first_step_that_cannot_be_made_is_made_later(engine, rounds, monkeypatch):
    one = await started(engine, "memory=64m..512m")
    with monkeypatch.context() as smaller:
        smaller.setattr(limit_rules, "host_memory_bytes", lambda: 256 * MIB)
        await rounds.go(engine, one)
    assert (outcomes(engine), engine.autosizing.view(one.id)[0]["size"]) == (["failed"], None)
    engine.autosizing._all[one.id].all["memory"].paused_until_s = 0.0
    await rounds.go(engine, one)
    assert one.record.limits_in_force.memory_max_bytes == 512 * MIB


async def test_its_user_has_the_last_word(engine, rounds):
    one = await started(engine)
    await rounds.go(engine, one)
    await engine.control.update(one, Limits(memory_max_bytes=300 * MIB), Conveniences())
    await rounds.go(engine, one, 2, advised={"memory": 100.0 * MIB, "cpus": 0.2})
    assert in_force(one)[0] == 300
    assert in_force(one)[1] < 1
    assert outcomes(engine).count("given up") == 1
    await engine.control.update(one, *NOTHING, wishes=Wishes(auto_size=RANGES))
    await rounds.go(engine, one, 2, advised={"memory": 100.0 * MIB})
    assert in_force(one)[0] == 270
    await engine.control.update(one, *NOTHING, wishes=Wishes(auto_size="memory=300m..400m"))
    assert one.record.limits_in_force.cpu_quota_us is None, "nobody sizes its CPUs any more"
    await rounds.go(engine, one)
    assert one.record.limits_in_force.memory_max_bytes == 300 * MIB
    await engine.control.update(one, *NOTHING, wishes=Wishes(auto_size="off"))
    await rounds.go(engine, one)
    assert one.record.overrides == ()
    assert engine.autosizing._rows.all() == {}


async def test_its_user_is_faster(engine, rounds):
    one = await started(engine)
    await rounds.go(engine, one)
    async with one.lock:
        update = engine.control.update(one, Limits(memory_max_bytes=300 * MIB), Conveniences())
        update = asyncio.create_task(update)
        await asyncio.sleep(0)  # it waits for the lock, and the step after it
        step = asyncio.create_task(rounds.go(engine, one, advised={"memory": 100.0 * MIB}))
        await until(lambda: engine.autosizing._all[one.id].work)
    await asyncio.gather(update, step)
    assert one.record.limits_in_force.memory_max_bytes == 300 * MIB
    assert outcomes(engine)[-1] == "given up"


async def test_a_dry_run_tells_and_does_nothing(engine, rounds):
    one = await started(engine, "memory=64m..512m:dry-run")
    await rounds.go(engine, one, 3, advised={"memory": 100.0 * MIB})
    assert one.record.overrides == ()
    assert outcomes(engine) == ["dry run"] * 3
    assert engine.autosizing.view(one.id)[0]["is_dry_run"]
    assert rounds.seen[-1].memory_max_bytes == 461 * MIB


def killed_at(container, limit):
    return Oom(
        group=container.record.cgroup_path,
        limiting_group=container.record.cgroup_path,
        victims=1,
        usage_bytes=limit,
        peak_bytes=limit,
        limit_bytes=limit,
    )


async def test_an_oom_kill_brings_more_up_to_the_ceiling(engine, rounds):
    one = await started(engine, limits=Limits(memory_max_bytes=200 * MIB))
    await rounds.go(engine, one)
    for expected in (296, 392, 488, 512, 512):
        engine.watch._tell(one, killed_at(one, in_force(one)[0] * MIB))
        engine.autosizing.happened(one, killed_at(one, in_force(one)[0] * MIB))
        await rounds.go(engine, one)
        assert in_force(one)[0] == expected
    assert outcomes(engine)[-1] == "failed"
    assert "the most it may have" in engine.rulesets.decisions.page(1)[0].reason


async def test_what_an_agent_has_missed_is_made_up_for_by_the_next(world, rounds):
    async with world.agent() as engine:
        one = await started(engine, limits=Limits(memory_max_bytes=200 * MIB))
        other = await started(engine, name="other")
        await rounds.go(engine, one)
        engine.watch._tell(one, killed_at(one, 200 * MIB))
        engine.autosizing._all[other.id].all["memory"].size = 300.0 * MIB
        engine.autosizing._all[other.id].all["memory"].is_applied = False
        engine.autosizing._keep(other, engine.autosizing._all[other.id])
    async with world.agent() as engine:
        one, other = engine.containers.find("one"), engine.containers.find("other")
        assert in_force(one)[0] == 296
        assert other.record.limits_in_force.memory_max_bytes == 300 * MIB
        await engine.lifecycle.remove(other, force=True)
        assert len(engine.autosizing._rows.all()) == 1


async def test_mistakes(engine):
    for text in ("cpu=0.1..4096", "memory=64m..900000g"):
        with pytest.raises(InvalidInputError, match="host"):
            await started(engine, text)
