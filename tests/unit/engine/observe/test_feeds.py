"""Figures that several follow: read once for all, as long as there is anybody."""

import asyncio
from contextlib import aclosing

import pytest

from cgagent.engine.observe.feeds import Feeds
from cgagent.errors import ConflictError

pytestmark = pytest.mark.anyio


class Read:
    def __init__(self, most=10**6):
        self.count = 0
        self.most = most

    def __call__(self):
        if self.count == self.most:
            raise ConflictError("it has ended")
        self.count += 1
        return b"%d" % self.count


async def test_one_reading_for_all_who_follow():
    feeds, read = Feeds(0.02), Read()
    async with aclosing(feeds.follow("a", read)) as one, aclosing(feeds.follow("a", read)) as two:
        for number in range(1, 4):
            assert await anext(one) == await anext(two) == b"%d" % number
        assert read.count == 3
    await asyncio.sleep(0.1)
    assert read.count <= 4  # nobody follows


async def test_who_comes_later_has_the_last_figures_at_once():
    feeds, read = Feeds(60), Read()
    async with aclosing(feeds.follow("a", read)) as one:
        assert await anext(one) == b"1"
        async with aclosing(feeds.follow("a", read)) as two:
            assert await asyncio.wait_for(anext(two), 1) == b"1"


async def test_all_end_when_there_is_no_more_and_another_may_begin_anew():
    feeds, read = Feeds(0.01), Read(3)
    told = await asyncio.gather(*(_all(feeds, read) for _ in range(3)))
    assert told[0][-1] == told[1][-1] == told[2][-1] == b"3"
    again = Read(1)
    assert await _all(feeds, again) == [b"1"]


async def _all(feeds, read):
    async with aclosing(feeds.follow("a", read)) as stream:
        return [figures async for figures in stream]


async def test_a_defect_ends_it_and_is_told(caplog):
    def broken():
        raise ValueError("no figures")

    assert await _all(Feeds(0.01), broken) == []
    assert "no figures" in caplog.text
