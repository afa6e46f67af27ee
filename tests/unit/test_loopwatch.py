from __future__ import annotations

import asyncio
import contextvars
import logging
import time

import pytest

from cgagent.concurrency import in_urgent_thread
from cgagent.loopwatch import URGENT, LoopWatch


def test_the_longest_turn_is_seen_and_told(caplog):
    watch = LoopWatch()

    async def work():
        await asyncio.sleep(0.01)
        watch.begins("GET '/slow'")
        time.sleep(0.15)  # noqa: ASYNC251 - what is looked for
        await asyncio.sleep(0.01)

    with caplog.at_level(logging.WARNING), asyncio.Runner(loop_factory=watch.loop) as runner:
        runner.run(work())
    assert watch.longest_s() >= 0.15
    assert "in one go; the last request was GET '/slow'" in caplog.text


def test_what_was_long_ago_is_forgotten():
    watch = LoopWatch()
    watch.turn(1000.0, 0.05)
    watch.turn(1030.0, 0.01)
    assert watch.longest_s() == 0.05
    watch.turn(1061.0, 0.02)
    assert watch.longest_s() == 0.05  # of the period before
    watch.turn(1122.0, 0.01)
    assert watch.longest_s() == 0.02
    watch.turn(2000.0, 0.01)
    assert watch.longest_s() == 0.01


def test_urgent_work_goes_before_all_that_is_ready():
    order = []

    async def work(name):
        for _ in range(3):
            order.append(name)
            await asyncio.sleep(0)

    async def urgent():
        await asyncio.gather(work("urgent"), work("urgent, too"))
        order.append(await in_urgent_thread(lambda: "thread"))

    async def main():
        tasks = [asyncio.create_task(work("usual")) for _ in range(4)]
        context = contextvars.copy_context()
        context.run(URGENT.set, True)
        tasks.append(asyncio.create_task(urgent(), context=context))
        await asyncio.gather(*tasks)

    with asyncio.Runner(loop_factory=LoopWatch().loop) as runner:
        runner.run(main())
    assert order[:6] == ["urgent", "urgent, too"] * 3
    assert order.count("usual") == 12
    assert "thread" in order


def test_an_error_in_an_urgent_thread_is_raised_and_a_cancelled_callback_not_run():
    async def main():
        with pytest.raises(ZeroDivisionError):
            await in_urgent_thread(lambda: 1 / 0)
        context = contextvars.copy_context()
        context.run(URGENT.set, True)
        called = []
        asyncio.get_running_loop().call_soon(called.append, 1, context=context).cancel()
        asyncio.get_running_loop().call_soon(called.append, 2, context=context)
        await asyncio.sleep(0)
        assert called == [2]

    with asyncio.Runner(loop_factory=LoopWatch().loop) as runner:
        runner.run(main())


def test_a_thread_reaches_the_loop_by_the_way_that_urgent_work_has():
    """Whatever asyncio of this Python does."""
    loop = LoopWatch().loop()
    context = contextvars.copy_context()
    context.run(URGENT.set, True)
    loop.call_soon_threadsafe(int)
    loop.call_soon_threadsafe(int, context=context)
    assert len(loop._urgent) == 1
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon_threadsafe(int)
