"""Hibernation that is not to be, or ends while it begins: nobody is left asleep by it."""

import asyncio
import errno
import signal
import threading

import pytest

from cgagent.engine.events import EventQuery
from cgagent.engine.lifecycle import control, hibernation
from cgagent.engine.lifecycle.hibernation import IDLE
from cgagent.errors import ConflictError
from tests.world.fakes.agent import started, until

pytestmark = pytest.mark.anyio


def freezing(world, container):
    return world.tree.held(container.record.cgroup_path, "cgroup.freeze") == "1"


def is_awake(world, container):
    return not (container.sleeps or container.frozen or freezing(world, container))


async def test_two_at_once(engine, world):
    container = await started(engine)
    world.tree.never_freezes = True
    first = asyncio.create_task(engine.hibernation.hibernate(container))
    await until(lambda: freezing(world, container))
    with pytest.raises(ConflictError, match="is being put to sleep already"):
        await engine.hibernation.hibernate(container)
    assert container.sleeps
    await engine.control.thaw(container)
    with pytest.raises(ConflictError, match="was not frozen"):
        await first
    assert is_awake(world, container)


async def test_cancelled_before_it_is_known_whether_something_waits(engine, world, monkeypatch):
    container = await started(engine)
    looked = asyncio.Event()
    monkeypatch.setattr(hibernation, "_pending", lambda _: loop.call_soon_threadsafe(looked.set))
    loop = asyncio.get_running_loop()
    going = asyncio.create_task(engine.hibernation.hibernate(container))
    await looked.wait()
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert is_awake(world, container)


async def test_a_command_that_begins_meanwhile_keeps_it_awake(engine, world, monkeypatch):
    container = await started(engine)
    inside = ["before"]
    monkeypatch.setattr(engine.hibernation, "_commands", lambda _: list(inside))
    with pytest.raises(ConflictError, match="a command was begun in it"):
        await engine.hibernation.hibernate(container, IDLE)
    world.tree.never_freezes = True
    going = asyncio.create_task(engine.hibernation.hibernate(container))
    await until(lambda: freezing(world, container))
    inside.append("meanwhile")
    world.tree.say(container.record.cgroup_path, "cgroup.events", "populated 1\nfrozen 1\n")
    with pytest.raises(ConflictError, match="a command was begun in it"):
        await going
    assert is_awake(world, container)


async def test_a_thaw_that_comes_when_the_last_task_just_stands(engine, world, monkeypatch):
    container = await started(engine)
    standing, thawed = threading.Event(), threading.Event()
    plain = control._freeze

    def freeze(group, timeout_s):
        found = plain(group, timeout_s)
        standing.set()
        thawed.wait(10)
        return found

    monkeypatch.setattr(control, "_freeze", freeze)
    going = asyncio.create_task(engine.control.freeze(container, lease_s=60))
    await until(standing.is_set)
    thawing = asyncio.create_task(engine.control.thaw(container))
    await until(lambda: not freezing(world, container))
    thawed.set()
    await going
    await thawing
    assert is_awake(world, container)
    assert container.record.outcome.thaw_at_ns is None
    assert [event.action for event in engine.events.past(EventQuery())][-2:] == ["pause", "unpause"]


async def test_who_makes_an_image_of_one_that_sleeps_pauses_it(engine, world):
    container = await started(engine)
    await engine.hibernation.hibernate(container)
    async with engine.commits._standing_still(container, pause=True):
        assert freezing(world, container)
        assert not container.sleeps
        await engine.hibernation.wake(container, "packet")
        assert container.frozen
    assert is_awake(world, container)


async def test_a_signal_wakes_it(engine, world):
    container = await started(engine)
    world.supervisor.ignored.add(signal.SIGUSR1)
    await engine.hibernation.hibernate(container)
    await engine.lifecycle.kill(container, "USR1")
    await until(lambda: is_awake(world, container))
    told = list(engine.events.past(EventQuery()))[-1]
    assert (told.action, told.attributes["by"]) == ("wake", "kill")


async def test_where_memory_cannot_be_taken_back_it_sleeps_with_all_of_it(engine, world):
    container = await started(engine)
    world.tree.say(container.record.cgroup_path, "memory.current", str(32 << 20))
    world.tree.refuse("memory.reclaim", errno.EACCES)
    sleep = await engine.hibernation.hibernate(container)
    assert sleep.memory_after_bytes == 32 << 20
    assert container.sleeps
    assert list(engine.events.past(EventQuery()))[-1].action == "hibernate"
