"""The engine as a whole: how it starts, what it says of itself, and how it stops."""

import logging
import os

import pytest

from cgagent.errors import InternalError, UnavailableError
from tests.world.fakes.agent import over, request, started, until

pytestmark = pytest.mark.anyio


async def test_what_it_says_of_itself(engine, world):
    await engine.lifecycle.create(request())
    await started(engine)
    ended = await started(engine)
    world.supervisor.end(ended.id)
    await over(ended)
    info = engine.info()
    assert info["containers"] == {"created": 1, "running": 1, "restarting": 0, "exited": 1}
    assert (info["pid"], info["images"]) == (os.getpid(), 1)
    assert info["cgroup_layout"] == "v2"
    assert info["controllers"]["memory"] == "v2"
    assert info["supervisor_pid"] == world.supervisor.who.pid
    assert info["data_root"] == str(world.settings.data_root)


async def test_its_parent_group_goes_with_it_unless_something_runs_there(world):
    async with world.agent() as engine:
        container = await started(engine)
        assert world.tree.groups() == ["/cgagent", container.record.cgroup_path]
    assert world.tree.groups() == ["/cgagent", container.record.cgroup_path]
    async with world.agent() as engine:
        await engine.lifecycle.remove(engine.containers.get(container.id), force=True)
        world.tree.make("/cgagent/somebody", 6_000_000)
    assert world.tree.groups() == ["/cgagent", "/cgagent/somebody"]
    world.tree.leave(6_000_000)


async def test_a_full_disk_is_told_of_at_the_start(world, caplog, monkeypatch):
    monkeypatch.setattr("cgagent.store.Database.free_bytes", lambda _: 5)
    async with world.agent():
        assert "is full: containers can be ended and removed" in caplog.text


async def test_work_in_the_background_that_fails_is_logged(engine, world, caplog, monkeypatch):
    async def fail(*_):
        raise InternalError("it failed")

    container = await started(engine)
    monkeypatch.setattr(engine.lifecycle, "exited", fail)
    world.supervisor.tell_exit(container.id, pid=1, exit_code=1)
    await until(lambda: "background work failed" in caplog.text)
    assert caplog.records[-1].levelno == logging.ERROR


async def test_nothing_is_asked_of_a_supervisor_that_it_has_let_go_of(world):
    async with world.agent() as engine:
        container = await started(engine, tty=True)
    with pytest.raises(UnavailableError, match="the agent has let go of its supervisor"):
        await engine.streams.resize(container, 24, 80)


async def test_traces_are_sent_where_somebody_wants_them(world, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    sent = []
    monkeypatch.setattr(
        "opentelemetry.exporter.otlp.proto.http.trace_exporter.OTLPSpanExporter.export",
        lambda _self, spans: sent.extend(spans),
    )
    async with world.agent() as engine:
        await engine.lifecycle.create(request())
        with pytest.raises(InternalError):
            async with engine.jobs.run("fails"):
                raise InternalError("it failed")
    assert {"create", "create files", "fails"} <= {span.name for span in sent}
