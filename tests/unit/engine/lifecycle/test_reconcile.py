"""What the next agent finds: runs that went on or ended without it, and what was half-made."""

import asyncio
import dataclasses
import json

import pytest

from cgagent.engine.events import EventQuery
from cgagent.engine.options.mounts import Mount
from cgagent.errors import ConflictError, InternalError
from tests.world.fakes.agent import over, request, started, until

pytestmark = pytest.mark.anyio

ID = "ab" * 32
CACHE = Mount(type="volume", destination="/cache", no_copy=True)


async def one_that_ran(world, **config):
    """Its id; the agent has gone, the container runs."""
    async with world.agent() as engine:
        return (await started(engine, "one", **config)).id


async def test_one_that_ran_on_is_as_it_was(world):
    id_ = await one_that_ran(world)
    async with world.agent() as engine:
        container = engine.containers.get(id_)
        assert container.running
        assert container.record.outcome.pid == world.supervisor.tasks[id_].pid
        world.supervisor.end(id_, 3)
        await over(container)
        assert container.record.outcome.exit_code == 3


async def test_an_end_that_nobody_was_told_of_is_noted(world):
    id_ = await one_that_ran(world)
    world.supervisor.end(id_, 4)
    async with world.agent() as engine:
        container = engine.containers.get(id_)
        await until(lambda: not container.running)
        assert container.record.outcome.exit_code == 4
        await until(lambda: id_ not in world.supervisor.tasks)
    assert world.tree.groups() == []


async def test_so_is_one_whose_supervisor_has_forgotten_it(world):
    id_ = await one_that_ran(world)
    world.supervisor.end(id_, 5)
    world.supervisor.replace()
    async with world.agent() as engine:
        assert engine.containers.get(id_).record.outcome.exit_code == 5


async def test_one_that_was_lost_has_ended_somehow(world):
    id_ = await one_that_ran(world)
    world.supervisor.replace()
    async with world.agent() as engine:
        outcome = engine.containers.get(id_).record.outcome
        assert (outcome.status, outcome.exit_code) == ("exited", 137)
        assert "ended without telling the exit code" in outcome.error


async def test_one_that_removes_itself_goes_when_it_has_ended_meanwhile(world):
    id_ = await one_that_ran(world, auto_remove=True, mounts=(CACHE,))
    world.supervisor.end(id_, 0)
    async with world.agent() as engine:
        await until(lambda: engine.containers.get(id_) is None)
        await until(lambda: world.left() == [])


async def test_a_start_that_was_not_noted_is_found(world):
    """The agent was killed between the supervisor's answer and its own record."""
    async with world.agent() as engine:
        container = await engine.lifecycle.create(request("one"))
        save = container.record
        await engine.lifecycle.start(container)
        engine.containers.save(container, save)
    async with world.agent() as engine:
        found = engine.containers.get(container.id)
        assert found.running
        assert found.record.outcome.pid == world.supervisor.tasks[container.id].pid


async def test_so_is_a_run_that_is_over_by_now(world):
    async with world.agent() as engine:
        container = await engine.lifecycle.create(request("one"))
        save = container.record
        await engine.lifecycle.start(container)
        engine.containers.save(container, save)
    world.supervisor.end(container.id, 6)
    world.supervisor.replace()
    async with world.agent() as engine:
        assert engine.containers.get(container.id).record.outcome.exit_code == 6
        actions = [event.action for event in engine.events.past(EventQuery())]
        assert actions[-2:] == ["start", "die"]


async def test_what_was_made_to_be_run_at_once_and_was_not_is_removed(world):
    async with world.agent() as engine:
        await engine.lifecycle.create(request("one", auto_remove=True), of_run=True)
        await engine.lifecycle.create(request("two", auto_remove=True))
    async with world.agent() as engine:
        assert [c.name for c in engine.containers] == ["two"]


async def test_one_that_was_half_removed_is_removed(world):
    async with world.agent() as engine:
        container = await engine.lifecycle.create(request("one"))
        engine.lifecycle.bundle(container.id).remove()
    async with world.agent() as engine:
        assert list(engine.containers) == []
    assert world.left() == []


async def test_one_that_cannot_be_removed_does_not_keep_the_agent_from_starting(
    world, monkeypatch, caplog
):
    async with world.agent() as engine:
        container = await engine.lifecycle.create(request("one"))
        engine.lifecycle.bundle(container.id).remove()

    def fail(*_):
        raise InternalError("root: it cannot be removed")

    monkeypatch.setattr("cgagent.images.store.Images.release", fail)
    async with world.agent() as engine:
        assert [c.name for c in engine.containers] == ["one"]
    assert "one cannot be removed: root" in caplog.text


async def test_what_belongs_to_no_container_is_swept(world):
    root = world.settings.data_root
    async with world.agent():
        pass
    for name in ("containers", "containers-rw", "ahead"):
        (root / name / ID).mkdir(parents=True)
    (root / "containers/not-ours").mkdir()
    world.tree.make(f"/cgagent/{ID}")
    world.tree.make("/cgagent/not-ours")
    async with world.agent():
        assert world.left() == ["/cgagent/not-ours", "containers/not-ours"]


async def test_what_runs_is_left_alone_though_there_is_no_record_of_it(world, monkeypatch, caplog):
    monkeypatch.setattr("cgagent.engine.lifecycle.reconcile._SETTLE_S", 0.0)
    async with world.agent():
        pass
    directory = world.settings.data_root / "containers" / ID
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps({"linux": {"cgroupsPath": f"/batch/{ID}"}}))
    world.tree.make(f"/batch/{ID}", 6_000_000)
    async with world.agent():
        assert directory.exists()
    assert f"container {ID} runs, and there is no record of it" in caplog.text
    world.tree.leave(6_000_000)
    async with world.agent():
        assert not directory.exists()


async def test_a_group_with_somebodys_processes_is_left_alone(world, caplog):
    async with world.agent() as engine:
        container = await engine.lifecycle.create(request("one"))
    world.tree.make(container.record.cgroup_path, 6_000_000)
    async with world.agent():
        pass
    assert "of no running container is left alone" in caplog.text
    world.tree.leave(6_000_000)


async def test_files_of_commands_that_never_ran_go(world):
    id_ = await one_that_ran(world)
    file = world.settings.data_root / "containers" / id_ / "exec-0123.json"
    file.write_text("{}")
    async with world.agent():
        assert not file.exists()


async def test_one_data_root_is_one_agents(world):
    async with world.agent():
        with pytest.raises(ConflictError, match=r"data root .* is in use by another agent"):
            async with world.agent():
                pytest.fail("there were two")
        with pytest.raises(ConflictError, match=r"socket directory .* is in use"):
            async with world.agent(data_root=world.settings.data_root.with_name("other")):
                pytest.fail("there were two")


async def test_a_supervisor_that_is_replaced_takes_all_along(ready_engine, world):
    running = await started(ready_engine, "one")
    idle = await ready_engine.lifecycle.create(request("two"))
    world.supervisor.replace()
    await until(lambda: not running.running)
    assert running.record.outcome.exit_code == 137
    assert idle.record.outcome.status == "created"
    await ready_engine.lifecycle.start(running)
    await ready_engine.lifecycle.start(idle)
    assert running.running
    assert idle.running


async def test_what_is_started_while_the_lost_is_cleared_away_keeps_its_group(ready_engine, world):
    idle = await ready_engine.lifecycle.create(request("two"))
    making = world.supervisor.hold("create")
    lost = ready_engine.pool.forget_all()
    world.tree.leave(*(task.pid for task in world.supervisor.tasks.values()))
    world.supervisor.tasks.clear()
    starting = asyncio.create_task(ready_engine.lifecycle.start(idle))
    await making.asked.wait()
    await ready_engine.pool.clean_up(lost)
    making.release()
    await starting
    assert idle.running


async def test_its_successor_goes_on_with_all(engine, world):
    container = await started(engine, "one")
    before = engine.supervisor.pid
    world.supervisor.succeed()
    await until(lambda: engine.supervisor.pid != before)
    world.supervisor.end(container.id, 7)
    await over(container)
    assert container.record.outcome.exit_code == 7


async def test_ends_that_are_told_while_the_agent_stops_are_known_to_the_next_one(world, caplog):
    async with world.agent() as engine:
        ids = [(await started(engine, name)).id for name in ("one", "two", "three")]
        for id_ in ids:
            asyncio.get_running_loop().call_later(0.001, world.supervisor.end, id_, 7)
    async with world.agent() as engine:
        assert [engine.containers.get(id_).record.outcome.exit_code for id_ in ids] == [7, 7, 7]
    assert "failed" not in caplog.text


async def test_a_supervisor_may_become_another_process(engine, world):
    world.supervisor.move()
    await until(lambda: engine.supervisor.pid == world.supervisor.who.pid)
    assert engine.info()["supervisor_pid"] == world.supervisor.who.pid


async def test_an_update_that_was_cut_short_is_undone(world):
    id_ = await one_that_ran(world)
    async with world.agent() as engine:
        container = engine.containers.get(id_)
        file = str(world.tree.directory(container.record.cgroup_path) / "pids.max")
        undo = dataclasses.replace(container.record, undo=((file, "max"),))
        engine.containers.save(container, undo)
        world.tree.say(container.record.cgroup_path, "pids.max", "5")
    async with world.agent() as engine:
        container = engine.containers.get(id_)
        assert container.record.undo == ()
        assert world.tree.held(container.record.cgroup_path, "pids.max") == "max"
