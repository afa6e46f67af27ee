import asyncio
from itertools import pairwise

import pytest

from cgagent.engine.jobs import KEPT, Jobs, step
from cgagent.errors import ConflictError, NotFoundError


@pytest.fixture
def observed():
    return []


@pytest.fixture
def jobs(observed):
    return Jobs(lambda job: observed.append((job.name, job.status, job.duration_s >= 0)))


async def done(jobs, name="x", **arguments):
    async with jobs.run(name, **arguments):
        pass


def test_a_job_runs_and_is_done(jobs, observed):
    async def scenario():
        async with jobs.run("pull", image="alpine") as job:
            assert jobs.all() == [job]
            assert (job.status, job.duration_s) == ("running", None)
            job.progress = "half"
        assert jobs.get(job.id) is job
        assert (job.status, job.arguments) == ("done", {"image": "alpine"})
        assert job.duration_s >= 0

    asyncio.run(scenario())
    assert observed == [("pull", "done", True)]


def test_who_follows_is_told_of_what_changes_and_never_the_same_twice(jobs):
    async def scenario():
        with jobs.followed() as changes:
            async with jobs.run("pull") as job:
                assert await changes.next() == [job]
                for count in range(9):
                    await asyncio.to_thread(job.tell, f"layer {count}")
                assert await changes.next() == [job]
                assert job.progress == "layer 8"
            assert await changes.next() == [job]
            assert job.status == "done"
        await done(jobs)
        await asyncio.sleep(0)
        assert changes._changed == {}

    asyncio.run(scenario())


def test_who_follows_and_does_not_look_is_hung_up_on_and_keeps_nothing(jobs):
    async def scenario():
        hung_up = []
        with jobs.followed(lambda: hung_up.append(True)) as changes:
            for _ in range(10):
                for _ in range(500):
                    async with jobs.run("pull"):
                        pass
                await asyncio.sleep(0)
            assert hung_up == [True]
            assert changes._changed == {}

    asyncio.run(scenario())


def test_steps_follow_each_other_to_the_end(jobs):
    async def scenario():
        step("of no job")
        async with jobs.run("outer") as outer:
            step("first")
            await asyncio.to_thread(step, "second")
            async with jobs.run("inner") as inner:
                step("third")
            step("fourth")
        assert [s.name for s in outer.steps] == ["first", "second", "fourth"]
        assert [s.name for s in inner.steps] == ["third"]
        for earlier, later in pairwise(outer.steps):
            assert earlier.started_at + earlier.duration_s == pytest.approx(later.started_at)
        last = outer.steps[-1]
        ends = last.started_at + last.duration_s
        assert ends == pytest.approx(outer.started_at + outer.duration_s)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "shown"),
    [(ConflictError("it is so"), "it is so"), (ValueError("odd"), "ValueError: odd")],
)
def test_a_failure_is_kept_and_goes_on_up(jobs, observed, error, shown):
    async def scenario():
        with pytest.raises(type(error)):
            async with jobs.run("start"):
                raise error

    asyncio.run(scenario())
    (job,) = jobs.all()
    assert (job.status, job.error) == ("failed", shown)
    assert observed == [("start", "failed", True)]


def test_a_running_job_can_be_cancelled_once(jobs, observed):
    async def scenario():
        async def long():
            async with jobs.run("pull"):
                await asyncio.sleep(60)

        task = asyncio.create_task(long())
        await asyncio.sleep(0)
        (job,) = jobs.all()
        jobs.cancel(job.id)
        with pytest.raises(ConflictError, match=r"job 1 \(pull\) was cancelled"):
            await task  # whoever waits for its answer gets one
        assert job.status == "cancelled"
        with pytest.raises(ConflictError, match="is cancelled: nothing to cancel"):
            jobs.cancel(job.id)

    asyncio.run(scenario())
    assert observed == [("pull", "cancelled", True)]


def test_the_last_finished_are_kept_newest_first(jobs):
    async def scenario():
        for number in range(KEPT + 3):
            await done(jobs, n=str(number))

    asyncio.run(scenario())
    assert [j.arguments["n"] for j in jobs.all()][:2] == [str(KEPT + 2), str(KEPT + 1)]
    assert len(jobs.all()) == KEPT
    with pytest.raises(NotFoundError, match="job 1 is not known"):
        jobs.get(1)
