"""Health checks of containers whose commands are the test's."""

import signal

import pytest

from cgagent.engine.events import EventQuery
from cgagent.engine.sessions.streams import Streams
from cgagent.errors import CommandNotFoundError
from cgagent.images.image import HealthCheck
from tests.world.fakes.agent import over, started, until

pytestmark = pytest.mark.anyio

MS = 1_000_000
QUICK = HealthCheck(test=("CMD", "/check"), interval_ns=MS, timeout_ns=10_000 * MS, retries=2)
SHORT = HealthCheck(test=("CMD-SHELL", "check"), interval_ns=MS, timeout_ns=10_000 * MS, retries=1)


class Commands:
    """Each probe ends with the exit code that is next, the last one again and again."""

    def __init__(self, world, *codes, output=b""):
        self.codes, self.seen = list(codes), []
        self._world, self._output = world, output
        world.supervisor.on_start = self._started

    def _started(self, task):
        if "/probe-" not in task.key:
            return
        self.seen.append(task)
        code = self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]
        if code is not None:
            self._world.supervisor.end(task.key, code, output=self._output)


def health(container):
    return container.record.outcome.health


async def test_one_success_makes_it_healthy_and_failures_unhealthy(engine, world):
    commands = Commands(world, 0, 1, output=b"what it said")
    container = await started(engine, health=QUICK)
    assert health(container).status == "starting"
    await until(lambda: health(container).status == "healthy")
    await until(lambda: health(container).status == "unhealthy")
    assert health(container).failing_streak >= 2
    assert health(container).log[-1].output == "what it said"
    told = [e.action for e in engine.events.past(EventQuery()) if e.action.startswith("health")]
    assert told == ["health_status: healthy", "health_status: unhealthy"]
    assert commands.seen[0].started.own


async def test_output_beyond_what_is_kept_is_cut(engine, world):
    Commands(world, 0, output=b"x" * 5000)
    container = await started(engine, health=QUICK)
    await until(lambda: health(container).log)
    assert health(container).log[0].output == "x" * 4096 + "..."


async def test_one_that_takes_too_long_is_killed_with_its_group(engine, world, monkeypatch, leap):
    begin = Streams.probe

    async def begun(*of_one):
        key = await begin(*of_one)
        leap(10)
        return key

    monkeypatch.setattr(Streams, "probe", begun)
    commands = Commands(world, None)
    container = await started(engine, health=SHORT)
    await until(lambda: health(container).status == "unhealthy")
    assert "exceeded timeout (10s)" in health(container).log[0].output
    (kill, *_) = [a for a in world.supervisor.asked if a.op == "signal"]
    assert (kill.request.signal, kill.request.group) == (signal.SIGKILL, True)
    assert kill.key == commands.seen[0].key


async def test_one_that_cannot_run_has_failed(engine, world):
    container = await started(engine, health=QUICK)
    world.supervisor.fail("start", CommandNotFoundError("command /check: not found"), times=100)
    await until(lambda: health(container).status == "unhealthy")
    assert health(container).log[0].output == "command /check: not found"


async def test_a_frozen_container_is_left_alone(engine, world):
    commands = Commands(world, 0)
    container = await started(engine, health=QUICK)
    await until(lambda: commands.seen)
    await engine.control.freeze(container)
    seen = len(commands.seen)
    await over_intervals(container)
    assert len(commands.seen) <= seen + 1
    await engine.control.thaw(container)
    await until(lambda: len(commands.seen) > seen + 1)


async def over_intervals(container):
    ticks = iter(range(20))
    await until(lambda: next(ticks, 19) == 19)


async def test_it_ends_with_the_run(engine, world):
    commands = Commands(world, 0)
    container = await started(engine, health=QUICK)
    await until(lambda: health(container).status == "healthy")
    world.supervisor.end(container.id)
    await over(container)
    assert health(container).status == "unhealthy"
    assert not [key for key in world.supervisor.tasks if key.startswith(container.id)]
    seen = len(commands.seen)
    await over_intervals(container)
    assert len(commands.seen) == seen


async def test_the_next_agent_goes_on_with_it(world):
    Commands(world, 0)
    async with world.agent() as engine:
        container = await started(engine, health=QUICK)
        await until(lambda: health(container).status == "healthy")
    async with world.agent() as engine:
        found = engine.containers.get(container.id)
        assert health(found).status == "healthy"
        Commands(world, 1)
        await until(lambda: health(found).status == "unhealthy")
        assert health(found).log[-1].exit_code == 1
