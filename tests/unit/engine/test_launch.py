"""What is made ahead for containers, with a supervisor and groups that are only noted."""

import asyncio
import contextlib

import pytest

from cgagent.engine.launch import Launcher
from cgagent.errors import NotFoundError

NAMESPACES = [{"type": "pid"}]


class Group:
    def __init__(self, path, events):
        self.path = path
        self._events = events

    def note(self, what):
        self._events.append((what, self.path.rpartition("/")[2]))

    def create(self):
        self.note("group made")

    def kill(self):
        self.note("group killed")

    def remove(self):
        self.note("group removed")

    def restrict_devices(self, _rules): ...
    def unified_dir(self):
        return None

    def join_files(self):
        return ()


class World:
    """Host, supervisor and watch in one."""

    def __init__(self):
        self.events = []
        self.answers = {}

    def group(self, path):
        return Group(path, self.events)

    async def request(self, op, *, key, **_):
        self.events.append((op, key))
        if op in self.answers:
            await self.answers[op]()
        return {}

    def prepare(self, _group): ...
    def forget(self, _group): ...


@pytest.fixture
def world():
    return World()


@pytest.fixture
def launcher(world, tmp_path):
    directories = {"containers_dir": tmp_path / "containers", "stage_dir": tmp_path / "stage"}
    return Launcher(world, world, world, "/cgagent", **directories, release_root=str)


def test_a_start_waits_until_what_there_was_has_gone(world, launcher):
    """Else it would be killed together with that, being of the same id."""

    async def scenario():
        await launcher.prepare("one", NAMESPACES)
        forgetting, may_go = asyncio.Event(), asyncio.Event()

        async def forget():
            forgetting.set()
            await may_go.wait()

        world.answers["forget"] = forget
        discarding = asyncio.create_task(launcher.discard("one"))
        await forgetting.wait()
        starting = asyncio.create_task(launcher.prepare("one", NAMESPACES))
        await asyncio.sleep(0.05)
        may_go.set()
        await discarding
        await starting

    asyncio.run(scenario())
    assert world.events[-2:] == [("group made", "one"), ("create", "one")]
    assert world.events[-3] == ("group removed", "one")


def test_one_that_is_cancelled_while_it_is_made_is_forgotten(world, launcher):
    async def scenario():
        heard = asyncio.Event()

        async def create():
            heard.set()
            await asyncio.Event().wait()

        world.answers["create"] = create
        making = asyncio.create_task(launcher.prepare("one", NAMESPACES))
        await heard.wait()
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making

    asyncio.run(scenario())
    assert ("forget", "one") in world.events
    assert world.events[-1] == ("group removed", "one")
    assert not launcher.is_ready("one")


def test_what_failed_is_what_is_told(world, launcher):
    async def create():
        raise NotFoundError("no such thing")

    async def forget():
        raise NotFoundError("task one is not known")

    world.answers = {"create": create, "forget": forget}
    with pytest.raises(NotFoundError, match="no such thing"):
        asyncio.run(launcher.prepare("one", NAMESPACES))
