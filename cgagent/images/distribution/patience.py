"""How long something is tried again: only failures without progress count.

A registry that is away is waited for `PATIENCE_S`, one that asks to be left alone as long as it
asks, up to `MAX_ASKED_S`.
"""

from __future__ import annotations

import random
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from cgagent.errors import UnavailableError
from cgagent.images.distribution.sockets import pause

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.errors import CgagentError

PATIENCE_S: Final = 30.0
MAX_ASKED_S: Final = 120.0
ENOUGH_BYTES: Final = 1 << 16
_FIRST_S: Final = 0.25
_LONGEST_S: Final = 8.0
_WORTH_TELLING_S: Final = 1.0


class TransientError(Exception):
    """Worth another attempt. `error` is raised after the last, `asked_s` what the registry asks."""

    def __init__(self, error: CgagentError, asked_s: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.asked_s = asked_s


class Patience:
    """Of one piece of work. `tell` is told of each wait, in whole seconds."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell
        self._random = random.SystemRandom()
        self.progressed()

    def moved(self, count: int) -> None:
        """So many bytes came before a failure. A few with each attempt are no progress."""
        if count >= ENOUGH_BYTES:
            self.progressed()

    def progressed(self) -> None:
        """Something was achieved: what failed before does not count any more."""
        self._since_s = time.monotonic()
        self._failures = 0
        self._asked_s = 0.0

    def wait(self, failure: TransientError) -> None:
        """Until it is time for another attempt.

        Raises:
            CgagentError: there was enough of them.
            StoppedError
        """
        delay_s = self._delay_s(failure)
        if delay_s >= _WORTH_TELLING_S:
            self._tell(round(delay_s))
        pause(delay_s)

    def _delay_s(self, failure: TransientError) -> float:
        if failure.asked_s is not None:
            self._asked_s += failure.asked_s
            if self._asked_s > MAX_ASKED_S:
                raise UnavailableError(
                    f"{failure.error.message}, and it asks to wait {failure.asked_s:.0f} s, which "
                    "is longer than cgagent does"
                ) from failure
            return failure.asked_s
        waited_s = time.monotonic() - self._since_s - self._asked_s
        longest_s = min(_LONGEST_S, _FIRST_S * float(1 << min(self._failures, 10)))
        self._failures += 1
        delay_s = longest_s * self._random.uniform(0.5, 1)
        if waited_s + delay_s > PATIENCE_S:
            raise failure.error from failure.__cause__
        return delay_s


def asked_seconds(text: str | None) -> float | None:
    """Of a header Retry-After, which has seconds or a date; None: it says nothing."""
    if not text:
        return None
    if text.strip().isdecimal():
        return float(text.strip()[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
