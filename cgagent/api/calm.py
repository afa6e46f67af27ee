"""A log that a flood of errors of one kind does not fill."""

from __future__ import annotations

import logging
import time
from typing import Final

_PERIOD_S: Final = 60
_FIRST: Final = 20


class OnceAWhile(logging.Filter):
    """A filter that lets through so many warnings and errors a minute of one place of the code.

    The first one after that says how many were left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        place = record.pathname, record.lineno
        began, count = self._seen.get(place, (0.0, 0))
        now = time.monotonic()
        if now - began < _PERIOD_S:
            self._seen[place] = began, count + 1
            return count < _FIRST
        self._seen[place] = now, 1
        if count > _FIRST:
            record.msg = f"{record.getMessage()} ({count - _FIRST} more like it were left out)"
            record.args = ()
        return True
