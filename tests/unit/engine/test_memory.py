"""Memory goes back to the kernel where it has grown, and only there."""

import asyncio

import pytest

from cgagent.engine import memory
from tests.world.fakes.agent import until

pytestmark = pytest.mark.anyio


async def test_it_is_given_back_when_it_has_grown(monkeypatch):
    looks, given = [], []
    sizes = iter([100, 100, 100, *[100 + (8 << 20)] * 2])

    def resident():
        looks.append(next(sizes, 100))
        return looks[-1]

    monkeypatch.setattr(memory, "_EVERY_S", 0)
    monkeypatch.setattr(memory, "resident_bytes", resident)
    monkeypatch.setattr(memory.allocator, "free_bytes", lambda: 0)
    monkeypatch.setattr(memory.allocator, "give_back", lambda: given.append(len(looks)))
    giving = asyncio.create_task(memory.give_back())
    await until(lambda: len(looks) > 8)
    giving.cancel()
    assert len(given) == 1


def test_what_is_resident_now():
    assert memory.resident_bytes() > 1 << 20
