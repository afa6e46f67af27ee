"""A start either runs the command or leaves the container as it was."""

import asyncio

import pytest

from cgagent import bare
from cgagent.cgroups import Limits
from cgagent.engine.containers.config import CreateRequest
from cgagent.errors import (
    CommandNotFoundError,
    ConflictError,
    InternalError,
    InvalidInputError,
    NotExecutableError,
    NotFoundError,
    UnavailableError,
)
from tests.world.fakes.agent import request, started, until

pytestmark = pytest.mark.anyio


async def test_its_command_runs_in_its_group(engine, world):
    container = await engine.lifecycle.create(
        CreateRequest(config=request().config, limits=Limits(memory_max_bytes=1 << 30, pids_max=9))
    )
    await engine.lifecycle.start(container)
    outcome, task = container.record.outcome, world.supervisor.tasks[container.id]
    assert (outcome.status, outcome.pid) == ("running", task.pid)
    assert world.tree.held(container.record.cgroup_path, "cgroup.procs") == str(task.pid)
    assert world.tree.held(container.record.cgroup_path, "memory.max") == str(1 << 30)
    assert world.tree.held(container.record.cgroup_path, "pids.max") == "9"
    config = engine.lifecycle.bundle(container.id).read_config()
    assert config["process"]["args"] == ["/hello"]
    assert [job.name for job in engine.jobs.all()] == ["start", "create"]
    assert engine.jobs.get(2).steps[-1].name == "record"


async def test_one_that_runs_is_left_alone(engine, world):
    container = await started(engine)
    pid = container.record.outcome.pid
    await engine.lifecycle.start(container)
    assert container.record.outcome.pid == pid
    assert world.supervisor.ops(container.id).count("start") == 1


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (CommandNotFoundError("command /x: not found"), 127),
        (NotExecutableError("command /x: it cannot be executed"), 126),
        (InternalError("step mount: it failed"), 125),
    ],
)
async def test_a_failure_is_told_and_kept(engine, world, error, exit_code):
    container = await engine.lifecycle.create(request())
    world.supervisor.fail("start", error)
    with pytest.raises(type(error), match=error.message):
        await engine.lifecycle.start(container)
    outcome = container.record.outcome
    assert (outcome.status, outcome.exit_code) == ("created", exit_code)
    assert outcome.error == error.message
    assert world.tree.groups() == ["/cgagent"]
    assert world.supervisor.tasks == {}
    await engine.lifecycle.start(container)
    assert container.running
    assert container.record.outcome.error is None


async def test_a_zygote_that_was_killed_is_made_again(engine, world):
    container = await engine.lifecycle.create(request())
    world.supervisor.killed_zygotes = 1
    await engine.lifecycle.start(container)
    assert container.running
    asked = world.supervisor.ops(container.id)
    assert asked == ["create", "start", "forget", "create", "start"]


async def test_so_is_one_that_died_while_nobody_looked(ready_engine, world):
    container = await ready_engine.lifecycle.create(request())
    world.supervisor.spoil(container.id)
    await until(lambda: "forget" in world.supervisor.ops(container.id))
    await ready_engine.lifecycle.start(container)
    assert container.running


async def test_without_a_zygote_there_is_no_group(engine, world):
    container = await engine.lifecycle.create(request())
    world.supervisor.fail("create", InternalError("fork: it failed"))
    with pytest.raises(InternalError, match="fork"):
        await engine.lifecycle.start(container)
    assert world.tree.groups() == ["/cgagent"]


async def test_one_that_removes_itself_is_gone_when_its_start_fails(engine, world):
    container = await engine.lifecycle.create(request(auto_remove=True))
    world.supervisor.fail("start", CommandNotFoundError("command /x: not found"))
    with pytest.raises(CommandNotFoundError):
        await engine.lifecycle.start(container)
    assert container.removed
    assert world.left() == []


async def test_a_cancelled_start_leaves_nothing(engine, world):
    container = await engine.lifecycle.create(request())
    hold = world.supervisor.hold("start")
    starting = asyncio.create_task(engine.lifecycle.start(container))
    await hold.asked.wait()
    engine.jobs.cancel(next(job.id for job in engine.jobs.all() if job.name == "start"))
    with pytest.raises(ConflictError, match="was cancelled"):
        await starting
    assert container.record.outcome.status == "created"
    assert world.supervisor.tasks == {}
    assert world.tree.groups() == ["/cgagent"]


async def test_one_that_is_removed_while_it_waits_is_not_started(engine):
    container = await engine.lifecycle.create(request("one"))
    async with container.lock:
        starting = asyncio.create_task(engine.lifecycle.start(container))
        await asyncio.sleep(0)
        await engine.lifecycle.forget(container)
    with pytest.raises(NotFoundError, match="one has been removed"):
        await starting


async def test_a_supervisor_that_goes_takes_a_start_along(engine, world):
    container = await engine.lifecycle.create(request())
    hold = world.supervisor.hold("start")
    starting = asyncio.create_task(engine.lifecycle.start(container))
    await hold.asked.wait()
    world.supervisor.replace()
    with pytest.raises(UnavailableError, match="the supervisor has ended"):
        await starting
    hold.release()
    await engine.lifecycle.start(container)
    assert container.running


async def test_its_successor_is_asked_again(engine, world):
    container = await engine.lifecycle.create(request())
    hold = world.supervisor.hold("start")
    starting = asyncio.create_task(engine.lifecycle.start(container))
    await hold.asked.wait()
    hold.release()
    world.supervisor.succeed()
    await starting
    assert container.running
    assert world.supervisor.asked[-1].is_again


async def test_a_limit_that_the_kernel_refuses_now(engine, world):
    asked = CreateRequest(config=request(stdin=True).config, limits=Limits(pids_max=9))
    container = await engine.lifecycle.create(asked)
    world.tree.refuse("pids.max")
    with pytest.raises(InvalidInputError, match=r"pids\.max"):
        await engine.lifecycle.start(container)
    assert world.tree.groups() == ["/cgagent"]


async def test_the_pid_is_that_of_the_process_which_another_runtime_made(engine, world):
    container = await started(engine)
    world.supervisor.tell_started(container.id, 6_000_000)
    await until(lambda: container.record.outcome.pid == 6_000_000)
    world.supervisor.tell_started("unknown", 7)
    world.supervisor.tell_started(container.id, 6_000_000)


async def test_a_container_of_another_runtime(world, tmp_path):
    program = tmp_path / "other"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    async with world.agent(runtimes={"other": (str(program), "--debug")}) as engine:
        container = await started(engine, runtime="other")
        launch = world.supervisor.tasks[container.id].started.launch
        assert launch.driver.path == str(program)
        assert launch.container == container.id
        world.supervisor.end(container.id)
        await until(lambda: "forget" in world.supervisor.ops(container.id))
        with pytest.raises(InvalidInputError, match="'unknown' is not known"):
            await engine.lifecycle.create(request(runtime="unknown"))
        with pytest.raises(NotFoundError, match="is not a program"):
            await engine.lifecycle.create(request(runtime=f"{program}-not-there"))


async def test_a_helper_that_maps_no_ids_is_a_failed_start(engine, world, monkeypatch):
    """What it does when it can takes root."""
    container = await engine.lifecycle.create(request(userns="auto"))
    monkeypatch.setattr(bare, "command", lambda *_: ["/bin/false"])
    with pytest.raises(InternalError, match="mapping ids: the process died with status 1"):
        await engine.lifecycle.start(container)
    assert world.tree.groups() == ["/cgagent"]
    assert world.supervisor.tasks == {}
