"""Nothing of a container is left when it is removed."""

import pytest

from cgagent.engine.options.mounts import Mount
from cgagent.errors import ConflictError, InternalError
from tests.world.fakes.agent import over, request, started

pytestmark = pytest.mark.anyio

CACHE = Mount(type="volume", destination="/cache", no_copy=True)
NAMED = Mount(type="volume", destination="/data", source="kept", no_copy=True)


async def test_one_that_was_never_started(engine, world):
    container = await engine.lifecycle.create(request())
    await engine.lifecycle.remove(container)
    assert container.removed
    assert world.left() == []
    await engine.lifecycle.remove(container)


async def test_one_that_was_made_ready(ready_engine, world):
    container = await ready_engine.lifecycle.create(request())
    await ready_engine.lifecycle.remove(container)
    assert container.id not in world.supervisor.tasks
    assert not any(container.id in what for what in world.left())


async def test_one_that_runs_is_kept_unless_that_is_insisted_on(engine, world):
    container = await started(engine, "one")
    with pytest.raises(ConflictError, match="one is running; stop it first or remove"):
        await engine.lifecycle.remove(container)
    assert container.running
    await engine.lifecycle.remove(container, force=True)
    assert container.record.outcome.exit_code == 137
    assert world.left() == []


async def test_volumes_without_a_name_go_if_that_is_asked_for(engine, world):
    kept = await engine.lifecycle.create(request(mounts=(CACHE, NAMED)))
    await engine.lifecycle.remove(kept)
    assert len(engine.volumes.all()) == 2
    other = await engine.lifecycle.create(request(mounts=(CACHE, NAMED)))
    await engine.lifecycle.remove(other, volumes=True)
    assert [v.row.anonymous for v in engine.volumes.all()].count(True) == 1
    assert engine.volumes.find("kept").users == ()


async def test_the_record_is_the_last_to_go(engine, world, monkeypatch):
    container = await started(engine, "one")
    world.supervisor.end(container.id)
    await over(container)

    def fail(_):
        raise InternalError("root: it cannot be removed")

    with monkeypatch.context() as patch:
        patch.setattr(engine.images._images, "release", fail)
        with pytest.raises(InternalError):
            await engine.lifecycle.remove(container)
    assert engine.containers.find("one") is container
    await engine.lifecycle.remove(container)
    assert world.left() == []
