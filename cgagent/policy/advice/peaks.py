"""The most that was used in each of the last windows of six hours, and how far that was foreseen.

Memory is not like CPU time: one peak above the limit ends a process. So what counts is not how
often much was used but the most that was, and how much more than ever before a window may bring.
The latter is measured: at the end of each window by how much it exceeded all those before it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

WINDOW_S: Final = 6 * 3600.0
WINDOWS: Final = 29
"""A week, and the window that is not over: what comes once a week is remembered."""


class Peaks:
    """Not to be shared between threads."""

    def __init__(self) -> None:
        self._peaks: deque[float] = deque(maxlen=WINDOWS)
        """The oldest first; the last window is not over."""
        self._excess: deque[float] = deque(maxlen=WINDOWS)
        """By which share each window that is over exceeded those before it; 0: it did not."""
        self._window: int | None = None

    def add(self, value: float, at_s: float) -> None:
        window = int(at_s // WINDOW_S)
        if self._window is None or window > self._window:
            self._begin(window)
        self._peaks[-1] = max(self._peaks[-1], value)

    def _begin(self, window: int) -> None:
        if self._window is not None:
            self._end()
            for _ in range(min(window - self._window - 1, WINDOWS)):  # nothing ran in them
                self._peaks.append(0.0)
                self._excess.append(0.0)
        self._peaks.append(0.0)
        self._window = window

    def _end(self) -> None:
        *earlier, last = self._peaks
        before = max(earlier, default=0.0)
        if before > 0:
            self._excess.append(max(last / before - 1, 0.0))

    @property
    def most(self) -> float | None:
        return max(self._peaks, default=None)

    @property
    def excess(self) -> float:
        """The largest of the last week."""
        return max(self._excess, default=0.0)

    @property
    def windows(self) -> int:
        """How many have been seen."""
        return len(self._peaks)

    def to_json(self) -> dict[str, Any]:
        return {
            "window": self._window,
            "peaks": [round(peak, 4) for peak in self._peaks],
            "excess": [round(excess, 4) for excess in self._excess],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        made = cls()
        made._window = value["window"]
        made._peaks.extend(value["peaks"])
        made._excess.extend(value["excess"])
        return made
