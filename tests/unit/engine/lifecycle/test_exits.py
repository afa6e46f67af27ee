"""What follows the end of a container's first process."""

import asyncio
import time

import pytest

from cgagent.cgroups import Limits
from cgagent.engine.containers.config import CreateRequest
from cgagent.engine.events import EventQuery
from cgagent.engine.options.mounts import Mount
from cgagent.errors import InternalError, NoSpaceError
from tests.world.fakes.agent import over, request, started, until

pytestmark = pytest.mark.anyio

CACHE = Mount(type="volume", destination="/cache", no_copy=True)


def actions(engine):
    return [event.action for event in engine.events.past(EventQuery())]


async def test_how_it_ended_is_kept_and_its_group_goes(engine, world):
    container = await started(engine)
    world.supervisor.end(container.id, 3)
    await over(container)
    outcome = container.record.outcome
    assert (outcome.status, outcome.exit_code, outcome.pid) == ("exited", 3, None)
    assert outcome.finished_ns <= time.time_ns()
    assert not outcome.oom_killed
    assert world.tree.groups() == ["/cgagent"]
    assert world.supervisor.tasks == {}
    assert actions(engine) == ["create", "start", "die"]


async def test_what_the_kernel_killed_for_memory_is_marked(engine, world):
    container = await started(engine)
    path = container.record.cgroup_path
    world.tree.say(path, "memory.events", "oom 1\noom_kill 1\n")
    world.tree.say(path, "memory.events.local", "oom 1\noom_kill 1\n")
    world.supervisor.end(container.id, 137, number=9)
    await over(container)
    outcome = container.record.outcome
    assert outcome.oom_killed
    assert outcome.oom["limiting_group"] == path
    assert outcome.oom["victims"] == 1
    assert "oom" in actions(engine)


async def test_one_that_removes_itself_is_gone_with_its_volume(engine, world):
    container = await started(engine, auto_remove=True, mounts=(CACHE,))
    assert len(engine.volumes.all()) == 1
    world.supervisor.end(container.id, 4)
    await until(lambda: container.removed)
    assert container.record.outcome.exit_code == 4
    assert engine.volumes.all() == []
    assert list(engine.containers) == []
    await until(lambda: world.left() == [])
    assert sorted(actions(engine)[-3:]) == ["destroy", "destroy", "die"]


async def test_even_if_a_process_of_it_is_left(engine, world):
    """In its group, which is then killed."""
    container = await started(engine, auto_remove=True)
    world.tree.make(container.record.cgroup_path, 6_000_000)
    world.supervisor.end(container.id)
    await until(lambda: container.removed)
    await until(lambda: world.left() == [])


async def test_a_group_that_cannot_be_removed_is_told_of(engine, world, monkeypatch):
    container = await started(engine)
    path = container.record.cgroup_path
    world.tree.make(path, 6_000_000)
    world.tree.refuse("cgroup.kill")
    world.supervisor.end(container.id, 5)
    await until(lambda: container.record.outcome.error is not None)
    assert "its cgroup is left behind" in container.record.outcome.error
    assert container.record.outcome.exit_code == 5
    world.tree.accept("cgroup.kill")
    world.tree.leave(6_000_000)


async def test_the_end_of_an_earlier_run_is_not_that_of_this_one(engine, world):
    container = await started(engine)
    world.supervisor.tell_exit(container.id, pid=7, exit_code=1)
    await engine.lifecycle.kill(container, "USR1")
    assert container.running
    world.supervisor.tell_exit("unknown", pid=7, exit_code=1)
    await until(lambda: "unknown" in [asked.key for asked in world.supervisor.asked])


async def test_an_end_is_told_once_whoever_has_noted_it(engine, world):
    container = await started(engine)
    world.supervisor.end(container.id, 3)
    await over(container)
    world.supervisor.tell_exit(container.id, pid=7, exit_code=1)
    await until(lambda: world.supervisor.ops(container.id)[-2:] == ["forget", "forget"])
    assert container.record.outcome.exit_code == 3


async def test_last_figures_are_those_before_the_group_went(engine, world):
    container = await started(engine)
    world.tree.say(container.record.cgroup_path, "cpu.stat", "usage_usec 77\n")
    world.supervisor.end(container.id)
    await over(container)
    rows = engine.monitor.history(container, 0.0)["rows"]
    assert rows


async def test_on_a_full_disk_files_go_before_the_record(engine, world, monkeypatch):
    container = await started(engine, auto_remove=True)
    drop, refused = engine.containers.drop, []

    def full(*arguments):
        if not refused:
            refused.append(arguments)
            raise NoSpaceError("database: the disk is full")
        assert world.left() == [container.id]
        drop(*arguments)

    monkeypatch.setattr(engine.containers, "drop", full)
    world.supervisor.end(container.id)
    await until(lambda: container.removed)
    assert refused


async def test_one_that_cannot_be_removed_has_ended_all_the_same(engine, world, monkeypatch):
    container = await started(engine, auto_remove=True)

    def fail(*_):
        raise InternalError("database: it is damaged")

    monkeypatch.setattr(engine.containers, "drop", fail)
    world.supervisor.end(container.id, 6)
    await until(lambda: not container.running)
    assert container.record.outcome.exit_code == 6


async def test_waiting_is_for_this_end_or_the_next(engine, world):
    container = await engine.lifecycle.create(
        CreateRequest(config=request().config, limits=Limits(pids_max=1))
    )
    assert await engine.lifecycle.wait(container, "not-running") is None
    following = asyncio.create_task(engine.lifecycle.wait(container, "next-exit"))
    removed = asyncio.create_task(engine.lifecycle.wait(container, "removed"))
    await engine.lifecycle.start(container)
    world.supervisor.end(container.id, 3)
    assert await following == 3
    assert not removed.done()
    await over(container)
    await engine.lifecycle.remove(container)
    assert await removed == 3
