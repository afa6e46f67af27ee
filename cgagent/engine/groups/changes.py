"""One change of a group at a time, each a job; what it writes is undone where it is cut short."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from cgagent.concurrency import in_thread, to_its_end
from cgagent.errors import CgagentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cgagent.cgroups import Limits
    from cgagent.engine.groups.directories import GroupDirectories
    from cgagent.engine.groups.group import Group
    from cgagent.engine.groups.registry import Groups
    from cgagent.engine.jobs import Jobs

log = logging.getLogger(__name__)


class GroupChanges:
    def __init__(
        self,
        groups: Groups,
        directories: GroupDirectories,
        jobs: Jobs,
        refresh: Callable[[str], None],
    ) -> None:
        """`refresh` is told of paths whose limits have changed."""
        self.groups = groups
        self.directories = directories
        self.jobs = jobs
        self._refresh = refresh
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def lock(self, name: str) -> asyncio.Lock:
        """Held while a group is changed; it is there for as long as somebody uses it."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock

    def is_changing(self, name: str) -> bool:
        return self.lock(name).locked()

    @contextlib.asynccontextmanager
    async def of(
        self, job: str, name: str, *, completes: bool = True, **told: str
    ) -> AsyncIterator[Group]:
        """The group, which nobody else changes meanwhile, and its cgroup if that `completes`.

        Raises:
            NotFoundError: there is none of that name.
        """
        self.groups.find(name)
        path = self.groups.path(name)
        async with self.jobs.run(job, cgroup=path, **told), self.lock(name):
            group = self.groups.find(name)
            if completes:
                self.directories.complete_with(group)
            yield group

    async def write(self, group: Group, changes: Limits, *, force: bool = False) -> None:
        """To the kernel; the caller saves the new record then.

        Raises:
            CgagentError: a limit is refused, or memory cannot be brought down; nothing is changed.
        """
        kernel = self.directories.of(group)
        undo = await asyncio.to_thread(kernel.earlier, changes)
        self.groups.save(replace(group, undo=undo))
        try:
            await in_thread(lambda _: kernel.apply(changes, force=force))
        except BaseException:
            await to_its_end(self._undo(group, undo))
            raise

    async def _undo(self, group: Group, undo: tuple[tuple[str, str], ...]) -> None:
        try:
            await asyncio.to_thread(self.directories.of(group).put_back, undo)
        except CgagentError as e:
            log.error("group %s: after a failed update: %s", group.name, e.message)  # noqa: TRY400
        self.groups.save(group)

    async def refresh(self, name: str) -> None:
        """Do not show the limits of before."""
        await asyncio.to_thread(self._refresh, self.groups.path(name))
