"""Wrong tokens are counted by address: who has sent many is not listened to for a while.

A token that was right once since the agent's start is never kept waiting, so that nobody on the
same address can shut out who is in already.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from cgagent.errors import UnauthenticatedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.access import Caller

_MOST: Final = 20
_PERIOD_S: Final = 60.0
_ADDRESSES: Final = 1000
_PROVED: Final = 1000


class Attempts:
    """In front of `find`, which tells whose a token is; belongs to one event loop."""

    def __init__(
        self, find: Callable[[str, str], Caller], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._find = find
        self._clock = clock
        self._wrong: dict[str, deque[float]] = {}
        self._proved: dict[bytes, None] = {}

    def caller(self, token: str, address: str) -> Caller:
        """Whose the token is.

        Raises:
            UnauthenticatedError: it is none that is taken, or too many were wrong.
        """
        key = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        if key not in self._proved:
            self._refuse_if_many(address)
        try:
            found = self._find(token, address)
        except UnauthenticatedError:
            self._proved.pop(key, None)
            self._note_wrong(address)
            raise
        self._proved[key] = None
        if len(self._proved) > _PROVED:
            del self._proved[next(iter(self._proved))]
        return found

    def _refuse_if_many(self, address: str) -> None:
        times = self._wrong.get(address)
        if times is None:
            return
        now = self._clock()
        while times and times[0] <= now - _PERIOD_S:
            times.popleft()
        if len(times) >= _MOST:
            wait_s = round(times[0] + _PERIOD_S - now) + 1
            raise UnauthenticatedError(
                f"address {address} has sent {_MOST} wrong tokens in a minute; try again in "
                f"{wait_s} s"
            )

    def _note_wrong(self, address: str) -> None:
        times = self._wrong.pop(address, None) or deque(maxlen=_MOST)
        times.append(self._clock())
        self._wrong[address] = times  # the last that was heard of
        if len(self._wrong) > _ADDRESSES:
            del self._wrong[next(iter(self._wrong))]
