"""What is checked before and after files are copied; the helper that copies needs root."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cgagent import bare
from cgagent.engine.options.mounts import Mount
from cgagent.engine.sessions.streams import Attachment
from cgagent.errors import ConflictError, InternalError, InvalidInputError, NotFoundError
from tests.world.fakes.agent import request, started

pytestmark = pytest.mark.anyio

STAT = {
    "name": "a",
    "path": "/a",
    "mode": 33188,
    "size_bytes": 5,
    "mtime_ns": 1,
    "link_target": None,
}
PROGRAM = """
import json, sys
request = json.loads(sys.argv[1])
got = sys.stdin.buffer.read() if request["op"] == "write" else b""
answer = json.loads({answer!r})
with open({seen!r}, "w") as seen:
    json.dump([request, got.decode()], seen)
if answer is not None:
    print(json.dumps(answer), flush=True)
print({more!r}, end="")
sys.exit({status})
"""


@pytest.fixture
def helper(monkeypatch, tmp_path):
    seen = tmp_path / "seen"

    class Helper:
        @staticmethod
        def says(answer, more="", status=0):
            program = PROGRAM.format(
                answer=json.dumps(answer), more=more, status=status, seen=str(seen)
            )
            monkeypatch.setattr(
                bare, "command", lambda _, request: [sys.executable, "-c", program, request]
            )

        @staticmethod
        def was_told():
            return json.loads(seen.read_text())

    return Helper


async def chunks(*data):
    for chunk in data:
        yield chunk


async def test_what_is_at_a_path(engine, helper):
    bound = Mount(type="bind", source="/tmp", destination="/there/deep")
    container = await engine.lifecycle.create(request(read_only=True, mounts=(bound,)))
    helper.says(STAT)
    stat = await engine.copying.stat(container, "a", follow=True)
    assert (stat.name, stat.size_bytes) == ("a", 5)
    told, _ = helper.was_told()
    assert (told["path"], told["enter"], told["follow"]) == ("/a", "stopped", True)
    assert told["place"]["read_only"] is True
    assert "/there/deep" in [m["destination"] for m in told["place"]["mounts"]]
    assert told["place"]["rootfs"][0]["type"] == "overlay"


async def test_what_is_not_there(engine, helper):
    container = await engine.lifecycle.create(request())
    helper.says({"error": {"kind": "not_found", "message": "/a: there is no such file"}})
    with pytest.raises(NotFoundError, match="/a: there is no such file"):
        await engine.copying.read(container, "/a")
    assert not container.lock.locked()


async def test_a_stream_out_of_it(engine, helper):
    container = await engine.lifecycle.create(request())
    helper.says(STAT, more="content")
    reading = await engine.copying.read(container, "/some/a/")
    assert container.lock.locked()
    assert b"".join([chunk async for chunk in reading.chunks()]) == b"content"
    await reading.close()
    assert not container.lock.locked()
    assert helper.was_told()[0]["name"] == "a"


async def test_a_stream_that_is_cut_off(engine, helper):
    container = await engine.lifecycle.create(request())
    helper.says(STAT, more="cont", status=1)
    reading = await engine.copying.read(container, "/")
    with pytest.raises(InternalError, match="was cut off"):
        assert [chunk async for chunk in reading.chunks()]
    await reading.close()
    helper.says(None, status=3)
    with pytest.raises(InternalError, match="died with status 3"):
        await engine.copying.read(container, "/")


async def test_a_stream_into_it(engine, helper):
    container = await engine.lifecycle.create(request())
    helper.says({})
    await engine.copying.write(container, "/data", chunks(b"one", b"two"), keep_owner=True)
    told, got = helper.was_told()
    assert got == "onetwo"
    assert (told["keep_owner"], told["replace"]) == (True, False)


@pytest.mark.parametrize("path", ["", "a\0b"])
async def test_a_path_that_names_nothing(engine, path):
    container = await engine.lifecycle.create(request())
    with pytest.raises(InvalidInputError, match="names nothing"):
        await engine.copying.stat(container, path, follow=False)


async def test_one_that_was_removed(engine):
    container = await engine.lifecycle.create(request("one"))
    await engine.lifecycle.remove(container)
    with pytest.raises(NotFoundError, match="one has been removed"):
        await engine.copying.stat(container, "/a", follow=False)


@pytest.fixture
def process():
    """A real one, which stands for a container's first."""
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as child:
        yield child.pid


async def test_one_that_has_just_ended(engine, process):
    """Its process is nobody's by now, or somebody else's."""
    container = await started(engine, "one")
    for pid in (container.record.outcome.pid, process):
        engine.containers.save(container, container.with_outcome(pid=pid))
        with pytest.raises(ConflictError, match="one has just ended; try again"):
            await engine.copying.stat(container, "/a", follow=False)


async def test_one_that_runs_is_entered(engine, world, helper, process):
    container = await started(engine, "one")
    world.tree.make(container.record.cgroup_path, process)
    engine.containers.save(container, container.with_outcome(pid=process))
    helper.says(STAT)
    await engine.copying.stat(container, "/a", follow=False)
    told, _ = helper.was_told()
    assert told["enter"] == "running"
    assert set(told["place"]) == {"root_fd", "mounts_fd"}
    assert not container.lock.locked()
    world.tree.leave(process)


async def test_a_client_that_waits_would_lose_its_process(ready_engine):
    container = await ready_engine.lifecycle.create(request("one"))
    ours, theirs = socket.socketpair()

    async def take():
        return Attachment(fd=theirs.detach())

    await ready_engine.streams.attach(container, take)
    with pytest.raises(ConflictError, match="a client is attached to container one"):
        await ready_engine.copying.stat(container, "/a", follow=False)
    ours.close()


async def test_what_was_set_up_ahead_is_undone_for_a_copy(ready_engine, world, helper):
    container = await ready_engine.lifecycle.create(request("one"))
    helper.says(STAT)
    await ready_engine.copying.stat(container, "/a", follow=False)
    assert container.id not in world.supervisor.tasks
    await ready_engine.lifecycle.start(container)
    assert container.running


async def test_what_it_has_changed(engine):
    container = await engine.lifecycle.create(request())
    (Path(container.record.rootfs.upper) / "new").write_text("x")
    (change,) = await engine.copying.changes(container)
    assert change.path == "/new"
