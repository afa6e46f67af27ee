"""What is made ahead for containers, with a supervisor and groups that are only noted."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import ClassVar

import pytest

from cgagent.engine.lifecycle.parents import Parents
from cgagent.engine.lifecycle.placement import Placement
from cgagent.engine.lifecycle.pool import (
    POOL_SIZE,
    Configured,
    Pool,
    PrewarmedRoot,
    PrewarmRequest,
    State,
)
from cgagent.errors import InternalError, NotFoundError
from cgagent.runtime.messages.agent import Pid
from cgagent.runtime.messages.jobs import ContainerJob, Streams
from tests.world.fakes.agent import until

NAMESPACES = [{"type": "pid"}]
JOB = ContainerJob(bundle="/b", root="/r", rootfs=(), seccomp=None, filter_is_usual=True)


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

    def apply(self, _limits, *, new): ...
    def restrict_devices(self, _rules): ...
    def unified_dir(self):
        return None

    def join_files(self):
        return ()


class Places:
    """Networks, in which nobody has a place before it is asked for."""

    def __init__(self, world):
        self._world = world
        self.ahead = set()

    def reserve_ahead(self, container_id, network_id):
        self.ahead.add(container_id)
        self._world.events.append(("reserved", container_id, network_id))

    async def attach(self, container_id, _pid):
        self._world.events.append(("attached", container_id))

    def is_ahead(self, container_id):
        return container_id in self.ahead

    def detach(self, _container_id): ...

    def forget(self, container_id):
        self.ahead.discard(container_id)


class World:
    """Host, supervisor and watch in one."""

    placements: ClassVar = {}
    unified = None

    def __init__(self):
        self.events = []
        self.answers = {}

    def group(self, path):
        return Group(path, self.events)

    def request(self, request, **_):
        op = type(request).__name__.lower()
        self.events.append((op, request.key))
        return self._answer(op)

    async def _answer(self, op):
        if op in self.answers:
            await self.answers[op]()
        return Pid(pid=1)

    def hold_up(self, op):
        """Two events: somebody has asked for it; it may go on."""
        asked, may_go = asyncio.Event(), asyncio.Event()

        async def answer():
            asked.set()
            await may_go.wait()

        self.answers[op] = answer
        return asked, may_go

    def prepare(self, _group): ...
    def forget(self, _group): ...


@pytest.fixture
def world():
    return World()


@pytest.fixture
def pool(world, tmp_path):
    directories = {"containers_dir": tmp_path / "containers", "stage_dir": tmp_path / "stage"}
    parents = Parents(world, {}, "/cgagent", tmp_path / "parents.json")
    placement = Placement(world, parents)
    return Pool(placement, world, world, **directories, release_root=str, places=Places(world))


def test_a_start_waits_until_what_there_was_has_gone(world, pool):
    """Else it would be killed together with that, being of the same id."""

    async def scenario():
        await pool.make_ready("one", NAMESPACES)
        forgetting, may_go = world.hold_up("forget")
        discarding = asyncio.create_task(pool.discard("one"))
        await forgetting.wait()
        starting = asyncio.create_task(pool.make_ready("one", NAMESPACES))
        await asyncio.sleep(0.05)
        may_go.set()
        await discarding
        await starting

    asyncio.run(scenario())
    assert world.events[-2:] == [("group made", "one"), ("create", "one")]
    assert world.events[-3] == ("group removed", "one")


def test_one_that_is_cancelled_while_it_is_made_is_forgotten(world, pool):
    async def scenario():
        heard, _ = world.hold_up("create")
        making = asyncio.create_task(pool.make_ready("one", NAMESPACES))
        await heard.wait()
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making

    asyncio.run(scenario())
    assert ("forget", "one") in world.events
    assert world.events[-1] == ("group removed", "one")
    assert not pool.is_ready("one")


def test_what_failed_is_what_is_told(world, pool):
    async def create():
        raise NotFoundError("no such thing")

    async def forget():
        raise NotFoundError("task one is not known")

    world.answers = {"create": create, "forget": forget}
    with pytest.raises(NotFoundError, match="no such thing"):
        asyncio.run(pool.make_ready("one", NAMESPACES))


def prewarmed(reuse_key):
    record = SimpleNamespace(rootfs="files", group_limits=None)
    rooted = PrewarmedRoot(record=record, config={"process": {}}, job=JOB)
    return PrewarmRequest(reuse_key=reuse_key, network="", make=lambda _: rooted)


async def make_roots(pool, *likenesses):
    for reuse_key in likenesses:
        pool.refill(prewarmed(reuse_key))
    await until(lambda: len(pool._in(State.PREWARMED)) == len(likenesses))


def test_one_that_is_taken_while_images_are_let_go_of_is_left_alone(world, pool):
    async def scenario():
        await make_roots(pool, "a", "b")
        forgetting, may_go = world.hold_up("forget")
        letting_go = asyncio.create_task(pool.discard_prewarmed())
        await forgetting.wait()
        taken = await pool.reserve("b")
        may_go.set()
        await letting_go
        ended = [key for what, key in world.events if what == "forget"]
        assert len(ended) == 1
        assert taken not in ended
        assert pool.take_root(taken) == "files"
        await pool.close()

    asyncio.run(scenario())


def test_a_container_that_comes_to_nothing_leaves_no_place_that_was_made_ahead(world, pool):
    async def scenario():
        pool.expect("net")
        pool.refill()
        await until(lambda: len(pool._places.ahead) == POOL_SIZE)
        taken = await pool.reserve("a", "net")
        assert taken in pool._places.ahead
        await pool.discard(taken)
        assert taken not in pool._places.ahead
        await pool.close()

    asyncio.run(scenario())


def test_the_pool_is_full_again_when_the_supervisor_was_replaced_while_it_was_filled(world, pool):
    async def scenario():
        asked, _ = world.hold_up("create")
        pool.refill()
        await asked.wait()
        del world.answers["create"]
        lost = pool.forget_all()
        await pool.clean_up(lost)
        pool.refill()
        await until(lambda: len(pool._in(State.SPAWNED)) == POOL_SIZE)
        await pool.close()

    asyncio.run(scenario())


def test_a_cancelled_end_goes_on_to_its_end(world, pool):
    async def scenario():
        await pool.make_ready("one", NAMESPACES)
        forgetting, may_go = world.hold_up("forget")
        discarding = asyncio.create_task(pool.discard("one"))
        await forgetting.wait()
        discarding.cancel()
        await asyncio.sleep(0)
        may_go.set()
        with contextlib.suppress(asyncio.CancelledError):
            await discarding

    asyncio.run(scenario())
    assert world.events[-1] == ("group removed", "one")


async def set_up(world, pool, *, attached):
    """A container whose zygote fails while it is set up."""

    async def prepare():
        raise InternalError("it cannot be mounted")

    world.answers["prepare"] = prepare
    await pool.make_ready("one", NAMESPACES)
    if not attached:
        pool._slots["one"].state = State.RESERVED
    pool.prepare("one", Configured(resolved=None, config={}, job=JOB), Streams())
    assert world.events[-1] == ("prepare", "one"), "it is asked before anybody waits"
    await asyncio.sleep(0.05)
    await until(lambda: attached or world.events[-1] == ("group removed", "one"))


def test_one_that_cannot_be_set_up_is_discarded(world, pool):
    asyncio.run(set_up(world, pool, attached=False))
    assert world.events[-1] == ("group removed", "one")
    assert not pool.is_ready("one")


def test_one_that_is_being_started_meanwhile_is_left_to_its_start(world, pool):
    asyncio.run(set_up(world, pool, attached=True))
    assert world.events[-1] == ("prepare", "one")
    assert pool.is_ready("one")
