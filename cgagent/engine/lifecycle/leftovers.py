"""Files of containers that are gone already, while they are being deleted.

A container that removes itself is gone for everybody once its record is: nobody waits for the disk.
Whoever needs the room, or looks at all there is, waits for it here. What an agent's death
interrupts is found by the next one's sweep, as it belongs to no container.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

_DELAY_S: Final = 0.02
_SCARCE: Final = 0.1
"""Of a disk. Where more is free, files are deleted sooner than others could be written."""


class Leftovers:
    def __init__(self) -> None:
        self._waiting: list[tuple[str, Callable[[], None]]] = []
        self._deleting: asyncio.Task[None] | None = None

    def delete(self, what: str, work: Callable[[], None]) -> None:
        """Do it in a thread, in a moment, one after another: whoever waits for the end comes first.

        `what` names it if it fails.
        """
        if not self._waiting:
            asyncio.get_running_loop().call_later(_DELAY_S, self._begin)
        self._waiting.append((what, work))

    def _begin(self) -> None:
        if self._waiting and self._deleting is None:
            self._deleting = asyncio.create_task(self._delete_all())

    async def _delete_all(self) -> None:
        while self._waiting:
            what, work = self._waiting.pop(0)
            try:
                await asyncio.to_thread(work)
            except Exception:
                log.exception("%s: its files are left behind until the next start", what)
        self._deleting = None

    async def make_room(self, path: Path) -> None:
        """Where the disk of `path` is nearly full, wait until they are gone."""
        if self._waiting or self._deleting is not None:
            disk = os.statvfs(path)
            if disk.f_bavail < disk.f_blocks * _SCARCE or disk.f_favail < disk.f_files * _SCARCE:
                await self.gone()

    async def gone(self) -> None:
        """When all that was to be deleted by now is."""
        self._begin()
        if self._deleting is not None:
            await asyncio.wait([self._deleting])
