"""Directories of RUN --mount=type=cache: one for each id, pruned when no build uses them."""

import os

import pytest

from cgagent.engine.build.caches import Beginning, Caches
from cgagent.errors import NotFoundError
from cgagent.images.build.runmounts import RunMount

pytestmark = pytest.mark.anyio


def mount(**more):
    return RunMount(type="cache", target="/c", uid=os.getuid(), gid=os.getgid(), **more)


async def test_an_id_has_one_directory(tmp_path):
    caches = Caches(tmp_path)
    async with caches.held(mount(id="x", mode=0o700)) as one, caches.held(mount(id="x")) as same:
        assert one == same
        (tmp_path / one / "kept").touch()
        assert os.stat(one).st_mode & 0o777 == 0o700
    async with caches.held(mount(id="x")) as again, caches.held(mount()) as by_target:
        assert os.listdir(again) == ["kept"]
        assert by_target != again
    assert {cache.id for cache in caches.all()} == {"x", "/c"}


async def test_a_private_one_is_for_one_user_at_a_time(tmp_path):
    caches = Caches(tmp_path)
    private = mount(id="x", sharing="private")
    async with caches.held(private) as one, caches.held(private) as other:
        assert one != other
    async with caches.held(private) as again:
        assert again == one


async def test_one_that_is_used_is_not_removed(tmp_path):
    caches = Caches(tmp_path)
    async with caches.held(mount()) as files:
        (cache,) = caches.all()
        assert cache.in_use
        assert not caches.remove(cache.name)
        assert os.path.isdir(files)
    assert caches.remove(cache.name)
    assert caches.all() == []
    assert list(tmp_path.iterdir()) == []


async def test_one_begins_with_files_once(tmp_path):
    caches, written = Caches(tmp_path), []

    async def write(directory, name):
        written.append(directory)
        os.makedirs(os.path.join(directory, name, "first"))

    beginning = Beginning("key", write)
    for _ in range(2):
        async with caches.held(mount(id="x"), beginning) as files:
            assert os.listdir(files) == ["first"]
    async with (
        caches.held(mount(id="x")) as without,
        caches.held(mount(id="x"), Beginning("other", write)) as other,
    ):
        assert len({files, without, other}) == 3
    assert len(written) == 2
    assert not list(tmp_path.glob("new-*"))


async def test_what_cannot_be_written_leaves_nothing(tmp_path):
    caches = Caches(tmp_path)

    async def write(_directory, _name):
        raise NotFoundError("/x: no such file or directory")

    with pytest.raises(NotFoundError):
        async with caches.held(mount(), Beginning("key", write)):
            raise AssertionError
    assert list(tmp_path.iterdir()) == []


async def test_an_earlier_agents_half_made_ones_go(tmp_path):
    for name in ("gone-1", "new-2", "kept"):
        (tmp_path / name / "files").mkdir(parents=True)
    Caches(tmp_path).sweep()
    assert os.listdir(tmp_path) == ["kept"]
