"""Removal: of all that is kept of a container. Nothing of it is left, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from cgagent.engine import jobs
from cgagent.errors import ConflictError, NoSpaceError

if TYPE_CHECKING:
    from cgagent.engine.containers.container import Container, Record
    from cgagent.engine.lifecycle.resources import Resources
    from cgagent.engine.lifecycle.shared import Shared
    from cgagent.engine.lifecycle.signals import Signals


class Removal:
    def __init__(self, shared: Shared, signals: Signals, resources: Resources) -> None:
        self._shared = shared
        self._resources = resources
        self._signals = signals

    async def remove(
        self, container: Container, *, force: bool = False, volumes: bool = False
    ) -> None:
        """Remove a container with its files, and with `volumes` those without a name.

        Raises:
            ConflictError: it runs and `force` was not given.
        """
        async with self._shared.jobs.run("remove", container=container.id):
            while not container.removed:
                if container.up and not force:
                    raise ConflictError(
                        f"container {container.name} is {container.record.outcome.status}; "
                        "stop it first or remove it with --force"
                    )
                if container.up:
                    await self._signals.hold(container)
                if container.running:
                    jobs.step("kill")
                    await self._signals.kill_and_wait(container)
                async with container.lock:
                    if not container.up:  # it may have been started meanwhile
                        await self.forget(container, volumes=volumes)

    async def forget(self, container: Container, *, volumes: bool = False) -> None:
        """Remove all that is kept of one that does not run; the lock is held by the caller."""
        if container.removed:
            return
        if self._shared.pool.is_ready(container.id):
            gone = ConflictError(f"container {container.name} was removed before it was started")
            await self._shared.pool.discard(container.id, gone)
        jobs.step("files")
        # its files first: on a full disk the database can change only when they are gone
        await asyncio.to_thread(self._resources.release, container.record)
        await self._resources.removed(container, volumes=volumes)
        jobs.step("record")
        self._drop(container, container.record)

    async def remove_ended(
        self, container: Container, last: Record, *told: tuple[str, dict[str, str]]
    ) -> None:
        """One that has ended and removes itself: its record first, as nobody waits for its files.

        Its cgroup is gone. `told` are events of `last`, how it ended.
        """
        if container.removed:
            return
        await self._resources.removed(container, volumes=True)
        remove_files = partial(self._resources.release, container.record)
        try:
            self._drop(container, last, *told)
        except NoSpaceError:
            await asyncio.to_thread(remove_files)
            self._drop(container, last, *told)
        else:
            self._shared.leftovers.delete(f"container {container.name}", remove_files)

    def _drop(self, container: Container, last: Record, *told: tuple[str, dict[str, str]]) -> None:
        self._shared.secrets.pop(container.id, None)
        self._shared.containers.drop(container, last, *told, ("destroy", {}))
        self._resources.forgotten(container.id)
