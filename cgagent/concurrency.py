"""How blocking work meets the event loop: one holder per key, threads told to stop.

Owns no thread: asyncio's default executor does.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

T = TypeVar("T")


class StoppedError(Exception):
    """Work in a thread saw that nobody waits for it any more. It never leaves `in_thread`."""


class KeyedLock:
    """A lock for each key in use; an unused key costs nothing."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(key) or (asyncio.Lock(), 0)
        self._locks[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = lock, users - 1


async def in_thread(work: Callable[[threading.Event], T]) -> T:
    """Runs `work` in a thread.

    When cancelled, it sets the event and waits until `work` has cleaned up and returned, so that
    cancellation never leaves it running.
    """
    stop = threading.Event()
    return await to_its_end(asyncio.to_thread(work, stop), stop.set)


async def to_its_end(work: Coroutine[Any, Any, T], stop: Callable[[], object] | None = None) -> T:
    """Waits for `work` even when cancelled, as often as that may be, after a call of `stop`."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if stop is not None:
            stop()
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue  # cancelled once more: the first one is re-raised below all the same
        task.exception()  # retrieved: whatever it was, the caller is gone
        raise
