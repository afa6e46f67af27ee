"""Commands on their way into a container, and moves, which wait for each other."""

import asyncio
from types import SimpleNamespace

import pytest

from cgagent.engine.lifecycle import entries as module
from cgagent.engine.lifecycle.entries import Entries
from cgagent.errors import ConflictError

pytestmark = pytest.mark.anyio

ONE = SimpleNamespace(id="1", name="one")
OTHER = SimpleNamespace(id="2", name="other")


async def test_each_waits_for_the_other(anyio_backend):
    entries, order = Entries(), []

    async def move():
        async with entries.closed(ONE):
            order.append("moved")

    async def enter(container):
        async with entries.entering(container):
            order.append(f"in {container.name}")

    async with entries.entering(ONE):
        moving = asyncio.create_task(move())
        await asyncio.sleep(0.01)
        late = asyncio.create_task(enter(ONE))
        await enter(OTHER)
    await asyncio.gather(moving, late)
    assert order == ["in other", "moved", "in one"]


async def test_a_move_does_not_wait_for_ever(anyio_backend, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    entries = Entries()
    async with entries.entering(ONE):
        with pytest.raises(ConflictError, match="a command is being started in it"):
            async with entries.closed(ONE):
                raise AssertionError
    async with entries.closed(ONE):
        pass
