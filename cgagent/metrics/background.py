"""A thread that works until it is told to stop; its owner starts and stops it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Background:
    """`work` waits by `wait` and ends when that says so. A daemon: it holds no process up."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._name = name
        self._work = work
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when it has ended; fine if it was not started."""
        self._stopping.set()
        if self._thread:
            self._thread.join()
            self._thread = None

    def wait(self, seconds: float) -> bool:
        """Whether it is to end, after so long at most."""
        return self._stopping.wait(seconds)

    def is_stopping(self) -> bool:
        return self._stopping.is_set()
