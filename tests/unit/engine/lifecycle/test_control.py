"""Freezes, limits and overrides of a container that runs: all of a change or nothing."""

import asyncio
import errno
import time

import pytest

from cgagent.cgroups import UNLIMITED, IoMax, Limits
from cgagent.engine.events import EventQuery
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.overrides import LimitOverride
from cgagent.engine.options.restart import ALWAYS, RestartPolicy
from cgagent.errors import ConflictError, DeadlineError, InvalidInputError, NotFoundError
from tests.world.fakes.agent import over, request, started, until

pytestmark = pytest.mark.anyio

NOTHING = Conveniences()


def override(owner, **limits):
    return LimitOverride(owner=owner, reason="a test", since_ns=1, limits=Limits(**limits))


def actions(engine):
    return [event.action for event in engine.events.past(EventQuery())]


async def test_frozen_and_thawed(engine, world):
    container = await started(engine, "one")
    path = container.record.cgroup_path
    with pytest.raises(ConflictError, match="one is not frozen"):
        await engine.control.thaw(container)
    await engine.control.freeze(container)
    assert world.tree.held(path, "cgroup.freeze") == "1"
    assert container.frozen
    assert engine.control.is_frozen(container)
    with pytest.raises(ConflictError, match="frozen already"):
        await engine.control.freeze(container)
    await engine.control.thaw(container)
    assert not container.frozen
    assert actions(engine)[-2:] == ["pause", "unpause"]
    world.supervisor.end(container.id)
    await over(container)
    assert not engine.control.is_frozen(container)
    with pytest.raises(ConflictError, match="one is not running"):
        await engine.control.freeze(container)


async def test_tasks_that_do_not_freeze_go_on(engine, world):
    container = await started(engine)
    world.tree.never_freezes = True
    with pytest.raises(DeadlineError, match="did not freeze in time"):
        await engine.control.freeze(container, timeout_s=0.01, lease_s=60)
    assert world.tree.held(container.record.cgroup_path, "cgroup.freeze") == "0"
    assert container.record.outcome.thaw_at_ns is None


async def test_one_that_is_thawed_while_it_is_being_frozen(engine, world):
    container = await started(engine)
    world.tree.never_freezes = True
    freezing = asyncio.create_task(engine.control.freeze(container))
    path = container.record.cgroup_path
    await until(lambda: world.tree.held(path, "cgroup.freeze") == "1")
    await engine.control.thaw(container)
    with pytest.raises(ConflictError, match=r"was not frozen: .* it was thawed"):
        await freezing
    assert not container.frozen


async def test_a_cancelled_freeze_is_none(engine, world):
    container = await started(engine)
    world.tree.never_freezes = True
    freezing = asyncio.create_task(engine.control.freeze(container))
    path = container.record.cgroup_path
    await until(lambda: world.tree.held(path, "cgroup.freeze") == "1")
    freezing.cancel()
    await asyncio.sleep(0)
    world.tree.say(path, "cgroup.events", "populated 1\nfrozen 1\n")
    with pytest.raises(asyncio.CancelledError):
        await freezing
    assert world.tree.held(path, "cgroup.freeze") == "0"


async def test_a_lease_ends_a_freeze(engine, world, leap):
    container = await started(engine)
    await engine.control.freeze(container, lease_s=60)
    leap(60)
    await until(lambda: not container.frozen)
    assert world.tree.held(container.record.cgroup_path, "cgroup.freeze") == "0"


async def test_also_that_of_another_agent(world):
    async with world.agent() as engine:
        container = await started(engine)
        await engine.control.freeze(container, lease_s=60)
        soon = container.with_outcome(thaw_at_ns=time.time_ns())
        engine.containers.save(container, soon)
    async with world.agent() as engine:
        found = engine.containers.get(container.id)
        await until(lambda: not found.frozen)


@pytest.mark.parametrize("has_come_about", [True, False])
async def test_a_freeze_that_is_cut_short_by_the_agents_death_is_none(world, has_come_about):
    async with world.agent() as engine:
        container = await started(engine)
        in_a_minute = time.time_ns() + 60 * 10**9
        engine.containers.save(container, container.with_outcome(thaw_at_ns=in_a_minute))
        if has_come_about:
            engine.lifecycle.group(container).freeze(1.0)
    async with world.agent() as engine:
        found = engine.containers.get(container.id)
        assert world.tree.held(found.record.cgroup_path, "cgroup.freeze") == "0"
        assert found.record.outcome.thaw_at_ns is None
        assert not found.frozen
        assert not found.freezing
        assert not engine.control._leases


async def test_one_that_cannot_be_ended_at_first_is_ended_later(world, leap):
    async with world.agent() as engine:
        container = await started(engine)
        in_a_minute = time.time_ns() + 60 * 10**9
        engine.containers.save(container, container.with_outcome(thaw_at_ns=in_a_minute))
        engine.lifecycle.group(container).freeze(1.0)
    world.tree.refuse("cgroup.freeze", errno.EIO)
    async with world.agent() as engine:
        found = engine.containers.get(container.id)
        assert engine.control.is_frozen(found)
        engine.control.note_frozen(found, by="another program")
        assert found.record.outcome.thaw_at_ns == in_a_minute
        world.tree.accept("cgroup.freeze")
        leap(60)
        await until(lambda: not found.frozen)
        assert not engine.control.is_frozen(found)


async def test_a_lease_that_was_overtaken_means_nothing(engine, leap):
    container = await started(engine)
    await engine.control.freeze(container, lease_s=60)
    await engine.control.thaw(container)
    await engine.control.freeze(container)
    leap(60)
    await until(lambda: not engine.control._leases)
    assert container.frozen


async def test_limits_change_at_once_and_with_the_next_start(engine, world):
    container = await engine.lifecycle.create(request())
    await engine.control.update(container, Limits(pids_max=7), NOTHING)
    assert container.record.limits.pids_max == 7
    await engine.lifecycle.start(container)
    path = container.record.cgroup_path
    assert world.tree.held(path, "pids.max") == "7"
    await engine.control.update(container, Limits(pids_max=8), Conveniences(cpus=2))
    assert world.tree.held(path, "pids.max") == "8"
    assert world.tree.held(path, "cpu.max") == "200000 100000"
    assert engine.control.held_limits(container).pids_max == 8
    assert engine.control.process_ids(container) == [container.record.outcome.pid]
    await engine.control.update(container, Limits(), NOTHING, RestartPolicy(ALWAYS))
    assert container.record.config.restart == RestartPolicy(ALWAYS)
    assert actions(engine)[-1] == "update"


async def test_a_preview_changes_nothing(engine, world):
    container = await started(engine)
    before, events = container.record, len(actions(engine))
    found = engine.control.preview(container, Limits(pids_max=9), Conveniences(cpus=0.5))
    assert (found.limits.pids_max, found.limits.cpu_quota_us) == (9, 50_000)
    assert found.limits_in_force.pids_max == 9
    assert container.record is before
    assert world.tree.held(before.cgroup_path, "pids.max") == "max"
    assert len(actions(engine)) == events
    with pytest.raises(InvalidInputError):
        engine.control.preview(container, Limits(), Conveniences(cpus=10_000))


async def test_a_write_that_fails_takes_back_those_before_it(engine, world):
    container = await started(engine)
    world.tree.refuse("pids.max", errno.EINVAL)
    with pytest.raises(InvalidInputError, match=r"pids\.max"):
        await engine.control.update(
            container, Limits(memory_max_bytes=1 << 30, cpu_weight=5, pids_max=4), NOTHING
        )
    path = container.record.cgroup_path
    held = [world.tree.held(path, name) for name in ("memory.max", "cpu.weight", "pids.max")]
    assert held == ["max", "100", "max"]
    assert container.record.limits == Limits()
    assert container.record.undo == ()
    assert "update" not in actions(engine)


async def test_what_cannot_be_taken_back_is_logged(engine, world, caplog, monkeypatch):
    container = await started(engine)

    def fail(*_, **__):
        world.tree.refuse("cpu.weight", errno.EIO)
        raise InvalidInputError("memory.max: the kernel refuses it")

    with monkeypatch.context() as patch:
        patch.setattr("cgagent.cgroups.group.Group.apply", fail)
        with pytest.raises(InvalidInputError):
            await engine.control.update(container, Limits(cpu_weight=5), NOTHING)
    assert "after a failed update: " in caplog.text
    assert container.record.undo == ()


async def test_more_memory_in_use_than_asked_for(engine, world):
    container = await started(engine)
    world.tree.say(container.record.cgroup_path, "memory.current", str(1 << 30))
    with pytest.raises(ConflictError, match="in use"):
        await engine.control.update(container, Limits(memory_max_bytes=8 << 20), NOTHING)
    assert world.tree.held(container.record.cgroup_path, "memory.max") == "max"
    await engine.control.update(container, Limits(memory_max_bytes=8 << 20), NOTHING, force=True)
    assert world.tree.held(container.record.cgroup_path, "memory.max") == str(8 << 20)


async def test_an_update_leaves_the_caps_it_does_not_name(engine, world):
    container = await started(engine)
    for caps in ({"wbps": 1 << 20}, {"rbps": 1 << 21}):
        limits = Limits(io_max=(IoMax(major=8, minor=0, **caps),))
        await engine.control.update(container, limits, NOTHING)
    written = world.tree.held(container.record.cgroup_path, "io.max")
    assert "rbps=2097152" in written
    assert "wbps=max" not in written


async def test_overrides_are_over_each_other(engine, world):
    container = await started(engine)
    await engine.control.update(container, Limits(pids_max=100), NOTHING)
    path = container.record.cgroup_path
    await engine.control.override(container, override("one", pids_max=10))
    await engine.control.override(container, override("two", pids_max=20, cpu_weight=50))
    assert world.tree.held(path, "pids.max") == "20"
    await engine.control.update(container, Limits(pids_max=200), NOTHING)
    assert world.tree.held(path, "pids.max") == "20"
    await engine.control.lift(container, "two")
    assert world.tree.held(path, "pids.max") == "10"
    assert world.tree.held(path, "cpu.weight") == "100"
    await engine.control.lift(container, "one")
    assert world.tree.held(path, "pids.max") == "200"
    assert container.record.overrides == ()
    assert container.record.limits.pids_max == 200
    with pytest.raises(NotFoundError):
        await engine.control.lift(container, "one")


async def test_an_override_that_cannot_be_held_is_none(engine, world):
    container = await started(engine)
    world.tree.refuse("memory.high")
    with pytest.raises(InvalidInputError):
        await engine.control.override(container, override("one", memory_high_bytes=1 << 30))
    assert container.record.overrides == ()
    world.tree.accept("memory.high")
    await engine.control.override(container, override("one", memory_high_bytes=1 << 30))
    assert container.record.limits_in_force.memory_high_bytes == 1 << 30
    assert container.record.limits.memory_high_bytes is None


async def test_one_that_does_not_run_has_no_limits_in_the_kernel(engine):
    container = await engine.lifecycle.create(request())
    assert engine.control.held_limits(container) is None
    with pytest.raises(ConflictError):
        engine.control.process_ids(container)
    await engine.lifecycle.remove(container)
    with pytest.raises(NotFoundError, match="has been removed"):
        await engine.control.update(container, Limits(pids_max=7), NOTHING)


async def test_a_group_that_is_just_gone(engine, world):
    container = await started(engine)
    pid = container.record.outcome.pid
    world.tree.leave(pid)
    engine.lifecycle.group(container).remove()
    assert not engine.control.is_frozen(container)
    assert engine.control.held_limits(container) is None
    with pytest.raises(NotFoundError):
        await engine.control.freeze(container)


async def test_no_limit_is_a_limit_too(engine, world):
    container = await started(engine)
    await engine.control.update(container, Limits(pids_max=5), NOTHING)
    await engine.control.update(container, Limits(pids_max=UNLIMITED), NOTHING)
    assert world.tree.held(container.record.cgroup_path, "pids.max") == "max"
