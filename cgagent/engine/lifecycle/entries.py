"""Commands on their way into a container, which a move to another cgroup must not come between.

A process of ``exec`` joins one hierarchy after the other by its path: halfway it would be in a
cgroup that goes. So a move waits for those that are on their way, and they wait for a move.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Final

from cgagent.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cgagent.engine.containers.container import Container

_PATIENCE_S: Final = 10.0


class Entries:
    """Of all containers; used in the event loop alone."""

    def __init__(self) -> None:
        self._entering: Counter[str] = Counter()
        self._closed: set[str] = set()
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def entering(self, container: Container) -> AsyncIterator[None]:
        """The body starts a command in it; it is begun when no move is under way."""
        async with self._changed:
            await self._changed.wait_for(lambda: container.id not in self._closed)
            self._entering[container.id] += 1
        try:
            yield
        finally:
            self._entering[container.id] -= 1
            self._entering += Counter()  # without those that are none
            await self._tell()

    @contextlib.asynccontextmanager
    async def closed(self, container: Container) -> AsyncIterator[None]:
        """Nothing comes into it during the body; its lock is held.

        Raises:
            ConflictError: a command that is being started in it takes too long.
        """
        self._closed.add(container.id)
        try:
            await self._until_nobody_enters(container)
            yield
        finally:
            self._closed.discard(container.id)
            await self._tell()

    async def _until_nobody_enters(self, container: Container) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S), self._changed:
                await self._changed.wait_for(lambda: not self._entering[container.id])
        except TimeoutError:
            raise ConflictError(
                f"container {container.name} cannot be moved: a command is being started in it for "
                f"{_PATIENCE_S:g} s; try again"
            ) from None

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
