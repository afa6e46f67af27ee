"""Memory taken back from containers that asked for it: what is written, shown and left alone."""

import threading
from types import SimpleNamespace

import pytest

from cgagent.cgroups import Cpu, Limits, Memory, Pids, Pressure, Psi, Stall, Usage
from cgagent.engine.groups.grouping import Change
from cgagent.engine.observe.policies import Tick
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.wishes import Wishes
from cgagent.engine.policies import reclaiming
from cgagent.errors import InvalidInputError
from cgagent.metrics import Sample, Target
from tests.world.fakes.agent import request, started, until

pytestmark = pytest.mark.anyio
NOTHING = Limits(), Conveniences()
MIB = 1 << 20


class Rounds:
    """Rounds of sampling six seconds apart."""

    def __init__(self, engine, monkeypatch):
        self.engine, self.now = engine, 1000.0
        engine.policies.stop()  # there are no rounds but ours
        monkeypatch.setattr(reclaiming, "time", SimpleNamespace(monotonic=lambda: self.now))

    async def go(self, target, count=1, *, waited_s=0.0, swap_free=1 << 30):
        """`target` is a container, or a target's id."""
        for _ in range(count):
            self.now += 6
            id_ = target if isinstance(target, str) else target.id
            sample = self._sample(id_, waited_s)
            machine = SimpleNamespace(swap_total_bytes=1 << 30, swap_free_bytes=swap_free)
            tick = Tick(lambda _, s=sample: s, lambda _: None, frozenset(), frozenset(), machine)
            self.engine.reclaiming.ticked(tick)
            await until(lambda: not self.engine.reclaiming._work)

    def _sample(self, id_, waited_s):
        stall = Stall(avg10=0.0, avg60=0.0, avg300=0.0, total_ns=int(waited_s * 1e9))
        usage = Usage(
            cpu=Cpu(),
            memory=Memory(
                current_bytes=1000 * MIB,
                file_bytes=500 * MIB,  # with tmpfs
                inactive_file_bytes=300 * MIB,
                active_file_bytes=100 * MIB,
                refault_file=0,
            ),
            io=None,
            pids=Pids(),
            pressure=Pressure(memory=Psi(some=stall)),
            frozen=False,
        )
        target = Target(id_, "", "", "/", 0.0)
        return Sample(target, self.now, 1, int(self.now * 1e9), usage, Limits())


@pytest.fixture
def rounds(engine, monkeypatch):
    return Rounds(engine, monkeypatch)


def asked(world, container):
    """What was last written for the kernel to reclaim."""
    return world.tree.held(container.record.cgroup_path, "memory.reclaim")


async def test_step_by_step(engine, world, rounds):
    container = await started(engine, "one", reclaim="auto")
    assert container.record.config.reclaim == "auto:psi=0.1%"
    await rounds.go(container)
    assert asked(world, container) == ""
    await rounds.go(container)
    assert asked(world, container) == str(int(1000 * MIB * 0.0005))
    await rounds.go(container, swap_free=0)
    assert asked(world, container) == f"{int(400 * MIB * 0.00075)} swappiness=0"
    await rounds.go(container, waited_s=1)
    view = engine.monitor.reclaim_view(container.id)
    assert view["backing_off"]
    assert view["reason"].startswith("tasks waited for memory 16.7%")
    assert engine.monitor.reclaimed(container.id).step_ratio == 0.0005


async def test_slow_steps_leave_threads_for_others(engine, rounds, monkeypatch):
    there = [await started(engine, f"c{n}", reclaim="auto") for n in range(5)]
    running, most, lock, two = 0, 0, threading.Lock(), threading.Event()

    def reclaim(*_, **__):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 2:
                two.set()
        two.wait(30)
        with lock:
            running -= 1
        return 0

    monkeypatch.setattr(engine.lifecycle, "group", lambda _: SimpleNamespace(reclaim=reclaim))
    for one in there[:2]:  # all of them are looked at in each round
        await rounds.go(one)
    assert most == 2


async def test_what_was_not_asked_for_or_stands_still_is_left_alone(engine, world, rounds):
    container = await started(engine, "one")
    await rounds.go(container, 3)
    assert asked(world, container) == ""
    assert engine.monitor.reclaim_view(container.id) is None
    await engine.control.update(container, *NOTHING, wishes=Wishes(reclaim="auto"))
    await engine.control.freeze(container)
    await rounds.go(container, 3)
    assert asked(world, container) == ""


async def test_it_can_be_updated_and_outlives_the_agent(world, monkeypatch):
    async with world.agent() as engine:
        container = await started(engine, "one")
        await engine.control.update(container, *NOTHING, wishes=Wishes(reclaim="auto:psi=0.5"))
        with pytest.raises(InvalidInputError, match="is neither off nor auto"):
            await engine.control.update(container, *NOTHING, wishes=Wishes(reclaim="a lot"))
    async with world.agent() as engine:
        container = engine.containers.find("one")
        assert container.record.config.reclaim == "auto:psi=0.5%"
        rounds = Rounds(engine, monkeypatch)
        await rounds.go(container, 2)
        assert engine.monitor.reclaim_view(container.id)["mode"] == "auto:psi=0.5%"
        await engine.control.update(container, *NOTHING, wishes=Wishes(reclaim="off"))
        await rounds.go(container)
        assert engine.monitor.reclaim_view(container.id) is None


async def test_where_the_kernel_cannot_that_is_said(engine, world, rounds, caplog):
    container = await started(engine, "one", reclaim="auto")
    (world.tree.directory(container.record.cgroup_path) / "memory.reclaim").unlink()
    await rounds.go(container, 4)
    assert "this kernel takes no memory back" in engine.monitor.reclaim_view(container.id)["reason"]
    assert caplog.text.count("no memory is taken back") == 1


async def test_a_wrong_mode_is_refused(engine):
    with pytest.raises(InvalidInputError, match="is neither off nor auto"):
        await engine.lifecycle.create(request("one", reclaim="auto:psi=0"))


async def test_of_a_group_it_is_taken_from_all_in_it_while_something_runs(engine, world, rounds):
    await engine.grouping.create("team", *NOTHING, reclaim="auto")
    path = engine.container_groups.path("team")
    id_, file = f"cgroup:{path}", "memory.reclaim"
    await rounds.go(id_, 3)
    assert world.tree.held(path, file) == "", "nothing runs in it"
    await started(engine, "one", group="team")
    await rounds.go(id_, 2)
    assert world.tree.held(path, file) == str(int(1000 * MIB * 0.0005))
    assert engine.monitor.reclaimed(id_).step_ratio > 0.0005
    change = Change(limits=Limits(), extra=Conveniences(), reclaim="off")
    await engine.grouping.update("team", change)
    await rounds.go(id_)
    assert engine.monitor.reclaim_view(id_) is None
