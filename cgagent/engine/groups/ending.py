"""The end of all that runs in a group: killed, or stopped for a time, in which nothing starts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import to_its_end
from cgagent.errors import CgagentError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any

    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.groups.changes import GroupChanges
    from cgagent.engine.groups.group import Group
    from cgagent.engine.lifecycle import Lifecycle

log = logging.getLogger(__name__)

_KILL_TIMEOUT_S: Final = 10.0


def _may_start(container: Container) -> bool:  # noqa: ARG001 - of any
    """Nothing of its own keeps it from running."""
    return True


class GroupEnding:
    def __init__(self, changes: GroupChanges, containers: Containers, lifecycle: Lifecycle) -> None:
        self._changes = changes
        self._groups = changes.groups
        self._directories = changes.directories
        self._containers = containers
        self._lifecycle = lifecycle
        self.may_start: Callable[[Container], bool] = _may_start
        """Whether no budget of its own keeps a container stopped."""

    async def kill(self, name: str) -> list[Container]:
        """SIGKILL everything that runs in it; no restart policy starts it again.

        Raises:
            DeadlineError: something does not end.
        """
        async with self._changes.of("group-kill", name) as group:
            running = [c for c in self._groups.members(name) if c.up]
            for container in running:
                await self._lifecycle.hold(container)
            await self.kill_tasks(group.name)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILL_TIMEOUT_S):
                    for container in running:
                        await self._lifecycle.wait(container, "not-running")
            self._groups.save(self._groups.find(name), "kill")
            return running

    async def kill_tasks(self, name: str) -> None:
        """SIGKILL everything that runs in it; restart policies start what they are of again.

        Raises:
            DeadlineError: something does not end.
        """
        await to_its_end(self._kill_tasks(name))

    async def _kill_tasks(self, name: str) -> None:
        kernel = self._directories.of(self._groups.find(name))
        with contextlib.suppress(NotFoundError):
            await asyncio.to_thread(kernel.kill, _KILL_TIMEOUT_S)
            if self._groups.find(name).frozen_since_ns:  # v1's freezer is thawed by a kill
                await asyncio.to_thread(kernel.freeze)

    async def stop_until(self, name: str, until_ns: int) -> None:
        """Stop all that runs in it, as a user would; nothing starts in it until `start_again`.

        Raises:
            CgagentError: some of it does not stop; all else has, and nothing starts.
        """
        async with self._changes.of("group-stop", name) as group:
            running = [c for c in self._groups.members(name) if c.up]
            stopped = dict.fromkeys((*group.stopped, *(c.id for c in running)))
            until_ns = max(until_ns, group.stopped_until_ns or 0)  # another budget's may be later
            # first: nothing starts meanwhile, and who comes next knows what was stopped
            kept = replace(group, stopped_until_ns=until_ns, stopped=tuple(stopped))
            self._groups.save(kept, "stop")
        # Others may change it meanwhile: a kill, or a thaw, may be what its containers wait for.
        await _each_to_its_end(map(self._lifecycle.stop, running))

    async def start_again(self, name: str) -> None:
        """What was stopped, wherever it is by now. What cannot start is told, and left ended.

        Raises:
            ConflictError: some of it is in a group in which nothing can start now.
        """
        async with self._changes.of("group-start", name) as group:
            open_ = replace(group, stopped_until_ns=None)
            self._groups.save(open_)
            waiting = await self._start_all(group.stopped)
            left = tuple(container.id for container, _ in waiting)
            self._groups.save(replace(open_, stopped=left), None if left else "start")
        if waiting:
            container, closed = waiting[0]
            what = f"group {name}: container {container.name} is not started again yet"
            raise self._groups.refusal(closed, what)

    async def start_left(self, group: Group) -> None:
        """What was stopped with a group that has been removed, and had been moved out of it."""
        for container, closed in await self._start_all(group.stopped):
            what = f"container {container.name} is not started again"
            log.warning("%s", self._groups.refusal(closed, what).message)

    async def _start_all(self, ids: Iterable[str]) -> list[tuple[Container, Group]]:
        """Those of them that ended; the others, each with the group that it has to wait for."""
        there = (self._containers.get(id_) for id_ in ids)
        ended = [c for c in there if c and c.record.outcome.status == "exited"]
        closed = [(c, self._groups.closed_above(c.record.cgroup_path)) for c in ended]
        free = (c for c, group in closed if group is None and self.may_start(c))
        await _each_to_its_end(map(self._start, free))
        return [(c, group) for c, group in closed if group is not None]

    async def _start(self, container: Container) -> None:
        try:
            await self._lifecycle.start(container)
        except CgagentError as e:
            log.warning("container %s is not started again: %s", container.name, e.message)


async def _each_to_its_end(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All at once. The first failure is raised when nothing of them goes on any more."""
    for came_to in await asyncio.gather(*works, return_exceptions=True):
        if came_to is not None:
            raise came_to
