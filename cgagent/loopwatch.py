"""How long the agent's event loop is busy in one go, in which time nobody else is answered.

A selector sees it: from its return with what is ready to the next call it was all callbacks. That
costs a clock's reading twice a turn, and no thread. There is one for the process, which has one
such loop.
"""

from __future__ import annotations

import asyncio
import logging
import selectors
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from selectors import SelectorKey

log = logging.getLogger(__name__)

_PERIOD_S: Final = 60.0
_LONG_S: Final = 0.1


class LoopWatch:
    """The longest turn of the last minute or two, and a line in the log for each of over 100 ms."""

    def __init__(self) -> None:
        self._longest = [0.0, 0.0]
        """Of this period and the last."""
        self._period_ends_s = 0.0
        self._doing = ""

    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(_Selector(self))

    def begins(self, what: str) -> None:
        """A request that is about to be answered: what a long turn is put down to."""
        self._doing = what

    def turn(self, now_s: float, took_s: float) -> None:
        if now_s >= self._period_ends_s:
            last = self._longest[0] if now_s < self._period_ends_s + _PERIOD_S else 0.0
            self._longest = [0.0, last]
            self._period_ends_s = now_s + _PERIOD_S
        self._longest[0] = max(self._longest[0], took_s)
        if took_s > _LONG_S:
            log.warning(
                "the event loop was busy for %.3f s in one go; the last request was %s",
                took_s,
                self._doing or "none",
            )

    def longest_s(self) -> float:
        return max(self._longest)


class _Selector(selectors.EpollSelector):
    def __init__(self, watch: LoopWatch) -> None:
        super().__init__()
        self._watch = watch
        self._returned_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        if self._returned_s:
            now_s = time.monotonic()
            self._watch.turn(now_s, now_s - self._returned_s)
        ready = super().select(timeout)
        self._returned_s = time.monotonic()
        return ready


WATCH: Final = LoopWatch()
