from __future__ import annotations

import asyncio
import logging
import time

from cgagent.loopwatch import LoopWatch


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
