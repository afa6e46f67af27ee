"""Freezes for a time: each is ended by itself, however often that is refused at first."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from cgagent.errors import CgagentError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

_AGAIN_S: Final = 10.0


class FreezeLeases:
    """One for each thing that is frozen, by a name for it."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        """How many have not ended."""
        return len(self._running)

    def arm(self, name: str, until_ns: int | None, thaw: Callable[[], Awaitable[None]]) -> None:
        """Call `thaw` at that time, and again while it raises; None: there is no end.

        It takes the place of an earlier one of that name. `thaw` looks by itself whether there is
        still something to do.
        """
        if until_ns is None:
            return
        lease = asyncio.create_task(_run(name, until_ns, thaw))
        earlier = self._running.get(name)
        if earlier is not None:
            earlier.cancel()
        self._running[name] = lease
        lease.add_done_callback(lambda done: self._done(name, done))

    def _done(self, name: str, lease: asyncio.Task[None]) -> None:
        if self._running.get(name) is lease:
            del self._running[name]

    def close(self) -> None:
        for lease in list(self._running.values()):
            lease.cancel()


async def _run(name: str, until_ns: int, thaw: Callable[[], Awaitable[None]]) -> None:
    await asyncio.sleep(max(0.0, (until_ns - time.time_ns()) / 1e9))
    while True:
        try:
            return await thaw()
        except CgagentError as e:
            log.info("%s: its freeze does not end yet: %s", name, e.message)
            await asyncio.sleep(_AGAIN_S)
