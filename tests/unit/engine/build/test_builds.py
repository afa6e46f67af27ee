"""Whole builds on fakes: steps in the cache, what a step's container is told, what is left."""

import asyncio

import pytest

from cgagent.engine.build import workspace
from cgagent.engine.build.commands import StepFailedError
from cgagent.engine.build.values import StepDone
from cgagent.engine.values import BuildRequest
from cgagent.errors import ConflictError, DeniedError, InvalidInputError, NotFoundError
from cgagent.images.build.context import Context
from tests.world.fakes.agent import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def build(engine, world, monkeypatch):
    """Carry out a Dockerfile whose commands end at once; what was told of it."""

    async def unpacked(_workspace, _archive, request):
        return Context.of(()), request.dockerfile_text

    monkeypatch.setattr(workspace, "unpacked", unpacked)
    world.supervisor.on_start = lambda task: world.supervisor.end(task.key)

    async def run(text, **more):
        told = []
        request = BuildRequest(dockerfile_text=text.encode(), network="none", **more)
        built = await engine.builds.build(request, "", told.append)
        return built, [one for one in told if isinstance(one, StepDone)]

    return run


def left(world):
    folder = world.settings.data_root / "builds"
    return [*world.left(), *(folder.iterdir() if folder.exists() else [])]


async def test_settings_become_an_image_and_are_cached(engine, world, build):
    text = "FROM scratch\nENV A=1 B=${A:-y}x\nLABEL l=$A\n"
    built, steps = await build(text, names=("made:1",))
    image = engine.images.resolve("made:1")
    assert image.id == built.image_id
    assert image.config.env[1:] == ("A=1", "B=yx")
    assert [step.cached for step in steps] == [False, False, False]
    _, again = await build(text)
    assert [step.cached for step in again] == [False, True, True]
    _, anew = await build(text, no_cache=True)
    assert not any(step.cached for step in anew)
    assert left(world) == []


async def test_a_command_runs_in_the_builds_group(world, build):
    groups = []
    end = world.supervisor.on_start

    def started(task):
        groups.extend(path for path in world.tree.groups() if "build-" in path)
        end(task)

    world.supervisor.on_start = started
    _, (_, step) = await build("FROM scratch\nRUN x\n")
    assert step.account is not None
    assert any(path.count("/") == 3 for path in groups)
    assert left(world) == []


async def test_a_secret_is_told_to_the_command_alone(engine, world, build):
    seen = {}
    end = world.supervisor.on_start

    def started(task):
        (container,) = list(engine.containers)
        seen["record"] = repr(container.record)
        seen["file"] = repr(engine.lifecycle.bundle(container.id).read_config())
        seen["env"] = task.started.job.process["env"]
        end(task)

    world.supervisor.on_start = started
    text = "FROM scratch\nENV K=of-the-image\nRUN --mount=type=secret,id=k,env=K x\n"
    await build(text, secrets={"k": b"s3cret"})
    assert "K=s3cret" in seen["env"]
    assert "K=of-the-image" not in seen["env"]
    assert "s3cret" not in seen["record"] + seen["file"]
    assert b"s3cret" not in (world.settings.data_root / "cgagent.db-wal").read_bytes()


async def test_a_command_that_fails_leaves_the_steps_before_it(engine, world, build):
    def fail(task):
        world.supervisor.end(task.key, 3)

    world.supervisor.on_start = fail
    with pytest.raises(StepFailedError, match="non-zero code: 3") as failed:
        await build("FROM scratch\nENV A=1\nRUN x\n", names=("made:1",))
    assert failed.value.exit_code == 3
    assert [one.name for one in engine.images.all() if "made:1" in one.names] == []
    assert left(world) == []
    assert len(await engine.builds.cache.all()) == 1


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("FROM scratch\nRUN --network=host x\n", DeniedError, "--network host"),
        ("FROM scratch\n", InvalidInputError, "No image was generated"),
        ("FROM scratch\nCOPY x /\n", NotFoundError, "no such file"),
        ("FROM scratch\nENV A=${B:?why}\n", InvalidInputError, "why"),
    ],
)
async def test_mistakes(world, build, text, error, message):
    with pytest.raises(error, match=message):
        await build(text)
    assert left(world) == []


async def test_one_that_is_cancelled_leaves_nothing(engine, world, build):
    world.supervisor.on_start = lambda _: None
    building = asyncio.create_task(build("FROM scratch\nRUN x\n", client_id="mine"))
    await until(lambda: any(task.started for task in world.supervisor.tasks.values()))
    engine.builds.cancel("mine")
    with pytest.raises(ConflictError, match="cancelled"):
        await building
    assert left(world) == []
    with pytest.raises(NotFoundError, match="no build with the id mine"):
        engine.builds.cancel("mine")


async def test_who_looks_in_is_told_the_same_as_its_client(engine, build):
    _, steps = await build('FROM scratch\nENV A=1\nRUN ["true"]\n')
    job = engine.jobs.all()[0]
    assert job.name == "build"
    told = [one async for some in engine.builds.outputs.get(job.id).follow() for one in some]
    assert [one for one in told if isinstance(one, StepDone)] == steps
    with pytest.raises(NotFoundError, match="job 0 has no output"):
        engine.builds.outputs.get(0)
