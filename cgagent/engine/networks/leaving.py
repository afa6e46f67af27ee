"""Links that are on their way out, with their addresses.

An address is free when nobody answers for it any more. The kernel removes the links of a namespace
that is gone by itself, some 30 ms later; what it has not removed by then is deleted.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_thread
from cgagent.errors import CgagentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cgagent.engine.networks.endpoint import Endpoint
    from cgagent.engine.networks.wiring import Wiring

log = logging.getLogger(__name__)

_LINK_DIES_S: Final = 0.05


class Leaving:
    def __init__(self, wiring: Callable[[], Wiring], gone: Callable[[Endpoint], None]) -> None:
        """`gone` is told of each place whose link is no more."""
        self._wiring = wiring
        self._gone = gone
        self._places: list[Endpoint] = []
        self._clearing: asyncio.Task[None] | None = None
        self._detaching = asyncio.Lock()

    def add(self, places: Iterable[Endpoint]) -> None:
        """They leave in a moment."""
        self._places += places
        if self._places and (self._clearing is None or self._clearing.done()):
            self._clearing = asyncio.get_running_loop().create_task(self._clear())

    async def _clear(self) -> None:
        while self._places:
            await asyncio.sleep(_LINK_DIES_S)
            await self.now()

    async def now(self) -> None:
        """All have left by the return, those that another caller has begun with too."""
        async with self._detaching:
            places, self._places = self._places, []
            names = [e.host_name or "" for e in places]
            try:
                await in_thread(lambda _: self._wiring().detach(*names))
            except CgagentError as e:  # the next agent sweeps them
                log.warning("links are left behind: %s", e.message)
            for endpoint in places:
                self._gone(endpoint)

    async def wait(self) -> None:
        """For those that leave just now."""
        if self._clearing is not None:
            await asyncio.wait([self._clearing])

    async def close(self) -> None:
        """Nothing is on its way out when this returns."""
        if self._clearing is not None:
            self._clearing.cancel()
            await asyncio.wait([self._clearing])
        if self._places:
            await self.now()
