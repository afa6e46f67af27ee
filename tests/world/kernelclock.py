"""What the kernel counted when: a count of its own, read again and again beside a test."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_EACH_S = 0.05


class KernelClock:
    """`read` gives a count that only grows; kept with its time while it is entered."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._times: list[float] = []
        self._counts: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._note()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_EACH_S):
            self._note()

    def _note(self) -> None:
        count = self._read()
        self._times.append(time.time())
        self._counts.append(count)

    @property
    def began_s(self) -> float:
        return self._times[0]

    def reached_s(self, count: float) -> float:
        """When it first was so much, to the time between two readings."""
        return self._times[bisect_left(self._counts, count)]

    def at(self, time_s: float) -> float:
        """How much it was then."""
        return self._counts[min(bisect_left(self._times, time_s), len(self._counts) - 1)]
