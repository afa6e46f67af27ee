"""Clients of containers and of commands in them: in which order things are asked for."""

import asyncio
import json
import socket

import pytest

from cgagent.engine.events import EventQuery
from cgagent.engine.sessions import streams
from cgagent.engine.sessions.streams import Attachment
from cgagent.errors import (
    CommandNotFoundError,
    ConflictError,
    InternalError,
    InvalidInputError,
    NotFoundError,
)
from cgagent.runtime.protocol import STATUS, STDOUT
from cgagent.runtime.spec import Process
from cgagent.runtime.supervisor.attached import read_frame
from tests.world.fakes.agent import over, request, started, until

pytestmark = pytest.mark.anyio


class Client:
    """Both ends of its connection; `take` gives the agent's away."""

    def __init__(self, **how):
        self.ours, self._theirs = socket.socketpair()
        self.ours.setblocking(False)
        self._how = how

    async def take(self, *_):
        return Attachment(fd=self._theirs.detach(), **self._how)

    async def heard(self):
        """Until the end of the connection: the frames."""
        data, loop = b"", asyncio.get_running_loop()
        while more := await loop.sock_recv(self.ours, 65536):
            data += more
        frames = []
        while found := read_frame(data):
            stream, payload, data = found
            frames.append((stream, json.loads(payload) if stream == STATUS else payload))
        return frames

    def close(self):
        self.ours.close()
        self._theirs.close()


@pytest.fixture
def client():
    made = Client()
    yield made
    made.close()


def command(*args, **more):
    return Process(args=args, **more)


async def test_a_client_is_attached_before_the_start(engine, world, client):
    container = await engine.lifecycle.create(request())
    await engine.streams.attach(container, client.take)
    assert world.supervisor.ops(container.id) == ["create", "attach"]
    await engine.lifecycle.start(container)
    world.supervisor.end(container.id, 3, output=b"hello")
    (out, status) = await client.heard()
    assert out == (STDOUT, b"hello")
    assert status[1]["exit_code"] == 3
    assert world.supervisor.ops(container.id).count("create") == 1


async def test_it_waits_for_the_next_zygote_when_the_first_one_is_killed(engine, world, client):
    container = await engine.lifecycle.create(request())
    await engine.streams.attach(container, client.take)
    world.supervisor.killed_zygotes = 1
    await engine.lifecycle.start(container)
    world.supervisor.end(container.id, 4)
    assert (await client.heard())[-1][1]["exit_code"] == 4


async def test_it_is_told_why_a_start_failed(engine, world, client):
    container = await engine.lifecycle.create(request())
    await engine.streams.attach(container, client.take)
    world.supervisor.fail("start", CommandNotFoundError("command /x: not found"))
    with pytest.raises(CommandNotFoundError):
        await engine.lifecycle.start(container)
    ((_, status),) = await client.heard()
    assert status["error"]["kind"] == "command_not_found"


async def test_and_that_its_container_was_removed(engine, client):
    container = await engine.lifecycle.create(request("one"))
    await engine.streams.attach(container, client.take)
    await engine.lifecycle.remove(container)
    ((_, status),) = await client.heard()
    assert "one was removed before it was started" in status["error"]["message"]


async def test_what_it_had_sent_before_goes_along(engine, world):
    client = Client(tail=b"input")
    container = await started(engine, stdin=True)
    await engine.streams.attach(container, client.take)
    (asked,) = [a for a in world.supervisor.asked if a.op == "attach"]
    assert len(asked.fds) == 2
    client.close()


async def test_one_that_cannot_be_attached_is_told(engine, world, client):
    container = await started(engine)
    world.supervisor.fail("attach", ConflictError("too many clients"))
    with pytest.raises(ConflictError, match="too many"):
        await engine.streams.attach(container, client.take)
    ((_, status),) = await client.heard()
    assert status["error"]["message"] == "too many clients"


async def test_a_run_is_creation_attaching_and_start(engine, world, client):
    running = asyncio.create_task(engine.streams.run(request("one"), client.take))
    await running
    container = engine.containers.find("one")
    assert world.supervisor.ops(container.id) == ["create", "attach", "start"]
    assert container.running
    world.supervisor.end(container.id, 0)
    assert (await client.heard())[-1][1]["exit_code"] == 0


async def test_a_run_without_a_client_is_none(engine, world):
    async def take(_):
        raise InternalError("the client is gone")

    with pytest.raises(InternalError, match="client is gone"):
        await engine.streams.run(request(), take)
    assert world.left() == []


async def test_a_run_whose_client_cannot_be_attached_is_ended(engine, world, client):
    world.supervisor.fail("attach", ConflictError("too many clients"))
    with pytest.raises(ConflictError):
        await engine.streams.run(request(), client.take)
    assert world.left() == []


async def test_a_run_that_cannot_start(engine, world, client):
    world.supervisor.fail("start", CommandNotFoundError("command /x: not found"))
    with pytest.raises(CommandNotFoundError):
        await engine.streams.run(request("one"), client.take)
    assert engine.containers.find("one").record.outcome.exit_code == 127


async def test_one_that_stays_sees_that_all_is_done(engine, world):
    client = Client(stay=True)
    await engine.streams.run(request("one", auto_remove=True), client.take)
    world.supervisor.end(engine.containers.find("one").id, 0)
    await client.heard()
    assert list(engine.containers) == []
    client.close()


async def test_a_client_that_did_not_read_is_told_of(engine, world):
    container = await started(engine)
    world.supervisor.cut_off(f"{container.id}/0123")
    await until(lambda: engine.monitor.clients_cut_off)
    assert engine.events.past(EventQuery())[-1].action == "client_cut_off"


# -- commands -------------------------------------------------------------------------------


async def ran(engine, container, process, take, **how):
    run = engine.streams.create_exec(container, process, **how)
    await engine.streams.start_exec(run, take)
    return run


async def test_a_command_has_a_task_of_its_own(engine, world, client):
    container = await started(engine)
    run = await ran(engine, container, command("ls", "-l"), client.take)
    key = f"{container.id}/{run.id}"
    assert world.supervisor.ops(key) == ["create", "attach", "start"]
    assert world.supervisor.tasks[key].started.job.pid == container.record.outcome.pid
    assert run.running
    assert run.pid == world.supervisor.tasks[key].pid
    assert not list(engine.lifecycle.bundle(container.id).path.glob("exec-*"))
    world.supervisor.end(key, 2, output=b"file")
    assert [frame[0] for frame in await client.heard()] == [STDOUT, STATUS]
    await until(lambda: not run.running)
    assert run.exit_code == 2
    await until(lambda: key not in world.supervisor.tasks)
    assert engine.streams.find(run.id) is run
    actions = [e.action for e in engine.events.past(EventQuery())]
    assert actions[-3:] == ["exec_create: ls -l", "exec_start: ls -l", "exec_die"]
    with pytest.raises(NotFoundError, match="'0' is not known"):
        engine.streams.find("0")


async def test_a_command_runs_once(engine):
    container = await started(engine)
    run = engine.streams.create_exec(container, command("ls"))
    assert run.status == "created"
    await engine.streams.start_exec(run, None)
    with pytest.raises(ConflictError, match="was started before; create another one"):
        await engine.streams.start_exec(run, None)


async def test_a_command_needs_a_container_that_runs(engine, world):
    container = await engine.lifecycle.create(request("one"))
    with pytest.raises(ConflictError, match="one is not running"):
        await ran(engine, container, command("ls"), None)
    await engine.lifecycle.start(container)
    await engine.control.freeze(container)
    with pytest.raises(ConflictError, match="one is frozen; thaw it first"):
        await ran(engine, container, command("ls"), None)
    await engine.control.thaw(container)
    with pytest.raises(InvalidInputError):
        await ran(engine, container, command("ls", cwd="relative"), None)
    run = await ran(engine, container, command("ls"), None, privileged=True)
    assert world.supervisor.ops(f"{container.id}/{run.id}") == ["create", "start"]


@pytest.mark.parametrize("op", ["create", "attach", "start"])
async def test_a_step_that_fails_leaves_no_task(engine, world, client, op):
    container = await started(engine)
    world.supervisor.fail(op, CommandNotFoundError("command /x: not found"))
    with pytest.raises(CommandNotFoundError):
        await ran(engine, container, command("x"), client.take)
    assert list(world.supervisor.tasks) == [container.id]
    assert not list(engine.lifecycle.bundle(container.id).path.glob("exec-*"))


async def test_a_command_beside_the_end_of_its_container(engine, world, client):
    container = await started(engine, "one")
    hold = world.supervisor.hold("start")
    running = asyncio.create_task(ran(engine, container, command("x"), client.take))
    await hold.asked.wait()
    world.supervisor.fail("start", InternalError("setns: it failed"))
    hold.release()
    world.supervisor.end(container.id)
    with pytest.raises(ConflictError, match="one ended before the command could run in it"):
        await running
    await over(container)


async def test_commands_that_have_ended_are_not_kept_for_ever(engine, world, monkeypatch):
    monkeypatch.setattr(streams, "_KEPT_EXECS", 2)
    container = await started(engine)
    runs = []
    for _ in range(4):
        runs.append(await ran(engine, container, command("ls"), None))
        world.supervisor.end(f"{container.id}/{runs[-1].id}", 0)
        await until(lambda: not runs[-1].running)
    with pytest.raises(NotFoundError):
        engine.streams.find(runs[0].id)
    assert engine.streams.find(runs[-1].id) is runs[-1]


async def test_terminals_are_resized(engine, world):
    plain = await started(engine, "plain")
    with pytest.raises(ConflictError, match="plain has no terminal"):
        await engine.streams.resize(plain, 24, 80)
    container = await started(engine, tty=True)
    await engine.streams.resize(container, 24, 80)
    run = await ran(engine, container, command("sh", terminal=True), None)
    await engine.streams.resize_exec(run, 25, 81)
    asked = [a.request for a in world.supervisor.asked if a.op == "resize"]
    assert [(a.rows, a.columns) for a in asked] == [(24, 80), (25, 81)]
    world.supervisor.end(f"{container.id}/{run.id}")
    await until(lambda: not run.running)
    with pytest.raises(ConflictError, match="has no terminal, or has ended"):
        await engine.streams.resize_exec(run, 25, 81)
