import asyncio
import threading

import pytest

from cgagent.concurrency import in_thread


def test_a_cancellation_waits_for_the_thread():
    begun, may_end, events = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        may_end.wait(10)
        events.append("written")

    async def job():
        try:
            await in_thread(lambda _: work())
        except asyncio.CancelledError:
            events.append("undone")
            raise

    async def scenario():
        task = asyncio.create_task(job())
        await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        await asyncio.sleep(0.05)
        assert events == []
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert events == ["written", "undone"]

    asyncio.run(scenario())


def test_results_and_errors_come_through():
    assert asyncio.run(in_thread(lambda _: divmod(7, 2))) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_thread(lambda _: divmod(7, 0)))
