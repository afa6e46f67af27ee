"""How long the agent's event loop is busy in one go, in which time nobody else is answered.

A selector sees it: from its return with what is ready to the next call it was all callbacks. That
costs a clock's reading twice a turn, and no thread. There is one for the process, which has one
such loop. What is done in a context with `URGENT` goes before all else that is ready in it.
"""

from __future__ import annotations

import asyncio
import logging
import selectors
import time
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from selectors import SelectorKey

log = logging.getLogger(__name__)

URGENT: Final[ContextVar[bool]] = ContextVar("urgent", default=False)
"""Work, and all the tasks it begins, that waits for nothing but the callback which is running."""

_PERIOD_S: Final = 60.0
_LONG_S: Final = 0.1
_MOST_READY: Final = 24
"""So many descriptors are looked after in one turn: a crowd that comes at once is no long turn."""


class LoopWatch:
    """The longest turn of the last minute or two, and a line in the log for each of over 100 ms."""

    def __init__(self) -> None:
        self._longest = [0.0, 0.0]
        """Of this period and the last."""
        self._period_ends_s = 0.0
        self._doing = ""

    def loop(self) -> asyncio.AbstractEventLoop:
        return _Loop(_Selector(self))

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


class _Loop(asyncio.SelectorEventLoop):
    """Of all callbacks that are ready the urgent ones come first, in their order.

    Asyncio has one queue for all, to which whatever is called soon comes by `_call_soon`. An urgent
    callback has a place before the others', in which the first urgent one is run.
    """

    _ready: deque[asyncio.Handle]

    def __init__(self, selector: selectors.BaseSelector) -> None:
        super().__init__(selector)
        self._urgent: deque[asyncio.Handle] = deque()

    def _call_soon(
        self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if URGENT.get() if context is None else context.get(URGENT, False):
            self._urgent.append(handle)
            self._ready.appendleft(asyncio.Handle(self._run_urgent, (), self))
        else:
            self._ready.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As asyncio's, which since Python 3.14 has another way to the queue."""
        self._check_closed()  # type: ignore[attr-defined]
        handle = self._call_soon(callback, args, context)
        self._write_to_self()  # type: ignore[attr-defined]
        return handle

    def _run_urgent(self) -> None:
        handle = self._urgent.popleft()
        if not handle.cancelled():
            handle._run()  # noqa: SLF001 - as the loop does


class _Selector(selectors.EpollSelector):
    def __init__(self, watch: LoopWatch) -> None:
        super().__init__()
        self._watch = watch
        self._returned_s = 0.0
        self._first = 0

    def _some(self, ready: list[tuple[SelectorKey, int]]) -> list[tuple[SelectorKey, int]]:
        """A few of the descriptors that are ready, each time others; the rest stay ready."""
        if len(ready) <= _MOST_READY:
            return ready
        self._first = (self._first + _MOST_READY) % len(ready)
        return (ready[self._first :] + ready[: self._first])[:_MOST_READY]

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        if self._returned_s:
            now_s = time.monotonic()
            self._watch.turn(now_s, now_s - self._returned_s)
        ready = self._some(super().select(timeout))
        self._returned_s = time.monotonic()
        return ready


WATCH: Final = LoopWatch()
