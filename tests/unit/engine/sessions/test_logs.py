"""Showing what a container has written."""

import pytest

from cgagent.engine.options.logging import LogConfig
from cgagent.errors import UnsupportedError
from cgagent.runtime.logs.reader import LogQuery
from tests.world.fakes.agent import request

pytestmark = pytest.mark.anyio


async def test_its_entries_as_they_are(engine):
    container = await engine.lifecycle.create(request())
    line = b'{"log":"hello\\n","stream":"stdout","time":"2026-01-01T00:00:00.000000001Z"}\n'
    engine.lifecycle.bundle(container.id).log.write_bytes(line * 2)
    read = [e async for piece in engine.logs.read(container, LogQuery()) for e in piece]
    assert [entry.rstrip() for entry in read] == [line.rstrip()] * 2


async def test_a_driver_that_keeps_nothing(engine):
    container = await engine.lifecycle.create(request(log=LogConfig(driver="none")))
    with pytest.raises(UnsupportedError):
        engine.logs.read(container, LogQuery())
