"""Children of the agent: how they ended is known, and said once, whenever they are killed."""

import asyncio
import logging
import subprocess
import sys
import time

import psutil
import pytest

from cgagent.engine import children


@pytest.fixture(params=["by pidfd", "by thread"])
def run(request):
    """Runs a coroutine as the agent does, or as asyncio does by itself."""

    async def by_pidfd(work):
        children.watch_by_pidfd()
        return await work

    def ran(work):
        if request.param == "by thread":
            return asyncio.run(work)
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            return runner.run(by_pidfd(work))

    yield ran
    if sys.version_info < (3, 12):
        asyncio.set_child_watcher(None)


async def told_no_json():
    """A child that ends with status 1 by itself, whose end the event loop has not seen yet."""
    child = await children.spawn(
        "json.tool", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 10
    while is_running(child.pid) and time.monotonic() < deadline:
        time.sleep(0.01)  # noqa: ASYNC251 -- the loop is to see nothing
    return child


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:  # reaped by a thread
        return False


def test_the_status_of_one_that_ends_as_it_is_killed(run, caplog):
    async def ended():
        child = await told_no_json()
        await children.end(child)
        return child.returncode

    caplog.set_level(logging.WARNING)
    assert run(ended()) == 1
    assert caplog.messages == []


def test_one_whose_start_is_cancelled_has_ended(run, caplog):
    async def cancelled():
        start = asyncio.create_task(children.spawn("json.tool", stdin=subprocess.PIPE))
        await asyncio.sleep(0)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start

    caplog.set_level(logging.WARNING)
    before = {c.pid for c in psutil.Process().children()}
    run(cancelled())
    assert caplog.messages == []
    assert {c.pid for c in psutil.Process().children()} == before
