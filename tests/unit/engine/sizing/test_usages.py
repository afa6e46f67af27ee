"""What containers use, kept by the real engine over restarts, removals and agents."""

import pytest

from cgagent.cgroups import Limits, Oom
from cgagent.engine.observe.policies import Tick
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.sizing import usages
from tests.world.fakes.agent import over, started

pytestmark = pytest.mark.anyio

MIB = 1 << 20


def minute(engine, container):
    """A minute passes, as far as the policy knows."""
    engine.monitor.last_sample(container)
    engine.usages._due_s = 0.0
    latest = engine.monitor._sampler.latest
    engine.usages.ticked(Tick(latest, lambda _: None, frozenset()))


def used(world, container, mib, seconds, read):
    path = container.record.cgroup_path
    world.tree.say(path, "memory.current", str(mib * MIB))
    world.tree.say(path, "pids.current", "3")
    world.tree.say(path, "cpu.stat", f"usage_usec {seconds * 10**6}\nuser_usec 0\nsystem_usec 0\n")
    counts = f"rbytes={read} wbytes=0 rios=1 wios=0 dbytes=0 dios=0"
    world.tree.say(path, "io.stat", f"254:0 {counts}\n")


async def test_it_is_kept_over_a_removal_and_another_agent(world):
    async with world.agent() as engine:
        web = await started(engine, "web")
        assert engine.usages.advice(web) == []
        assert engine.usages.command(web) == ""
        for seconds in (1, 2, 3):
            used(world, web, 40, seconds, seconds * 10 * MIB)
            minute(engine, web)
            engine.usages.ticked(Tick(lambda _: None, lambda _: None, frozenset()))  # too early
        found = {one.resource: one for one in engine.usages.advice(web)}
        assert set(found) == {"memory", "cpus", "pids", "reads"}
        assert found["memory"].most == 40 * MIB
        assert engine.usages.of(web).samples == 3
        assert found["cpus"].most > 0
        world.supervisor.end(web.id, 0)
        await over(web)
        await engine.lifecycle.remove(web)
        await engine.usages._save()
        assert engine.usages._uses == {}
    async with world.agent() as engine:
        web = await started(engine, "web")
        assert engine.usages.of(web).samples == 3
        used(world, web, 60, 1, 0)
        minute(engine, web)
        assert engine.usages.of(web).samples == 4
        assert engine.usages.of(web).memory.peaks.most == 60 * MIB
        other = await started(engine, "other")
        assert engine.usages.of(other).samples == 0


async def test_the_sleep_of_one_that_hibernates_is_no_measure_of_its_work(engine, world):
    web = await started(engine, "web")
    for seconds in (1, 2):
        used(world, web, 40, seconds, 0)
        minute(engine, web)
    wanted = [one.advised for one in engine.usages.advice(web)]
    await engine.control.freeze(web)
    used(world, web, 1, 2, 0)
    for _ in range(30):
        minute(engine, web)
    assert [one.advised for one in engine.usages.advice(web)] == wanted
    assert engine.usages.of(web).samples == 2
    await engine.control.thaw(web)
    minute(engine, web)
    assert engine.usages.of(web).samples == 3


async def test_a_kill_by_its_own_limit_asks_for_more(engine):
    web = await started(engine, "web")
    path = web.record.cgroup_path
    told = {"victims": 2, "usage_bytes": 1, "peak_bytes": 1, "limit_bytes": 64 * MIB}
    engine.usages.happened(web, Oom(group=path, limiting_group="/cgagent", **told))
    assert engine.usages.of(web).ooms == 0
    engine.usages.happened(web, Oom(group=path, limiting_group=path, **told))
    use = engine.usages.of(web)
    assert (use.ooms, use.memory.peaks.most) == (2, 80 * MIB)


async def test_a_damaged_record_is_begun_anew(engine):
    row = usages.UsageRow(name="web", image="tiny", document="{}", updated_ns=2**62)
    engine.usages._rows.put([row], 0, 10)
    web = await started(engine, "web")
    assert engine.usages.of(web).samples == 0
    engine.usages._rows.put([], 0, 0)
    assert engine.usages._rows.get("web", "tiny") is None


async def test_of_a_group_it_is_of_all_that_is_in_it(world):
    def passes(engine, mib, seconds, tasks=3):
        for file, text in (
            ("memory.current", str(mib * MIB)),
            ("pids.current", str(tasks)),
            ("cpu.stat", f"usage_usec {seconds * 10**6}\nuser_usec 0\nsystem_usec 0\n"),
        ):
            world.tree.say(path, file, text)
        engine.monitor.refresh_group(path)
        engine.usages._due_s = 0.0
        latest = engine.monitor._sampler.latest
        engine.usages.ticked(Tick(latest, lambda _: None, frozenset()))

    async with world.agent() as engine:
        limits = Limits(memory_max_bytes=64 * MIB)
        team = await engine.grouping.create("team", limits, Conveniences())
        path = engine.container_groups.path("team")
        for seconds in (1, 2):
            passes(engine, 40, seconds)
        passes(engine, 90, 3, tasks=0)
        use = engine.usages.of(team)
        assert (use.samples, use.memory.peaks.most) == (2, 40 * MIB), "nothing ran the last time"
        memory = next(a for a in engine.usages.advice(team) if a.resource == "memory")
        assert memory.asked == 64 * MIB
        assert engine.usages.command(team).startswith("cgagent group update --memory 92m --cpus ")
        one = await started(engine, "one", group="team")
        told = {"limit_bytes": 64 * MIB, "usage_bytes": 1, "peak_bytes": 1, "victims": 1}
        own = one.record.cgroup_path
        engine.usages.happened(one, Oom(group=own, limiting_group=path, **told))
        assert (use.ooms, engine.usages.of(one).ooms) == (1, 0)
    async with world.agent() as engine:
        assert engine.usages.of(engine.container_groups.find("team")).samples == 2
