"""The event loop of a small process: descriptors and what to call when they are ready."""

from __future__ import annotations

import select
import selectors
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


HANGUP: Final = 4
"""Beside the events of `selectors`, or alone: the other end is gone. epoll always tells of it."""


class Loop:
    """epoll with callbacks. One thread; a callback may watch and forget freely."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[int, Callable[[], None]]] = {}
        self._timers: list[tuple[float, Callable[[], None]]] = []

    @property
    def watched(self) -> int:
        """How many descriptors are watched."""
        return len(self._watched)

    def close(self) -> None:
        self._epoll.close()
        self._watched.clear()

    def renew(self) -> None:
        """After a fork: the parent's epoll is ours too, and must not be."""
        self._epoll.close()
        self._epoll = select.epoll()
        for fd, (events, _) in self._watched.items():
            self._epoll.register(fd, _mask(events))

    def watch(self, fd: int, events: int, callback: Callable[[], None]) -> None:
        """Call back whenever `fd` is ready for `events`; 0 events: not for now.

        As long as a descriptor is watched it keeps its first callback.
        """
        known = self._watched.get(fd)
        if not events:
            self.forget(fd)
        elif known is None:
            self._epoll.register(fd, _mask(events))
            self._watched[fd] = (events, callback)
        elif known[0] != events:
            self._epoll.modify(fd, _mask(events))
            self._watched[fd] = (events, known[1])

    def forget(self, fd: int) -> None:
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call back once, so much later or somewhat after that."""
        self._timers.append((time.monotonic() + seconds, callback))

    def run_once(self, timeout_s: float | None) -> None:
        if self._timers:
            left_s = max(0.0, min(due for due, _ in self._timers) - time.monotonic())
            timeout_s = left_s if timeout_s is None else min(left_s, timeout_s)
        ready = [(fd, self._watched[fd]) for fd, _ in self._epoll.poll(timeout_s)]
        for fd, entry in ready:
            # an earlier callback of this round may have closed it
            if self._watched.get(fd) is entry:
                entry[1]()
        self._run_timers()

    def _run_timers(self) -> None:
        if not self._timers:
            return
        now = time.monotonic()
        for timer in [timer for timer in self._timers if timer[0] <= now]:
            self._timers.remove(timer)  # each by itself: a callback may raise
            timer[1]()


def _mask(events: int) -> int:
    reading = select.EPOLLIN if events & selectors.EVENT_READ else 0
    return reading | (select.EPOLLOUT if events & selectors.EVENT_WRITE else 0)
