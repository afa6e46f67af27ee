"""Compressing what has been rotated away of containers' logs: Docker's log option ``compress``.

The supervisor only renames files: what takes long is done here, in a thread, one after another.
What the agent was away for, the next one finds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_thread
from cgagent.engine.options.logging import compresses
from cgagent.runtime.logs import files as logfiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers

log = logging.getLogger(__name__)

_LOOK_S: Final = 1.0
_FAILED_S: Final = 60.0


class LogCompression:
    """Made, started and closed by the engine, in whose event loop it lives."""

    def __init__(self, containers: Containers, log_path: Callable[[str], Path]) -> None:
        self._containers = containers
        self._log_path = log_path
        self._done: dict[str, int | None] = {}  # by id, when the run ended that has been seen to
        self._not_before: dict[str, float] = {}
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        """A file that is being compressed stays as it was."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            for container in self._containers:
                if self._is_due(container):
                    await self._compress(container)
            known = {c.id for c in self._containers}
            self._done = {i: at for i, at in self._done.items() if i in known}
            self._not_before = {i: at for i, at in self._not_before.items() if i in known}

    def _is_due(self, container: Container) -> bool:
        if not compresses(container.record.resolved.log):
            return False
        if self._not_before.get(container.id, 0.0) > time.monotonic():
            return False
        finished_ns = container.record.outcome.finished_ns
        return container.running or self._done.get(container.id, -1) != finished_ns

    async def _compress(self, container: Container) -> None:
        finished_ns = None if container.running else container.record.outcome.finished_ns
        try:
            path = str(self._log_path(container.id))
            await in_thread(lambda stop: logfiles.compress(path, stop.is_set))
            self._done[container.id] = finished_ns
        except OSError as e:
            self._not_before[container.id] = time.monotonic() + _FAILED_S
            if not container.removed:
                log.warning("container %s: its log is not compressed: %s", container.name, e)
