"""The real engine without root and without a kernel's help: see `tests.world.fakes`."""

import pytest

from tests.world.fakes.agent import FakeWorld


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def world(tmp_path, monkeypatch):
    return FakeWorld(tmp_path, monkeypatch)


@pytest.fixture
async def engine(anyio_backend, world):
    async with world.agent() as running:
        yield running
    world.supervisor.close()
