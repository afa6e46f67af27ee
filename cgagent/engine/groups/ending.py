"""The end of all that runs in a group: killed, or stopped for a time, in which nothing starts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.errors import CgagentError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.groups.changes import GroupChanges
    from cgagent.engine.lifecycle import Lifecycle

log = logging.getLogger(__name__)

_KILL_TIMEOUT_S: Final = 10.0


class GroupEnding:
    def __init__(self, changes: GroupChanges, containers: Containers, lifecycle: Lifecycle) -> None:
        self._changes = changes
        self._groups = changes.groups
        self._directories = changes.directories
        self._containers = containers
        self._lifecycle = lifecycle

    async def kill(self, name: str) -> list[Container]:
        """SIGKILL everything that runs in it; no restart policy starts it again.

        Raises:
            DeadlineError: something does not end.
        """
        async with self._changes.of("group-kill", name) as group:
            running = [c for c in self._groups.members(name) if c.up]
            for container in running:
                await self._lifecycle.hold(container)
            kernel = self._directories.of(group)
            with contextlib.suppress(NotFoundError):
                await asyncio.to_thread(kernel.kill, _KILL_TIMEOUT_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILL_TIMEOUT_S):
                    for container in running:
                        await self._lifecycle.wait(container, "not-running")
            if group.frozen_since_ns:  # v1's freezer is thawed by a kill
                await asyncio.to_thread(kernel.freeze)
            self._groups.save(self._groups.find(name), "kill")
            return running

    async def stop_until(self, name: str, until_ns: int) -> None:
        """Stop all that runs in it, as a user would; nothing starts in it until `start_again`."""
        async with self._changes.of("group-stop", name) as group:
            running = [c for c in self._groups.members(name) if c.up]
            stopped = dict.fromkeys((*group.stopped, *(c.id for c in running)))
            # first: nothing starts meanwhile, and who comes next knows what was stopped
            kept = replace(group, stopped_until_ns=until_ns, stopped=tuple(stopped))
            self._groups.save(kept, "stop")
            await asyncio.gather(*map(self._lifecycle.stop, running))

    async def start_again(self, name: str) -> None:
        """What was stopped, wherever it is by now. What cannot start is told, and left ended.

        Raises:
            ConflictError: some of it is in another group in which nothing can start now.
        """
        async with self._changes.of("group-start", name) as group:
            open_ = replace(group, stopped_until_ns=None)
            self._groups.save(open_)
            there = (self._containers.get(id_) for id_ in group.stopped)
            ended = [c for c in there if c and c.record.outcome.status == "exited"]
            closed = {c.id for c in ended if self._groups.closed_above(c.record.cgroup_path)}
            await asyncio.gather(*(self._start(c) for c in ended if c.id not in closed))
            self._groups.save(replace(open_, stopped=tuple(closed)), None if closed else "start")
            if closed:
                raise ConflictError(
                    f"group {name}: {len(closed)} of its containers are in another group, in which "
                    "nothing can start now"
                )

    async def _start(self, container: Container) -> None:
        try:
            await self._lifecycle.start(container)
        except CgagentError as e:
            log.warning("container %s is not started again: %s", container.name, e.message)
