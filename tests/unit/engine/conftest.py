"""The real engine without root and without a kernel's help: see `tests.world.fakes`."""

import pytest

from cgagent.engine.lifecycle.pool import POOL_SIZE
from tests.world.fakes.agent import FakeWorld, until


@pytest.fixture
async def world(anyio_backend, tmp_path, monkeypatch):
    made = FakeWorld(tmp_path, monkeypatch)
    yield made
    made.supervisor.shut_down()


@pytest.fixture
async def engine(world):
    """An agent that runs, without anything made ready for containers to come."""
    async with world.agent() as running:
        yield running


@pytest.fixture
async def ready_engine(world):
    """An agent that makes things ready for containers to come, and has begun to."""
    world.refill_pool_after(0)
    async with world.agent() as running:
        await until(lambda: len(world.supervisor.tasks) == POOL_SIZE)
        yield running
