"""Explanations of the real engine, with the figures of a tree of plain files."""

import asyncio
import os
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from cgagent.cgroups import Limits
from cgagent.cgroups.hierarchy import Placement
from cgagent.engine.explaining import now
from cgagent.engine.explaining.kinship import Kinship
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.overrides import LimitOverride
from cgagent.errors import ConflictError, NotFoundError
from cgagent.kernel import procfs
from cgagent.policy.causes import Figures, Machine, Situation
from cgagent.policy.causes.tasks import frozen
from tests.world.fakes.agent import over, request, started

pytestmark = pytest.mark.anyio

MIB = 1 << 20
WINDOW_S = 60.0


@pytest.fixture
def explained(monkeypatch, leap):
    """A function that awaits an explanation while the kernel's files change in its window."""

    async def explain(asked, *changes):
        async def window(seconds):
            for tree, path, name, text in changes:
                tree.say(path, name, text)
            leap(seconds)

        waiting = SimpleNamespace(sleep=window, to_thread=asyncio.to_thread)
        monkeypatch.setattr(now, "asyncio", waiting)
        return await asked

    return explain


def stalled(seconds):
    line = f"avg10=0.00 avg60=0.00 avg300=0.00 total={int(seconds * 1e6)}"
    return f"some {line}\nfull {line}\n"


def used(seconds, throttled=0.0):
    return (
        f"usage_usec {int(seconds * 1e6)}\nuser_usec 0\nsystem_usec 0\n"
        f"nr_periods 4\nnr_throttled 4\nthrottled_usec {int(throttled * 1e6)}\n"
    )


async def test_a_quota_of_a_group_above_and_a_neighbour(engine, world, explained):
    web, noisy = await started(engine, "web"), await started(engine, "noisy")
    path, tree = web.record.cgroup_path, world.tree
    await engine.groups.change("/cgagent", Limits(), Conveniences(cpus=0.5), force=False)
    tree.say("/cgagent", "cpu.stat", used(0))
    found = await explained(
        engine.explanations.of_container(web, WINDOW_S, None),
        (tree, path, "cpu.pressure", stalled(WINDOW_S * 0.7)),
        (tree, path, "cpu.stat", used(WINDOW_S * 0.2)),
        (tree, "/cgagent", "cpu.stat", used(WINDOW_S * 0.5, WINDOW_S * 0.9)),
        (tree, noisy.record.cgroup_path, "cpu.stat", used(WINDOW_S * 0.3)),
    )
    assert (found.container, found.path, found.status) == ("web", path, "running")
    assert found.causes[0].kind == "cpu-quota"
    assert found.causes[0].group == "/cgagent"
    assert found.causes[0].commands[0].startswith("cgagent cgroup set --cpus ")
    assert found.verdict == found.causes[0].says
    assert 0.5 < found.lost["cpu"] < 0.8
    assert found.lost["memory"] == 0
    assert [n.group.container for n in found.neighbours] == ["noisy"]
    assert found.neighbours[0].beside == path
    files = [e.file for e in found.causes[0].evidence]
    assert str(tree.directory("/cgagent") / "cpu.max") in files


async def test_a_quota_that_a_policy_holds_it_to(engine, world, explained):
    web = await started(engine, "web")
    path, tree = web.record.cgroup_path, world.tree
    cap = Limits(cpu_quota_us=10_000, cpu_period_us=100_000)
    by = LimitOverride(owner="budget", reason="3 s of 2 s cpu are used", since_ns=1, limits=cap)
    await engine.control.override(web, by)
    tree.say(path, "cpu.stat", used(0))
    found = await explained(
        engine.explanations.of_container(web, WINDOW_S, None),
        (tree, path, "cpu.pressure", stalled(WINDOW_S)),
        (tree, path, "cpu.stat", used(WINDOW_S * 0.1, WINDOW_S * 0.9)),
    )
    held = found.causes[0].evidence[-1]
    assert (held.what, held.value) == ("held to it by budget", "3 s of 2 s cpu are used")


async def test_memory_of_a_group_that_is_none_of_ours(engine, world, explained):
    world.tree.make("/other", 6_000_000)
    world.tree.say("/other", "memory.max", str(64 * MIB))
    found = await explained(
        engine.explanations.of_group("/other", WINDOW_S, None),
        (world.tree, "/other", "memory.pressure", stalled(WINDOW_S)),
        (world.tree, "/other", "memory.events.local", "high 0\nmax 7\noom_kill 0\n"),
    )
    first = found.causes[0]
    assert (first.kind, found.container, found.status) == ("memory-max", None, "there")
    assert first.commands == ("cgagent cgroup set --force --memory 96m /other",)
    with pytest.raises(NotFoundError, match="/none does not exist"):
        await engine.explanations.of_group("/none", WINDOW_S, None)
    world.tree.leave(6_000_000)


async def test_nothing_and_the_host_itself(engine):
    web = await started(engine, "web")
    found = await engine.explanations.of_container(web, 0.05, None)
    assert (found.causes, found.verdict) == ((), "nothing holds it back")
    await engine.control.freeze(web)
    found = await engine.explanations.of_container(web, 0.05, None)
    assert (found.causes[0].kind, found.status) == ("frozen", "frozen")
    assert found.causes[0].commands == ("cgagent thaw web",)
    assert (await engine.explanations.of_group("/", 0.05, None)).path == "/"


async def test_the_file_of_a_freeze_is_the_one_that_says_so(engine, tmp_path):
    v1 = Placement(controller="freezer", version=1, mount=str(tmp_path), own_path="/")
    host = replace(engine.host, placements={**engine.host.placements, "freezer": v1})
    kinship = Kinship(host, {}, "/cgagent")

    def file():
        (tmp_path / "one").mkdir(exist_ok=True)
        one = kinship.describe("/one", Figures(), Limits(), is_frozen=True)
        return frozen(Situation(span_s=1, chain=(one,), machine=Machine())).evidence[0].file

    assert file().endswith("/one/cgroup.freeze")
    for state, name in (("THAWED", "cgroup.freeze"), ("FROZEN", "freezer.state")):
        (tmp_path / "one/freezer.state").write_text(f"{state}\n")
        assert file().endswith(f"/one/{name}")


async def test_one_that_does_not_run(engine, world):
    web = await engine.lifecycle.create(request("web"))
    never = await engine.explanations.of_container(web, 0.05, None)
    assert (never.verdict, never.causes[0].kind) == ("it was never started", "ended")
    await engine.lifecycle.start(web)
    world.supervisor.end(web.id, 3)
    await over(web)
    found = await engine.explanations.of_container(web, 0.05, None)
    assert found.verdict.endswith("ago with exit code 3")
    assert found.causes[0].commands == (
        "cgagent start web",
        "cgagent logs --tail 20 web",
    )


async def test_what_is_kept(engine, world, leap):
    web = await started(engine, "web")
    path, began_s = web.record.cgroup_path, time.time() - 1
    with pytest.raises(ConflictError, match="nothing is kept of it"):
        await engine.explanations.of_container(web, 1.0, began_s)
    await engine.control.update(web, Limits(pids_max=9), Conveniences(cpus=0.5))
    for total_s in (0.0, 0.2, 0.4):
        world.tree.say(path, "cpu.pressure", stalled(total_s))
        world.tree.say(path, "cpu.stat", used(total_s).replace("4\n", f"{int(total_s * 100)}\n"))
        engine.monitor.last_sample(web)
        leap(0.15)
    engine.events.tell(web, "pids-refused", count="3")
    found = await engine.explanations.of_container(web, 1.0, began_s)
    assert [c.kind for c in found.causes] == ["pids-limit", "cpu-quota"]
    assert found.since_s is not None
    assert found.span_s < time.time() - began_s
    assert any(e.value == 3 for e in found.causes[0].evidence)
    world.supervisor.end(web.id, 0)
    await over(web)
    assert (await engine.explanations.of_container(web, 1.0, began_s)).causes


def test_how_long_a_thread_has_waited():
    tasks = procfs.tasks(os.getpid())
    assert f"/proc/{os.getpid()}/task/{os.getpid()}" in tasks
    assert procfs.run_delay_ns(tasks[0]) >= 0
    assert procfs.tasks(5_000_001) == []
    assert procfs.run_delay_ns("/proc/5000001/task/5000001") == 0
