"""A database that lost its rows: they come back from their second copies."""

import contextlib
import sqlite3

import pytest

from cgagent.engine.events import EventQuery
from cgagent.engine.lifecycle import recovery
from cgagent.errors import ConflictError
from cgagent.store.containers import RECORD_FILE
from cgagent.store.database import DamagedDatabaseError
from tests.world.fakes.agent import over, request, started

pytestmark = pytest.mark.anyio


def forget_database(world):
    for path in world.settings.data_root.glob("cgagent.db*"):
        path.unlink()


async def test_an_empty_database_beside_records_is_not_believed(world):
    async with world.agent() as engine:
        await engine.lifecycle.create(request("one"))
    forget_database(world)
    with pytest.raises(ConflictError, match="has records of 1 container and 1 image"):
        async with world.agent():
            pytest.fail("everything would have been swept")


async def test_what_it_lost_comes_back_if_that_is_asked_for(world):
    async with world.agent() as engine:
        running = (await started(engine, "one")).id
        ended = await started(engine, "two")
        world.supervisor.end(ended.id, 3)
        await over(ended)
    forget_database(world)
    async with world.agent(adopt_lost=True) as engine:
        one, two = engine.containers.get(running), engine.containers.get(ended.id)
        assert one.running
        assert (two.record.outcome.status, two.record.outcome.exit_code) == ("exited", 3)
        assert two.record.restart.held
        told = engine.recovery.found
        assert "container one was lost and is there again" in told
        assert any(line.startswith("image ") for line in told)
        actions = [event.action for event in engine.events.past(EventQuery())]
        assert actions.count("recover") == 2
        world.supervisor.end(one.id, 4)
        await over(one)


async def test_a_damaged_database_is_set_aside_if_that_is_asked_for(world, caplog):
    async with world.agent() as engine:
        await engine.lifecycle.create(request("one"))
    root = world.settings.data_root
    (root / "cgagent.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(DamagedDatabaseError):
        recovery.open_database(root, adopt_lost=False)
    recovery.open_database(root, adopt_lost=True).close()
    (aside,) = root.glob("cgagent.db.damaged-*")
    assert aside.read_bytes().startswith(b"this is no database")
    assert "is damaged: it is kept as" in caplog.text


async def test_a_record_that_cannot_be_understood_is_set_apart(world):
    async with world.agent() as engine:
        container = await engine.lifecycle.create(request("one"))
        bundle = engine.lifecycle.bundle(container.id)
        engine.containers._rows.delete(container.id)
    (bundle.path / RECORD_FILE).write_text("{ this is no record")
    async with world.agent() as engine:
        assert engine.recovery.lost() == [container.id]
        assert not bundle.path.exists()
        apart = engine.recovery.lost_and_found / container.id
        assert (apart / "container" / RECORD_FILE).exists()
        assert (apart / "root" / "upper").is_dir()
        lost = [e for e in engine.events.past(EventQuery()) if e.action == "lost"]
        assert lost[0].id == container.id
        assert await engine.recovery.prune() == [container.id]
        assert engine.recovery.lost() == []


async def test_names_are_given_once(world):
    async with world.agent() as engine:
        lost = await engine.lifecycle.create(request("one"))
        record = engine.lifecycle.bundle(lost.id).path / RECORD_FILE
        text = record.read_bytes()
        engine.containers._rows.delete(lost.id)
        record.write_bytes(text)
    async with world.agent() as engine:
        assert engine.containers.get(lost.id).name == "one"


def test_what_an_unreleased_version_left_is_set_apart_but_for_volumes(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "cgagent.db")) as old:
        old.execute("CREATE TABLE images (id TEXT)")
    for name in ("containers", "volumes"):
        (tmp_path / name).mkdir()
    database = recovery.open_database(tmp_path, adopt_lost=False)
    database.close()
    (apart,) = tmp_path.glob("unreleased-*")
    assert {p.name for p in apart.iterdir()} == {"cgagent.db", "containers"}
    assert (tmp_path / "volumes").is_dir()
    recovery.open_database(tmp_path, adopt_lost=False).close()
    assert len(list(tmp_path.glob("unreleased-*"))) == 1
