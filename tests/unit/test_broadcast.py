"""What is told to many: in order, in slices, and not without end to who does not listen."""

import asyncio
import contextvars

import pytest

from cgagent.broadcast import _AT_ONCE, BehindError, Broadcast
from cgagent.loopwatch import URGENT, LoopWatch

pytestmark = pytest.mark.anyio


async def test_each_listener_hears_all_from_when_it_began_to_listen():
    told = Broadcast(8)
    told.tell("before")
    with told.listen() as one, told.listen() as two:
        told.tell("a")
        assert await one.next() == ["a"]
        told.tell("b")
        assert await one.next() == ["b"]
        assert await two.next() == ["a", "b"]
        assert len(told) == 2
    assert len(told) == 0


async def test_a_few_are_woken_in_each_turn():
    told = Broadcast(8)
    woken = []

    async def listen(number):
        with told.listen() as listener:
            await listener.next()
            woken.append(number)

    many = 5 * _AT_ONCE
    tasks = [asyncio.create_task(listen(n)) for n in range(many)]
    await asyncio.sleep(0)
    told.tell("now")
    counts = []
    while len(woken) < many:
        counts.append(len(woken))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert woken == list(range(many))
    assert max(b - a for a, b in zip(counts, [*counts[1:], many], strict=True)) <= _AT_ONCE


async def test_what_is_told_while_others_are_woken_comes_to_all():
    told = Broadcast(8)
    heard = []

    async def listen():
        with told.listen() as listener:
            found = []
            while len(found) < 3:
                found += await listener.next()
            heard.append(found)

    tasks = [asyncio.create_task(listen()) for _ in range(3 * _AT_ONCE)]
    await asyncio.sleep(0)
    for value in "abc":
        told.tell(value)
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*tasks), 10)
    assert heard == [["a", "b", "c"]] * 3 * _AT_ONCE


async def test_who_is_too_far_behind_is_told_so_once():
    told = Broadcast(4)
    missed = []
    with told.listen(missed.append) as listener:
        for value in range(40):
            told.tell(value)
        assert len(missed) == 1  # without having asked
        with pytest.raises(BehindError):
            await listener.next()
    assert len(missed) == 1


async def test_the_latest_value_is_enough_for_some():
    told = Broadcast(1)
    with told.listen() as listener:
        for value in range(5):
            told.tell(value)
        assert await listener.latest() == 4
        waiting = asyncio.create_task(listener.latest())
        await asyncio.sleep(0)
        assert not waiting.done()
        told.tell(5)
        assert await waiting == 5


async def test_who_has_stopped_waiting_is_passed_over():
    told = Broadcast(4)
    with told.listen() as listener:
        waiting = asyncio.create_task(listener.next())
        await asyncio.sleep(0)
        waiting.cancel()
        told.tell("a")
        assert await listener.next() == ["a"]


async def test_who_stops_to_listen_leaves_nothing():
    told = Broadcast(8)

    async def listen():
        with told.listen() as listener:
            await listener.next()

    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(listen(), 0.001)
    assert not told._waiting


def test_urgent_work_that_tells_wakes_a_few_in_each_turn():
    woken = []

    async def main():
        told = Broadcast(8)

        async def listen(number):
            with told.listen() as listener:
                await listener.next()
                woken.append(number)

        tasks = [asyncio.create_task(listen(n)) for n in range(20 * _AT_ONCE)]
        await asyncio.sleep(0)
        context = contextvars.copy_context()
        context.run(URGENT.set, True)
        context.run(told.tell, "frozen")
        for _ in range(3):  # what is usual comes between them
            await asyncio.sleep(0)
        assert len(woken) <= 3 * _AT_ONCE
        await asyncio.gather(*tasks)

    with asyncio.Runner(loop_factory=LoopWatch().loop) as runner:
        runner.run(main())
    assert len(woken) == 20 * _AT_ONCE
