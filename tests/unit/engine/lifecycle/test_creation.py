"""A container is made whole or not at all."""

import asyncio
import os
import shutil

import pytest

from cgagent.cgroups import Limits
from cgagent.engine.events import EventQuery
from cgagent.engine.lifecycle import creation
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.mounts import Mount
from cgagent.errors import (
    ConflictError,
    InternalError,
    InvalidInputError,
    NoSuchImageError,
    NotFoundError,
    UnsupportedError,
)
from tests.world.fakes.agent import request, started, until

pytestmark = pytest.mark.anyio

OF_CONTAINERS = EventQuery.parse(0, None, ["type=container"])
VOLUME = Mount(type="volume", destination="/data", source="kept", no_copy=True)
CACHE = Mount(type="volume", destination="/cache", no_copy=True)


def limited(name, **limits):
    asked = request(name, mounts=(VOLUME, CACHE))
    return type(asked)(config=asked.config, name=name, limits=Limits(**limits))


async def prewarmed(engine, world):
    await until(lambda: any(map(engine.pool.rooted, world.supervisor.tasks)))


async def test_it_has_a_record_files_and_a_root(engine, world):
    container = await engine.lifecycle.create(request("one", labels={"a": "b"}, hostname="there"))
    assert (container.name, container.record.outcome.status) == ("one", "created")
    assert container.record.image_id == world.image_id
    assert container.record.resolved.args == ("/hello",)
    bundle = engine.lifecycle.bundle(container.id)
    assert (bundle.path / "hostname").read_text() == "there\n"
    assert os.path.isdir(container.record.rootfs.upper)
    assert engine.containers.find("one") is container
    assert world.supervisor.tasks == {}
    (created,) = engine.events.past(OF_CONTAINERS)
    assert (created.action, created.attributes["name"]) == ("create", "one")


async def test_a_name_is_one_containers(engine, world):
    await engine.lifecycle.create(request("one"))
    before = world.left()
    with pytest.raises(ConflictError, match="'one' is taken; remove that container"):
        await engine.lifecycle.create(request("one"))
    assert world.left() == before
    assert engine.lifecycle.choose_name("two") == "two"
    assert engine.lifecycle.choose_name(None) != "one"


async def test_of_two_that_are_made_at_once_one_has_the_name(engine, world):
    made = await asyncio.gather(
        *(engine.lifecycle.create(request("one", mounts=(CACHE,))) for _ in range(2)),
        return_exceptions=True,
    )
    (container,) = [m for m in made if not isinstance(m, Exception)]
    (error,) = [m for m in made if isinstance(m, Exception)]
    assert isinstance(error, ConflictError)
    (volume,) = engine.volumes.all()
    assert volume.users == ("one",)
    assert world.left() == sorted(
        [f"containers/{container.id}", f"containers-rw/{container.id}", f"volumes/{volume.name}"]
    )


async def test_what_is_chosen_for_many_that_are_made_at_once_differs(engine, monkeypatch):
    """Random names, and ids of user namespaces: a choice counts before it is kept."""
    names = iter(["same", "same", "same", "other", "same", "other", "third"])
    monkeypatch.setattr(creation, "random_name", lambda: next(names))
    made = await asyncio.gather(
        *(engine.lifecycle.create(request(userns="auto")) for _ in range(3))
    )
    assert {c.name for c in made} == {"same", "other", "third"}
    assert len({c.record.resolved.namespaces.user_first_id for c in made}) == 3


async def test_names_do_not_run_out(engine, monkeypatch):
    monkeypatch.setattr(creation, "random_name", lambda: "same")
    first = await engine.lifecycle.create(request())
    second = await engine.lifecycle.create(request())
    assert first.name == "same"
    assert second.name.startswith("same_")


async def test_an_image_that_is_not_here(engine, world):
    with pytest.raises(NoSuchImageError, match="no such image: other"):
        await engine.lifecycle.create(request(image="other"))
    assert world.left() == []


async def test_a_limit_that_the_kernel_refuses_leaves_nothing(engine, world):
    world.tree.refuse("memory.max")
    with pytest.raises(InvalidInputError, match=r"memory\.max"):
        await engine.lifecycle.create(limited("one", memory_max_bytes=1 << 30))
    assert world.left() == []


async def test_nor_does_it_of_what_was_made_ready(ready_engine, world):
    world.tree.refuse("memory.max")
    with pytest.raises(InvalidInputError, match=r"memory\.max"):
        await ready_engine.lifecycle.create(limited("one", memory_max_bytes=1 << 30))
    assert ready_engine.volumes.all() == []
    await ready_engine.pool.close()
    assert world.left() == []


async def test_a_limit_that_this_host_cannot_hold_leaves_nothing(engine, world):
    with pytest.raises(UnsupportedError, match="hugetlb"):
        await engine.lifecycle.create(limited("one", hugetlb_max_bytes=(("2MB", 0),)))
    assert world.left() == []


async def test_a_layer_that_is_lost_leaves_nothing(engine, world):
    shutil.rmtree(world.settings.data_root / "overlay2")
    with pytest.raises(InternalError, match="is lost"):
        await engine.lifecycle.create(request(mounts=(VOLUME,)))
    assert world.left() == []


async def test_a_volume_that_cannot_be_filled_leaves_nothing(engine, world, monkeypatch):
    async def fail(*_):
        raise InternalError("filling a volume: its process died with status -9")

    monkeypatch.setattr("cgagent.engine.volumes.populate.run", fail)
    mount = Mount(type="volume", destination="/data", source="kept")
    with pytest.raises(InternalError, match="filling a volume"):
        await engine.lifecycle.create(request(mounts=(mount,)))
    assert world.left() == []


async def test_below_another_parent_it_is_tried_whether_a_group_can_be_made(engine, world):
    container = await engine.lifecycle.create(request("one", cgroup_parent="/batch"))
    assert container.record.cgroup_path == f"/batch/{container.id}"
    assert "/batch" not in world.tree.groups()
    await engine.lifecycle.start(container)
    assert container.record.cgroup_path in world.tree.groups()
    world.supervisor.end(container.id)
    await until(lambda: "/batch" not in world.tree.groups())


async def test_a_container_that_is_joined_must_run(engine):
    with pytest.raises(NotFoundError):
        await engine.lifecycle.create(request(pid="container:none"))
    other = await engine.lifecycle.create(request("other"))
    joining = await engine.lifecycle.create(request("joining", pid="container:other"))
    with pytest.raises(ConflictError, match="other is not running"):
        await engine.lifecycle.start(joining)
    await engine.lifecycle.start(other)
    await engine.lifecycle.start(joining)
    assert joining.running


async def test_one_that_was_made_ready_is_taken_and_the_next_one_is_prewarmed(ready_engine, world):
    ready = set(world.supervisor.tasks)
    first = await ready_engine.lifecycle.create(request("first"))
    assert first.id in ready
    await prewarmed(ready_engine, world)
    second = await ready_engine.lifecycle.create(request("second"))
    await ready_engine.lifecycle.start(second)
    assert second.running
    assert world.supervisor.ops(second.id) == ["create", "prepare", "prepare", "start"]


async def test_a_prewarmed_root_does_not_keep_an_image(ready_engine, world):
    container = await ready_engine.lifecycle.create(request("first"))
    await prewarmed(ready_engine, world)
    await ready_engine.lifecycle.remove(container)
    await ready_engine.images.remove("tiny", force=False)
    assert ready_engine.images.all() == []


async def test_it_is_called_something_else(engine):
    one = await engine.lifecycle.create(request("one"))
    await engine.lifecycle.create(request("two"))
    for name, error in (("two", ConflictError), ("a b", InvalidInputError), ("one", ConflictError)):
        with pytest.raises(error):
            await engine.lifecycle.rename(one, name)
    await engine.lifecycle.rename(one, "three")
    assert engine.containers.find("three") is one
    assert engine.events.past(OF_CONTAINERS)[-1].attributes["old_name"] == "one"


async def test_cpus_are_a_quota(engine, world):
    asked = request("one")
    container = await engine.lifecycle.create(
        type(asked)(config=asked.config, conveniences=Conveniences(cpus=0.5))
    )
    await engine.lifecycle.start(container)
    assert world.tree.held(container.record.cgroup_path, "cpu.max") == "50000 100000"


async def test_user_namespaces_have_ids_of_their_own(engine):
    one = await engine.lifecycle.create(request("one", userns="auto"))
    two = await engine.lifecycle.create(request("two", userns="auto"))
    ids = [c.record.resolved.namespaces.user_ids for c in (one, two)]
    assert ids[0][0] != ids[1][0]


async def test_those_that_are_made_and_never_started_keep_few_processes(
    ready_engine, world, monkeypatch
):
    monkeypatch.setattr("cgagent.engine.lifecycle.pool._UNSTARTED_MAX", 1)
    made = [await ready_engine.lifecycle.create(request(tty=True)) for _ in range(3)]
    assert sum(c.id in world.supervisor.tasks for c in made) == 1
    for container in made:
        await ready_engine.lifecycle.start(container)
    assert all(c.running for c in made)


async def test_one_that_was_started_is_in_use(engine):
    await started(engine, "one")
    image = engine.images.resolve("tiny")
    with pytest.raises(ConflictError, match="container one uses it"):
        await engine.images.remove("tiny", force=False)
    with pytest.raises(ConflictError, match="running container one uses it"):
        await engine.images.remove(image.id, force=True)
    removed = await engine.images.remove("tiny", force=True)
    assert removed.lines == ("Untagged: tiny:latest",)
    assert engine.images.resolve(image.id).names == ()
