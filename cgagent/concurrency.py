"""How blocking work meets the event loop: one holder per key, threads told to stop.

Asyncio's few threads are for work of this machine. What waits for other machines has threads of its
own, since a registry that does not answer would take all of them; so has what must not wait for any
other work.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from concurrent.futures import Executor

T = TypeVar("T")

_WAITING: Final = ThreadPoolExecutor(64, "waiting")
_URGENT_THREADS: Final = ThreadPoolExecutor(16, "urgent")


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


async def in_thread(work: Callable[[threading.Event], T], threads: Executor | None = None) -> T:
    """Runs `work` in a thread, one of the loop's own if not of `threads`.

    When cancelled, it sets the event and waits until `work` has cleaned up and returned, so that
    cancellation never leaves it running.
    """
    stop = threading.Event()
    return await to_its_end(_called(work, stop, threads), stop.set)


async def _called(
    work: Callable[[threading.Event], T], stop: threading.Event, threads: Executor | None
) -> T:
    call = partial(contextvars.copy_context().run, work, stop)
    return await asyncio.get_running_loop().run_in_executor(threads, call)


async def in_waiting_thread(work: Callable[[threading.Event], T]) -> T:
    """Runs `work` as `in_thread` does, in threads for what waits for other machines."""
    return await in_thread(work, _WAITING)


async def in_urgent_thread(work: Callable[[], T]) -> T:
    """Runs `work` to its end as `in_thread` does, though all other threads may be busy.

    The loop goes on with whoever waits for it before all else, if that is urgent.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def call() -> None:
        try:
            found = work()
        except BaseException as e:  # noqa: BLE001 - it is told to who waits
            tell = partial(ended.set_exception, e)
        else:
            tell = partial(ended.set_result, found)
        loop.call_soon_threadsafe(tell, context=context)

    async def called() -> T:
        _URGENT_THREADS.submit(contextvars.copy_context().run, call)
        return await ended

    return await to_its_end(called())


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
