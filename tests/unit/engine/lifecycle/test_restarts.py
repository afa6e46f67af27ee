"""Restart policies, with delays that a test does not wait for."""

import time

import pytest

from cgagent.cgroups import Limits
from cgagent.engine.options import restart
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.restart import ALWAYS, ON_FAILURE, UNLESS_STOPPED, RestartPolicy
from cgagent.errors import ConflictError, InternalError, InvalidInputError
from tests.world.fakes.agent import over, request, started, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(restart, "FIRST_DELAY_NS", 1)
    monkeypatch.setattr(restart, "LONGEST_DELAY_NS", 1)


@pytest.fixture
def never(monkeypatch):
    monkeypatch.setattr(restart, "FIRST_DELAY_NS", 10**15)
    monkeypatch.setattr(restart, "LONGEST_DELAY_NS", 10**15)


async def ends_and_runs_again(world, container, exit_code=1):
    pid = container.record.outcome.pid
    world.supervisor.end(container.id, exit_code)
    await until(lambda: container.running and container.record.outcome.pid != pid)


@pytest.mark.usefixtures("at_once")
async def test_it_is_started_again_as_often_as_it_may(engine, world):
    container = await started(engine, restart=RestartPolicy(ON_FAILURE, 2))
    await ends_and_runs_again(world, container)
    await ends_and_runs_again(world, container)
    assert container.record.restart.count == 2
    world.supervisor.end(container.id, 1)
    await over(container)
    assert container.record.outcome.status == "exited"


@pytest.mark.usefixtures("at_once")
async def test_success_is_no_failure(engine, world):
    container = await started(engine, restart=RestartPolicy(ON_FAILURE))
    world.supervisor.end(container.id, 0)
    await over(container)
    assert container.record.outcome.status == "exited"


@pytest.mark.usefixtures("at_once")
async def test_one_that_was_stopped_stays_so(engine, world):
    container = await started(engine, restart=RestartPolicy(ALWAYS))
    await engine.lifecycle.stop(container)
    await over(container)
    assert container.record.outcome.status == "exited"
    assert container.record.restart.held


@pytest.mark.usefixtures("never")
async def test_one_that_waits_for_its_start_is_up_and_can_be_stopped(engine, world):
    container = await started(engine, "one", restart=RestartPolicy(ALWAYS))
    before = time.time_ns()
    world.supervisor.end(container.id, 1)
    await over(container)
    assert container.restarting
    assert container.record.restart.due_ns >= before + 10**15
    with pytest.raises(ConflictError, match="is restarting"):
        await engine.lifecycle.remove(container)
    await engine.lifecycle.stop(container)
    assert container.record.outcome.status == "exited"


@pytest.mark.usefixtures("never")
async def test_it_can_be_removed_killed_and_started_meanwhile(engine, world):
    one, two, three = [await started(engine, restart=RestartPolicy(ALWAYS)) for _ in range(3)]
    for container in (one, two, three):
        world.supervisor.end(container.id, 1)
        await over(container)
    await engine.lifecycle.remove(one, force=True)
    assert one.removed
    await engine.lifecycle.kill(two, "KILL")
    assert two.record.outcome.status == "exited"
    await engine.lifecycle.start(three)
    assert three.record.outcome.status == "restarting"


@pytest.mark.usefixtures("at_once")
async def test_a_start_that_fails_is_the_end_of_a_run(engine, world):
    container = await started(engine, restart=RestartPolicy(ON_FAILURE, 3))
    world.supervisor.fail("start", InternalError("step mount: it failed"), times=2)
    await ends_and_runs_again(world, container)
    assert container.record.restart.count == 3
    assert container.record.outcome.error is None


@pytest.mark.usefixtures("never")
async def test_without_its_policy_it_waits_no_more(engine, world):
    container = await started(engine, restart=RestartPolicy(ALWAYS))
    world.supervisor.end(container.id, 1)
    await over(container)
    await engine.control.update(container, Limits(), Conveniences(), RestartPolicy())
    assert container.record.outcome.status == "exited"
    assert container.record.restart.due_ns is None


async def test_a_policy_that_cannot_be(engine):
    container = await engine.lifecycle.create(request(auto_remove=True))
    for policy, error in (
        (RestartPolicy("often"), InvalidInputError),
        (RestartPolicy(ALWAYS), ConflictError),
    ):
        with pytest.raises(error):
            await engine.control.update(container, Limits(), Conveniences(), policy)


async def test_what_is_due_or_starts_with_the_agent_is_started_by_the_next_one(world, monkeypatch):
    monkeypatch.setattr(restart, "FIRST_DELAY_NS", 10**15)
    async with world.agent() as engine:
        policies = [RestartPolicy(ALWAYS), RestartPolicy(UNLESS_STOPPED), RestartPolicy(ON_FAILURE)]
        ids = [(await started(engine, restart=policy)).id for policy in policies]
        for container in list(engine.containers):
            await engine.lifecycle.stop(container)
            await over(container)
    async with world.agent() as engine:
        always, unless_stopped, on_failure = map(engine.containers.get, ids)
        await until(lambda: always.running)
        assert unless_stopped.record.outcome.status == "exited"
        assert on_failure.record.outcome.status == "exited"
        world.supervisor.end(always.id, 1)
        await over(always)
        assert always.restarting
    async with world.agent() as engine:
        assert engine.containers.get(ids[0]).restarting
