"""Volumes outlive containers, and are removed by those who have none of them."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cgagent.engine.filters import PruneFilters
from cgagent.engine.options.mounts import Mount
from cgagent.errors import (
    ConflictError,
    InternalError,
    InvalidInputError,
    NoSuchImageError,
    NotFoundError,
)
from tests.world.fakes.agent import request, started

pytestmark = pytest.mark.anyio


def volume(source="", destination="/data", *, no_copy=True, **more):
    return Mount(type="volume", source=source, destination=destination, no_copy=no_copy, **more)


async def test_one_of_that_name_is_left_as_it_is(engine):
    made = await engine.volumes.create("kept", {"a": "b"})
    again = await engine.volumes.create("kept", {"c": "d"})
    assert again == made
    assert made.row.labels == {"a": "b"}
    assert os.path.isdir(made.mountpoint)
    assert engine.volumes.paths() == {"kept": made.mountpoint}
    with pytest.raises(InvalidInputError):
        await engine.volumes.create("a/b", {})
    unnamed = await engine.volumes.create(None, {})
    assert unnamed.row.anonymous


async def test_a_container_keeps_its_volumes(engine):
    container = await engine.lifecycle.create(request("one", mounts=(volume("kept"),)))
    assert engine.volumes.find("kept").users == ("one",)
    with pytest.raises(ConflictError, match="volume kept is in use by one"):
        await engine.volumes.remove("kept")
    await engine.lifecycle.remove(container, volumes=True)
    await engine.volumes.remove("kept")
    with pytest.raises(NotFoundError, match="'kept' does not exist"):
        await engine.volumes.remove("kept")
    await engine.volumes.remove("kept", force=True)


async def test_what_was_made_for_a_container_that_is_none_goes(engine):
    await engine.volumes.create("kept", {})
    mounts = (volume("kept"), volume("new", "/new"))
    with pytest.raises(NoSuchImageError):
        await engine.lifecycle.create(request(image="other", mounts=mounts))

    async def made_in_vain(specs):
        async with engine.volumes.held(specs):
            assert engine.volumes.find("new")
            with pytest.raises(ConflictError, match="in use by a container that is being created"):
                await engine.volumes.remove("new")
            raise InternalError("it came to nothing")

    container = await engine.lifecycle.create(request(mounts=(volume("kept"),)))
    specs = container.record.resolved.mounts
    with pytest.raises(InternalError):
        await made_in_vain([*specs, replace(specs[0], source="new")])
    assert [v.name for v in engine.volumes.all()] == ["kept"]


async def test_first_content_is_the_images(engine, monkeypatch):
    asked = []

    async def fill(root, staging, copies):
        asked.append(copies)
        for fresh in copies.values():
            Path(fresh).mkdir()
            (Path(fresh) / "hello").write_text("hello")
        assert root["type"] == "overlay"
        assert os.listdir(staging) == []
        return list(copies.values())

    monkeypatch.setattr("cgagent.engine.volumes.populate.run", fill)
    for name in ("one", "two"):
        mounts = (volume("kept", no_copy=False), volume("empty", "/empty"))
        await engine.lifecycle.create(request(name, mounts=mounts))
    assert [list(copies) for copies in asked] == [["/data"]]
    kept = Path(engine.volumes.path("kept"))
    assert (kept / "hello").read_text() == "hello"
    assert os.listdir(kept.parent) == ["_data"]


async def test_those_that_no_container_has_are_pruned(engine):
    await started(engine, "one", mounts=(volume("used"), volume("", "/cache")))
    await engine.volumes.create("free", {})
    nameless = await engine.volumes.create(None, {})
    (Path(nameless.mountpoint) / "file").write_bytes(b"x" * 5000)
    names, freed = await engine.volumes.prune(PruneFilters(), named=False)
    assert names == [nameless.name]
    assert freed >= 5000
    assert (await engine.volumes.prune(PruneFilters(), named=True))[0] == ["free"]
    assert len(engine.volumes.all()) == 2


async def test_an_anonymous_one_that_another_has_by_now_stays(engine):
    one = await engine.lifecycle.create(request("one", mounts=(volume("", "/cache"),)))
    (name,) = engine.volumes.paths()
    await engine.lifecycle.create(request("two", mounts=(volume(name),)))
    await engine.lifecycle.remove(one, volumes=True)
    assert engine.volumes.find(name).users == ("two",)


async def test_what_an_agent_left_half_done_is_seen_to_by_the_next(world):
    directory = world.settings.data_root / "volumes"
    async with world.agent() as engine:
        await engine.volumes.create("kept", {})
    (directory / "kept/_fresh").mkdir()
    (directory / ".removed-0123/_data").mkdir(parents=True)
    (directory / "half-made/_data").mkdir(parents=True)
    (directory / "lost/_data").mkdir(parents=True)
    (directory / "lost/_data/file").write_text("of somebody")
    async with world.agent() as engine:
        assert [v.name for v in engine.volumes.all()] == ["kept", "lost"]
        assert os.listdir(directory / "kept") == ["_data"]
        assert sorted(os.listdir(directory)) == ["kept", "lost"]


async def test_a_row_that_cannot_be_written_leaves_no_directory(engine, world, monkeypatch):
    def fail(_):
        raise InternalError("database: it is damaged")

    monkeypatch.setattr(engine.volumes._rows, "insert", fail)
    with pytest.raises(InternalError):
        await engine.volumes.create("one", {})
    assert world.left() == []
