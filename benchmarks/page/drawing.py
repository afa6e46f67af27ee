"""Measures the browser with the page: first paint, frames while it scrolls, its heap in time.

Chromium without a window, as in the tests: everything is drawn by the CPU.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.page.standin import StandIn
from tests.world.browser import WIDE, Browser

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROW_PX: Final = 40
_USUAL_S: Final = 2.0
_SPEEDS: Final = (800, 3000, 12000)
"""Pixels a second: reading, looking for something, going to the end."""
_SCROLLED_S: Final = 6
_FRAME: Final = "DrawFrame"
_MADE: Final = "ProxyMain::BeginMainFrame"
_LATE_S: Final = 0.050
_ROUNDS_PER_S: Final = 25
_TAKEN_S: Final = 1.5
"""The page has taken by then what it was told."""


def _opened(browser: Browser, agent: StandIn) -> None:
    browser.open(f"{agent.url}/ui/", viewport=WIDE)
    browser.see("[role=row] >> text=service")


def first_picture(rows: int, times: int) -> None:
    """When something, and when the table, is there after the address was entered."""
    painted, filled = [], []
    with _browser() as browser, StandIn(rows, _USUAL_S) as agent:
        for _ in range(times + 1):
            _opened(browser, agent)
            painted.append(browser.tell("evaluate", _PAINTED))
            filled.append(browser.tell("evaluate", "performance.now()"))
    print(f"first paint with {rows} rows, of {times} times: median {_ms(painted[1:])}, ", end="")
    print(f"the first time {painted[0]:.0f} ms; rows seen after {_ms(filled[1:])} at the latest")


_PAINTED: Final = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def _ms(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ms"


def scrolling(rows: int) -> None:
    """Frames drawn, and those that the page's own thread makes, at several speeds."""
    with _browser() as browser, StandIn(rows, _USUAL_S) as agent:
        _opened(browser, agent)
        time.sleep(3)
        for speed in _SPEEDS:
            way = min(speed * _SCROLLED_S, rows * _ROW_PX - WIDE["height"])
            for direction in (-1, 1):
                gesture = {"x": 700, "y": 450, "yDistance": direction * way, "speed": speed}
                events = browser.tell("traced", "Input.synthesizeScrollGesture", gesture)
                if direction == -1:
                    print(f"{rows} rows, {speed:6d} px/s: {_of_trace(events)}", flush=True)


def _of_trace(events: list[dict[str, Any]]) -> str:
    frames = sorted(one["ts"] / 1e6 for one in events if one["name"] == _FRAME)
    made_ms = [one["tdur"] / 1e3 for one in events if one["name"] == _MADE and "tdur" in one]
    if len(frames) < 2 or len(made_ms) < 2:
        return f"no frames in {Counter(one['name'] for one in events)}"
    gaps = [after - before for before, after in pairwise(frames)]
    span_s = frames[-1] - frames[0]
    late = sum(gap > _LATE_S for gap in gaps)
    return (
        f"{len(gaps) / span_s:5.1f} frames/s drawn, p99 gap {_p99(gaps) * 1e3:.0f} ms, "
        f"longest {max(gaps) * 1e3:.0f} ms, {late} above 50 ms; "
        f"rows made {len(made_ms) / span_s:.1f} times/s, "
        f"with {statistics.median(made_ms):.1f} ms of CPU time, p99 {_p99(made_ms):.1f} ms"
    )


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98]


def memory(rows: int, rounds: int) -> None:
    """The page's heap after so many rounds of updates, with all garbage collected."""
    with _browser() as browser, StandIn(rows, 1 / _ROUNDS_PER_S) as agent:
        _opened(browser, agent)
        for part in range(6):
            while agent.rounds < part * rounds // 5:
                time.sleep(0.05)
            agent.is_paused = True
            time.sleep(_TAKEN_S)
            heap = browser.tell("heap")
            agent.is_paused = False
            print(
                f"{rows} rows, after {agent.rounds:4d} rounds: "
                f"{heap['usedSize'] / 2**20:.2f} MiB, {heap['nodes']} elements",
                flush=True,
            )


@contextmanager
def _browser() -> Iterator[Browser]:
    folder = tempfile.TemporaryDirectory(prefix="cgagent-page-")
    with folder as path, Browser(Path(path)) as browser:
        yield browser
