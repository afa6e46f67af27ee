"""Processes of the host as containers: a real one, in groups that are not."""

import asyncio
import os
import subprocess
import threading

import pytest

from cgagent.cgroups import Limits, Membership
from cgagent.engine.events import EventQuery
from cgagent.engine.options.limits import Conveniences
from cgagent.errors import (
    ConflictError,
    DeniedError,
    InternalError,
    InvalidInputError,
    NotFoundError,
    UnsupportedError,
)
from tests.world.fakes.agent import over, started

pytestmark = pytest.mark.anyio

NOTHING = Conveniences()


@pytest.fixture
def child(world, monkeypatch):
    """A process that waits for its input to end."""
    monkeypatch.setattr("cgagent.engine.lifecycle.adopt._POLL_S", 0.001)
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    yield process
    process.stdin.close()
    process.wait()


@pytest.fixture
def zombie():
    """A process that has ended, and for which nobody has waited."""
    with subprocess.Popen(["/bin/true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield process


async def adopted(engine, child, name="one", **limits):
    return await engine.adoption.adopt(child.pid, name, Limits(**limits), NOTHING)


async def test_it_is_in_a_group_with_limits_until_it_is_released(engine, world, child):
    container = await adopted(engine, child, pids_max=9)
    path = container.record.cgroup_path
    assert container.running
    assert world.tree.held(path, "cgroup.procs") == str(child.pid)
    assert world.tree.held(path, "pids.max") == "9"
    assert container.record.resolved.args == ("/bin/cat",)
    await engine.control.freeze(container)
    await engine.control.thaw(container)
    await engine.adoption.release(container)
    assert container.removed
    assert path not in world.tree.groups()
    assert child.poll() is None
    actions = [event.action for event in engine.events.past(EventQuery())]
    assert actions[0] == "adopt"
    assert actions[-1] == "release"


async def test_its_end_is_noticed(engine, world, child):
    container = await adopted(engine, child)
    child.stdin.close()
    world.tree.leave(child.pid)
    await over(container)
    assert container.record.outcome.exit_code is None
    await engine.lifecycle.remove(container)
    assert world.left() == []


async def test_it_can_be_asked_to_end(engine, world, child):
    container = await adopted(engine, child)
    world.supervisor.ignored = {15}
    await engine.lifecycle.kill(container, "TERM")
    await asyncio.to_thread(child.wait)
    world.tree.leave(child.pid)
    await over(container)


async def test_what_is_not_possible_with_it(engine, child):
    container = await adopted(engine, child)
    with pytest.raises(UnsupportedError, match="was adopted, not started by cgagent: a restart"):
        await engine.lifecycle.restart(container)


async def test_it_is_in_one_group_at_a_time(engine, child, monkeypatch):
    container = await adopted(engine, child)
    there = Membership((engine.host.unified.mount + container.record.cgroup_path,))
    with monkeypatch.context() as patch:
        patch.setattr(Membership, "of", lambda *_: there)
        with pytest.raises(ConflictError, match="is in a container already"):
            await adopted(engine, child, "two")


async def test_one_that_was_started_here_cannot_be_released(engine):
    container = await started(engine, "one")
    with pytest.raises(InvalidInputError, match="one was started by cgagent; stop it instead"):
        await engine.adoption.release(container)


async def test_who_cannot_be_adopted(engine, child):
    with pytest.raises(NotFoundError, match="does not exist"):
        await engine.adoption.adopt(6_000_000, None, Limits(), NOTHING)
    for pid in (os.getpid(), os.getppid()):
        with pytest.raises(DeniedError, match="is the agent or one of its parents"):
            await engine.adoption.adopt(pid, None, Limits(), NOTHING)
    thread = threading.Thread(target=child.wait)
    thread.start()
    with pytest.raises(InvalidInputError, match=r"is a thread of process"):
        await engine.adoption.adopt(thread.native_id, None, Limits(), NOTHING)
    child.stdin.close()
    thread.join()


async def test_nor_can_one_whose_parent_has_not_noted_its_end(engine, zombie):
    with pytest.raises(ConflictError, match="zombie"):
        await engine.adoption.adopt(zombie.pid, None, Limits(), NOTHING)


async def test_a_limit_that_is_refused_leaves_it_alone(engine, world, child):
    world.tree.refuse("pids.max")
    with pytest.raises(InvalidInputError):
        await adopted(engine, child, pids_max=9)
    assert world.left() == []


async def test_one_that_cannot_be_moved_is_where_it_was(engine, world, child, monkeypatch):
    def fail(*_):
        raise InternalError("cgroup: it cannot be joined")

    with monkeypatch.context() as patch:
        patch.setattr("cgagent.cgroups.group.Group.join", fail)
        with pytest.raises(InternalError, match="joined"):
            await adopted(engine, child)
    assert list(engine.containers) == []
    assert world.left() == []


async def test_the_next_agent_goes_on_with_it(world, child):
    async with world.agent() as engine:
        container = await adopted(engine, child)
    async with world.agent() as engine:
        found = engine.containers.get(container.id)
        assert found.running
        child.stdin.close()
        world.tree.leave(child.pid)
        await over(found)


async def test_an_adoption_that_was_cut_short_is_undone(world, child):
    async with world.agent() as engine:
        container = await adopted(engine, child)
        engine.containers.save(container, container.with_outcome(status="created"))
    async with world.agent() as engine:
        assert engine.containers.get(container.id) is None
    assert child.poll() is None
    assert world.left() == []
