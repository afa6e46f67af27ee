"""timerfd(2), which Python has from 3.13 on: a descriptor that is readable after a while."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Final

_CLOCK_MONOTONIC: Final = 1
_BILLION: Final = 10**9


class Timer:
    """One that is not set. Its maker closes it.

    Raises:
        OSError: no descriptors are left.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        flags = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK and TFD_CLOEXEC have their values
        self.fd: Final[int] = self._checked(self._libc.timerfd_create(_CLOCK_MONOTONIC, flags))

    def set(self, after_s: float) -> None:
        """Readable once, after so long from now; what was set before is forgotten."""
        seconds, rest = divmod(max(round(after_s * _BILLION), 1), _BILLION)
        value = (ctypes.c_long * 4)(0, 0, seconds, rest)  # struct itimerspec: interval, value
        self._checked(self._libc.timerfd_settime(self.fd, 0, value, None))

    def read(self) -> None:
        """It is not readable any more."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 8)

    def close(self) -> None:
        os.close(self.fd)

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), "timerfd")
        return int(result)
