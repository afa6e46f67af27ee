"""Stop, kill and restart."""

import asyncio
import signal

import pytest

from cgagent.cgroups import IoMax, Limits
from cgagent.engine.containers.config import CreateRequest
from cgagent.engine.events import EventQuery
from cgagent.engine.lifecycle import signals
from cgagent.errors import ConflictError, DeadlineError, InvalidInputError
from tests.world.fakes.agent import over, request, started, until

pytestmark = pytest.mark.anyio


def sent(world):
    return [asked.request.signal for asked in world.supervisor.asked if asked.op == "signal"]


async def test_it_is_asked_with_its_stop_signal(engine, world):
    container = await started(engine, stop_signal="SIGUSR1")
    await engine.lifecycle.stop(container)
    assert sent(world) == [signal.SIGUSR1]
    assert container.record.outcome.exit_code == 128 + signal.SIGUSR1
    await engine.lifecycle.stop(container)
    assert sent(world) == [signal.SIGUSR1]
    assert [e.action for e in engine.events.past(EventQuery())][-1] == "stop"


async def test_it_is_killed_when_it_does_not_listen(engine, world):
    world.supervisor.ignored = {signal.SIGTERM}
    container = await started(engine)
    await engine.lifecycle.stop(container, 0.01)
    assert sent(world) == [signal.SIGTERM, signal.SIGKILL]
    assert container.record.outcome.exit_code == 137


async def test_a_frozen_one_is_thawed_for_that(engine, world):
    container = await started(engine)
    await engine.control.freeze(container)
    await engine.lifecycle.stop(container)
    assert not container.running


async def test_one_that_does_not_die_is_told_of(engine, world, monkeypatch):
    """Its caps on IO are lifted meanwhile, as its last process may wait for the disk."""
    monkeypatch.setattr(signals, "_PATIENCE_S", 0.01)
    monkeypatch.setattr(signals, "KILL_TIMEOUT_S", 0.05)
    world.supervisor.ignored = {signal.SIGTERM, signal.SIGKILL}
    capped = Limits(io_max=(IoMax(major=8, minor=0, rbps=1),))
    container = await engine.lifecycle.create(CreateRequest(config=request().config, limits=capped))
    await engine.lifecycle.start(container)
    with pytest.raises(DeadlineError, match=r"did not end 0\.05 s after SIGKILL: look for a task"):
        await engine.lifecycle.stop(container, 0.01)
    assert world.tree.held(container.record.cgroup_path, "io.max").endswith(
        "rbps=max wbps=max riops=max wiops=max"
    )
    world.supervisor.end(container.id)
    await over(container)


async def test_without_an_answer_of_the_supervisor_its_group_is_killed(engine, world, monkeypatch):
    monkeypatch.setattr(signals, "_PATIENCE_S", 0.01)
    container = await started(engine)
    hold = world.supervisor.hold("signal")
    await engine.lifecycle.kill(container, "KILL")
    await over(container)
    assert container.record.outcome.exit_code == 137
    hold.release()


async def test_a_signal_needs_a_process(engine, world):
    container = await engine.lifecycle.create(request("one"))
    with pytest.raises(ConflictError, match="one is not running"):
        await engine.lifecycle.kill(container, "TERM")
    with pytest.raises(InvalidInputError, match="NONE"):
        await engine.lifecycle.kill(container, "NONE")
    await engine.lifecycle.start(container)
    world.supervisor.ignored = {signal.SIGHUP}
    await engine.lifecycle.kill(container, "hup")
    assert sent(world) == [signal.SIGHUP]
    assert container.running


async def test_a_restart_is_a_stop_and_a_start(engine, world):
    container = await started(engine, auto_remove=True)
    pid = container.record.outcome.pid
    await engine.lifecycle.restart(container)
    assert container.running
    assert container.record.outcome.pid != pid
    world.supervisor.end(container.id)
    await until(lambda: container.removed)


async def test_with_a_negative_timeout_it_is_waited_for(engine, world):
    world.supervisor.ignored = {signal.SIGTERM}
    container = await started(engine, stop_timeout_s=-1)
    stopping = asyncio.create_task(engine.lifecycle.stop(container))
    await until(lambda: sent(world))
    world.supervisor.end(container.id)
    await stopping
    assert sent(world) == [signal.SIGTERM]


async def test_one_that_ends_by_itself_meanwhile_has_been_stopped(engine, world):
    container = await started(engine)
    world.supervisor.fail("signal", ConflictError("task is exited: signal is not possible"))
    stopping = asyncio.create_task(engine.lifecycle.stop(container))
    await until(lambda: sent(world))
    world.supervisor.end(container.id)
    await stopping
    assert not container.running
