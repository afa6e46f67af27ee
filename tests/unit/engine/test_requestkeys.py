"""Requests that come twice, over one database and several agents."""

import asyncio
import time

import pytest

from cgagent.engine import requestkeys
from cgagent.engine.requestkeys import RequestKeys
from cgagent.errors import ConflictError, InvalidInputError, KeyReusedError, NotFoundError
from cgagent.store.database import Database
from cgagent.store.requestkeys import RequestKeyRows
from cgagent.store.volumes import VolumeRow, VolumeRows


@pytest.fixture
def world(tmp_path):
    with_database = World(Database(tmp_path))
    yield with_database
    with_database.database.close()


class World:
    """Volumes are made; each has a number in its answer, and is there as long as its row is."""

    def __init__(self, database):
        self.database = database
        self.keys = RequestKeys(RequestKeyRows(database))
        self.made = 0
        self.dies = False

    def again(self):
        """Another agent after this one."""
        self.keys = RequestKeys(RequestKeyRows(self.database))

    async def make(self):
        self.made += 1
        name = f"v{self.made}"
        VolumeRows(self.database).insert(VolumeRow(name=name, created_ns=time.time_ns()))
        await asyncio.sleep(0)
        if self.dies:
            raise KeyboardInterrupt
        return {"name": name, "number": self.made}

    def describe(self, name):
        if name not in {row.name for row in VolumeRows(self.database).all()}:
            raise NotFoundError(name)
        return {"name": name, "number": None}

    async def once(self, key="k", fingerprint=b"1"):
        return await self.keys.once(key, fingerprint, "volume", self.make, self.describe)

    def ask(self, *args):
        return asyncio.run(self.once(*args))


def test_the_same_key_makes_it_once(world):
    first = world.ask()
    assert world.ask() == first
    world.again()
    assert world.ask() == first
    assert world.ask("other") != first
    assert world.made == 2


def test_two_at_once_get_one_answer(world):
    async def both():
        return await asyncio.gather(world.once(), world.once(), world.once("other"))

    one, two, three = asyncio.run(both())
    assert one == two != three
    assert not world.keys._at_work


def test_the_key_of_another_request(world):
    world.ask()
    with pytest.raises(KeyReusedError, match="was one of another request"):
        world.ask("k", b"2")


def test_a_death_before_the_answer_makes_no_second_one(world):
    world.dies = True
    with pytest.raises(KeyboardInterrupt):
        world.ask()
    world.dies = False
    world.again()
    assert world.ask() == {"name": "v1", "number": None}
    VolumeRows(world.database).delete("v1")
    with pytest.raises(ConflictError, match="not there any more; send a new key"):
        world.ask()


def test_a_failure_is_tried_again(world):
    async def fail():
        raise ConflictError("not now")

    with pytest.raises(ConflictError):
        asyncio.run(world.keys.once("k", b"1", "volume", fail, world.describe))
    assert world.ask()["number"] == 1


def test_what_has_no_row_is_noted_before_it_begins(world):
    async def fail(error):
        world.keys.note("exec", "e1")
        raise error

    def ask(error):
        return asyncio.run(
            world.keys.once("k", b"1", "exec", lambda: fail(error), lambda made: {"id": made})
        )

    with pytest.raises(ConflictError):
        ask(ConflictError("no such command"))
    with pytest.raises(KeyboardInterrupt):
        ask(KeyboardInterrupt())
    assert ask(KeyboardInterrupt()) == {"id": "e1"}


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "ä"])
def test_what_is_no_key(world, key):
    with pytest.raises(InvalidInputError, match="idempotency key"):
        world.ask(key)


def test_old_ones_and_too_many_are_forgotten(world, monkeypatch):
    monkeypatch.setattr(requestkeys, "_MOST", 3)
    monkeypatch.setattr(requestkeys, "_PRUNE_EVERY", 1)
    for number in range(8):
        world.ask(f"k{number}")
    (count,) = world.database.query("SELECT count(*) AS n FROM request_keys")
    assert count["n"] <= 4
    assert world.ask("k7")["number"] == 8
    assert world.ask("k0")["number"] == 9
