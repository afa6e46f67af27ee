"""A caller travels with the request's work, and not with what goes on after it."""

import asyncio

import pytest

from cgagent.engine.access.asking import asking, current
from cgagent.engine.access.caller import Caller
from cgagent.engine.access.judge import Judge
from cgagent.engine.access.policy import Rule
from cgagent.engine.jobs import Jobs
from cgagent.errors import DeniedError

SOMEBODY = Caller(via="token", name="x", scope="control")


def find(_):
    raise AssertionError("no container is asked for")


def test_it_goes_along_into_tasks_and_threads_and_ends_with_the_request():
    async def run():
        release = asyncio.Event()

        async def later():
            await release.wait()
            return current()

        with asking(SOMEBODY, Rule()) as request:
            assert await asyncio.create_task(asyncio.sleep(0, current())) is request
            assert await asyncio.to_thread(current) is request
            left = asyncio.create_task(later())
            await asyncio.sleep(0)
        release.set()
        assert await left is None
        assert current() is None

    asyncio.run(run())


def test_a_job_knows_its_caller_and_the_request_its_jobs():
    async def run():
        jobs = Jobs(judge=Judge(find, "/cgagent"))
        with asking(SOMEBODY, Rule()) as request:
            async with jobs.run("volume create", volume="v") as job:
                pass
        assert job.caller == "token x"
        assert request.jobs == [job]
        async with jobs.run("volume create", volume="v") as job:
            pass
        assert job.caller is None

    asyncio.run(run())


@pytest.mark.parametrize(
    ("rule", "name", "arguments"),
    [
        (Rule(allow="read"), "volume create", {"volume": "x"}),
        (Rule(allow="metrics"), "pull", {"image": "x"}),
        (Rule(), "some job that is made next year", {}),
        (Rule(), "check", {"repair": "true"}),
        (Rule(), "cgroup-set", {"cgroup": "/cgagent/x"}),
        (Rule(volumes=()), "volume remove", {"volume": "x"}),
    ],
)
def test_what_is_refused_has_not_begun(rule, name, arguments):
    ended = []

    async def run():
        jobs = Jobs(ended.append, judge=Judge(find, "/cgagent"))
        with asking(SOMEBODY, rule):
            async with jobs.run(name, **arguments):
                raise AssertionError("it has begun")

    with pytest.raises(DeniedError, match="token x may not do that"):
        asyncio.run(run())
    assert not ended
