"""Logs that were rotated away are compressed, those of an earlier agent included."""

import pytest

from cgagent.engine.observe import log_compression
from cgagent.engine.options.logging import LogConfig
from tests.world.fakes.agent import over, request, started, until

pytestmark = pytest.mark.anyio

COMPRESSED = LogConfig(
    driver="json-file", options={"max-size": "1k", "max-file": "3", "compress": "true"}
)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(log_compression, "_LOOK_S", 0.001)


async def test_while_it_runs_and_after_that(world):
    async with world.agent() as engine:
        container = await started(engine, "one", log=COMPRESSED)
        await started(engine, "two")
        log = engine.lifecycle.bundle(container.id).log
        old = log.with_name(f"{log.name}.1")
        log.write_bytes(b"new")
        old.write_bytes(b"old" * 1000)
        await until(lambda: not old.exists())
        assert list(log.parent.glob("*.1.gz"))
        world.supervisor.end(container.id)
        await over(container)
        await until(lambda: engine._log_compression._done.get(container.id))


async def test_a_failure_is_logged_and_tried_again_later(engine, monkeypatch, caplog):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("cgagent.runtime.logs.files.compress", fail)
    await engine.lifecycle.create(request("one", log=COMPRESSED))
    await until(lambda: "container one: its log is not compressed" in caplog.text)
    assert caplog.text.count("is not compressed") == 1
