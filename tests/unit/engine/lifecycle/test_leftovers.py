"""Files of what is gone are deleted in a moment, and sooner for whoever needs that."""

import asyncio
import os
import threading
from types import SimpleNamespace

import pytest

from cgagent.engine.lifecycle import Leftovers


def test_who_asks_waits_for_all_that_was_to_be_deleted():
    leftovers, deleted, may_go = Leftovers(), [], threading.Event()

    def late():
        may_go.wait()
        deleted.append("late")

    async def scenario():
        leftovers.delete("one", late)
        leftovers.delete("two", lambda: deleted.append("at once"))
        asking = asyncio.create_task(leftovers.gone())
        await asyncio.sleep(0.05)
        assert not asking.done()
        may_go.set()
        await asking
        assert sorted(deleted) == ["at once", "late"]
        await leftovers.gone()  # nothing more

    asyncio.run(scenario())


def test_nobody_has_to_ask():
    leftovers, deleted = Leftovers(), threading.Event()

    async def scenario():
        leftovers.delete("one", deleted.set)
        assert not deleted.is_set()
        assert await asyncio.to_thread(deleted.wait, 10)

    asyncio.run(scenario())


def test_what_fails_is_logged_and_holds_nobody_up(caplog):
    leftovers = Leftovers()

    def fail():
        raise OSError("broken disk")

    async def scenario():
        leftovers.delete("container one", fail)
        await leftovers.gone()

    asyncio.run(scenario())
    assert "container one" in caplog.text
    assert "broken disk" in caplog.text


@pytest.mark.parametrize(
    ("free", "waits"), [((5, 50), True), ((50, 5), True), ((50, 50), False), ((0, 0), True)]
)
def test_room_is_waited_for_where_there_is_little(monkeypatch, tmp_path, free, waits):
    blocks, inodes = free
    disk = SimpleNamespace(f_blocks=100, f_bavail=blocks, f_files=100, f_favail=inodes)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    leftovers, deleted = Leftovers(), []

    async def scenario():
        await leftovers.make_room(tmp_path)  # nothing is to be deleted
        leftovers.delete("one", lambda: deleted.append("one"))
        await leftovers.make_room(tmp_path)
        assert deleted == (["one"] if waits else [])
        await leftovers.gone()

    asyncio.run(scenario())
