"""Things that end after a time, all after the same: no timer runs while there are none."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.kernel.loop import Loop

T = TypeVar("T")


class Deadlines(Generic[T]):
    """`expire` is called with each that was not stopped in time; it is stopped by then."""

    def __init__(self, loop: Loop, seconds: float, expire: Callable[[T], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._expire = expire
        self._due: OrderedDict[T, float] = OrderedDict()
        self._is_armed = False

    def __len__(self) -> int:
        return len(self._due)

    def oldest(self) -> T | None:
        return next(iter(self._due), None)

    def start(self, item: T) -> None:
        """Its time begins, or begins anew."""
        self._due[item] = time.monotonic() + self._seconds
        self._due.move_to_end(item)
        self._arm()

    def stop(self, item: T) -> None:
        self._due.pop(item, None)

    def _arm(self) -> None:
        if self._due and not self._is_armed:
            self._is_armed = True
            first = next(iter(self._due.values()))
            self._loop.after(max(0.0, first - time.monotonic()), self._look)

    def _look(self) -> None:
        self._is_armed = False
        now = time.monotonic()
        try:
            while self._due and next(iter(self._due.values())) <= now:
                item, _ = self._due.popitem(last=False)
                self._expire(item)
        finally:
            self._arm()
