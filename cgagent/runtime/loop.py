"""The supervisor's event loop: descriptors and what to call when they are ready."""

from __future__ import annotations

import selectors
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Loop:
    """epoll with callbacks. One thread; a callback may watch and forget freely."""

    def __init__(self) -> None:
        self._selector = selectors.EpollSelector()

    @property
    def watched(self) -> int:
        """How many descriptors are watched."""
        return len(self._selector.get_map())

    def watch(self, fd: int, events: int, callback: Callable[[], None]) -> None:
        """Call back whenever `fd` is ready for `events`; 0 events: not for now.

        As long as a descriptor is watched it keeps its first callback.
        """
        known = self._selector.get_map().get(fd)
        if not events:
            self.forget(fd)
        elif known is None:
            self._selector.register(fd, events, callback)
        elif known.events != events:
            self._selector.modify(fd, events, known.data)

    def forget(self, fd: int) -> None:
        if self._selector.get_map().get(fd) is not None:
            self._selector.unregister(fd)

    def run_once(self, timeout_s: float | None) -> None:
        for key, _ in self._selector.select(timeout_s):
            # an earlier callback of this round may have closed it
            if self._selector.get_map().get(key.fd) is key:
                key.data()
