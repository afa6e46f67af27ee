"""Images as jobs, with events."""

import pytest

from cgagent.engine.events import EventQuery
from cgagent.errors import ConflictError, NotFoundError
from cgagent.images.candidate import Progress
from tests.world.fakes.agent import request, until

pytestmark = pytest.mark.anyio


def told(engine):
    return [(e.action, e.id) for e in engine.events.past(EventQuery()) if e.type == "image"]


async def test_one_that_no_container_uses_is_removed(engine, world):
    assert [image.id for image in engine.images.all()] == [world.image_id]
    container = await engine.lifecycle.create(request("one"))
    with pytest.raises(ConflictError, match="container one uses it"):
        await engine.images.remove("tiny", force=False)
    await engine.lifecycle.remove(container)
    lines = (await engine.images.remove("tiny", force=False)).lines
    assert lines[0] == "Untagged: tiny:latest"
    assert told(engine) == [("untag", "tiny:latest"), ("delete", world.image_id)]
    assert engine.images.all() == []


async def test_a_pull_is_a_job_with_steps(engine, world, monkeypatch):
    seen = []

    async def pull(_self, _name, progress, **_how):
        progress(Progress("", "Resolving"))
        progress(Progress("0123", "Downloading", 1, 2))
        return engine.images.resolve("tiny")

    monkeypatch.setattr("cgagent.images.store.Images.pull", pull)
    await engine.images.pull("tiny", seen.append)
    (job,) = [job for job in engine.jobs.all() if job.name == "pull"]
    assert [step.name for step in job.steps] == ["resolve", "layers"]
    assert job.progress == "0123 Downloading"
    assert len(seen) == 2
    assert told(engine) == [("pull", world.image_id)]


async def test_a_load_is_a_job(engine, world, monkeypatch):
    async def load(_self, _archive, _progress, shown=None):
        return [engine.images.resolve("tiny")]

    with pytest.raises(NotFoundError, match="does not exist"):
        await engine.images.load("/not/there.tar", print)
    monkeypatch.setattr("cgagent.images.store.Images.load", load)
    await engine.images.load("/some.tar", print)
    assert told(engine) == [("load", world.image_id)]


async def test_a_check_reads_what_there_is(engine):
    report = await engine.images.check(lambda _: None, repair=False)
    assert report is not None
    assert engine.jobs.all()[0].name == "check"


async def test_a_disk_that_fails_is_logged(world, caplog, monkeypatch):
    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("cgagent.images.store.Images.settle", fail)
    async with world.agent():
        await until(lambda: "unpacked layers are not known to be on disk" in caplog.text)
