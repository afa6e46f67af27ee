"""Figures that many may follow: made once at each sample, however many there are.

A feed is there as long as somebody follows it, and a task of it as well.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from cgagent.broadcast import Broadcast
from cgagent.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Hashable

log = logging.getLogger(__name__)

_END = b""


class Feeds:
    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._feeds: dict[Hashable, _Feed] = {}

    async def follow(self, key: Hashable, read: Callable[[], bytes]) -> AsyncGenerator[bytes]:
        """What `read` finds at each sample, until it raises ConflictError: there is no more.

        It is called in a thread. The same `key` means the same figures.
        """
        feed = self._feeds.get(key)
        if feed is None or feed.has_ended:
            feed = self._feeds[key] = _Feed(read, self._interval_s)
        with feed.told.listen() as listener:
            try:
                figures = feed.last or await listener.latest()
                while figures != _END:
                    yield figures
                    figures = await listener.latest()
            finally:
                if len(feed.told) == 1:  # nobody but this one
                    feed.task.cancel()
                    if self._feeds.get(key) is feed:
                        del self._feeds[key]


class _Feed:
    def __init__(self, read: Callable[[], bytes], interval_s: float) -> None:
        self._read = read
        self._interval_s = interval_s
        self.told: Broadcast[bytes] = Broadcast(1)
        self.last = _END
        self.has_ended = False
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while True:
                self.last = await asyncio.to_thread(self._read)
                self.told.tell(self.last)
                await asyncio.sleep(self._interval_s)
        except ConflictError:
            pass
        except Exception:
            log.exception("figures that are followed cannot be had")
        finally:
            self.has_ended = True
            self.told.tell(_END)
