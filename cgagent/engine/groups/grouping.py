"""Changes of groups, each a job: create, update, remove, freeze, thaw, kill; and a look at one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from cgagent.concurrency import in_thread, in_urgent_thread, to_its_end
from cgagent.engine.groups.group import Group, check_max, check_name
from cgagent.engine.options import limits as limit_rules
from cgagent.engine.options.overrides import with_weight
from cgagent.errors import CgagentError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from cgagent.cgroups import Limits
    from cgagent.engine.containers.container import Container
    from cgagent.engine.groups.directories import GroupDirectories
    from cgagent.engine.groups.registry import Groups
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.lifecycle.control import Control
    from cgagent.engine.lifecycle.parents import Parents
    from cgagent.engine.options.limits import Conveniences

log = logging.getLogger(__name__)

_KILL_TIMEOUT_S: Final = 10.0


def _nothing() -> None:
    """Every state is right for a change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is asked of a group in an update; None leaves as it is."""

    limits: Limits
    extra: Conveniences
    max_containers: int | None = None
    lifts_max: bool = False
    """There may be any number of containers."""


class Grouping:
    def __init__(
        self,
        groups: Groups,
        directories: GroupDirectories,
        lifecycle: Lifecycle,
        control: Control,
        *,
        parents: Parents,
        jobs: Jobs,
        refresh: Callable[[str], None],
    ) -> None:
        """`refresh` is told of paths whose limits have changed."""
        self._groups = groups
        self._directories = directories
        self._lifecycle = lifecycle
        self._control = control
        self._parents = parents
        self._jobs = jobs
        self._refresh = refresh
        self._structure = asyncio.Lock()
        """Held while groups come and go."""
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def create(
        self,
        name: str,
        asked: Limits,
        extra: Conveniences,
        *,
        max_containers: int | None = None,
        labels: dict[str, str] | None = None,
    ) -> Group:
        """Make a group with its cgroup, under limits.

        Raises:
            InvalidInputError, UnsupportedError: the name, or a limit.
            ConflictError: there is one of that name. NotFoundError: the group that it is to be in.
        """
        path = self._groups.path(check_name(name))
        async with self._jobs.run("group-create", cgroup=path), self._structure:
            if self._groups.get(name) is not None:
                raise ConflictError(
                    f"group {name!r} exists; change it (cgagent group update {name}) or choose "
                    "another name"
                )
            group = Group(
                name=name,
                created_ns=time.time_ns(),
                limits=limit_rules.resolve(asked, extra),
                max_containers=check_max(max_containers),
                labels=labels or {},
            )
            if group.parent:
                self._groups.find(group.parent)
            # The cgroup first: one without a record is pruned by whatever agent comes next.
            await self._directories.make(group)
            try:
                self._groups.save(group, "create")
            finally:
                self._parents.prune()
            await asyncio.to_thread(self._refresh, path)  # one of that name may have been known
            return group

    async def update(
        self,
        name: str,
        change: Change,
        *,
        force: bool = False,
        check: Callable[[], None] = _nothing,
    ) -> Group:
        """Change limits and the quota of containers, all of it or nothing.

        Raises:
            InvalidInputError, UnsupportedError: a limit that cannot be.
            ConflictError: the memory in use could not be brought down.
        """
        async with self._changing("group-update", name, completes=False) as group:
            check()
            changes = limit_rules.resolve(change.limits, change.extra, group.limits)
            changed = replace(group, limits=group.limits.merged(changes))
            if change.lifts_max or change.max_containers is not None:
                wanted = None if change.lifts_max else check_max(change.max_containers)
                changed = replace(changed, max_containers=wanted)
            self._directories.complete_with(changed)  # the earlier limits may be refused by now
            if dict(changes):
                changed = replace(changed, limits_changed_ns=time.time_ns())
                await self._write(group, with_weight(changes, changed.limits), force=force)
            self._groups.save(changed, "update")
            await asyncio.to_thread(self._refresh, self._groups.path(name))
            return changed

    async def _write(self, group: Group, changes: Limits, *, force: bool) -> None:
        kernel = self._directories.of(group)
        undo = await asyncio.to_thread(kernel.earlier, changes)
        self._groups.save(replace(group, undo=undo))
        try:
            await in_thread(lambda _: kernel.apply(changes, force=force))
        except BaseException:
            await to_its_end(self._undo(group, undo))
            raise

    async def _undo(self, group: Group, undo: tuple[tuple[str, str], ...]) -> None:
        try:
            await asyncio.to_thread(self._directories.of(group).put_back, undo)
        except CgagentError as e:
            log.error("group %s: after a failed update: %s", group.name, e.message)  # noqa: TRY400
        self._groups.save(group)

    def held(self, group: Group) -> Limits | None:
        """What the kernel holds; None: its cgroup is not there. From any thread."""
        try:
            return self._directories.of(group).held(n for n, _ in group.limits.conf or ())
        except NotFoundError:
            return None

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a group; with `force` its containers, and the groups in it, as well.

        Raises:
            ConflictError: something is in it, and no `force`.
        """
        async with contextlib.AsyncExitStack() as locks:
            job = self._jobs.run("group-remove", cgroup=self._groups.path(name))
            await locks.enter_async_context(job)
            await locks.enter_async_context(self._structure)
            self._groups.find(name)
            for changed in (name, *(group.name for group in self._groups.children(name))):
                await locks.enter_async_context(self._lock(changed))  # no change brings it back
            group, inside = self._groups.find(name), self._groups.children(name)
            members = self._groups.members(name)
            if (inside or members) and not force:
                what = f"{len(members)} containers" if members else f"group {inside[0].name}"
                raise ConflictError(
                    f"group {name} has {what} in it; take them out of it, or remove it with all "
                    "that is in it (--force)"
                )
            if members and (group.frozen_since_ns or any(g.frozen_since_ns for g in inside)):
                await self._thaw_all((group, *inside))
            while members:
                for container in members:
                    if container not in self._groups.members(name):
                        continue  # it has been taken out of it meanwhile
                    with contextlib.suppress(NotFoundError):  # somebody else has
                        await self._lifecycle.remove(container, force=True)
                members = self._groups.members(name)  # who has come meanwhile
            for one in (*reversed(inside), group):
                self._parents.disown(self._directories.of(one))
                self._groups.drop(one.name)
            self._parents.prune()

    async def _thaw_all(self, groups: Iterable[Group]) -> None:
        for group in groups:
            if group.frozen_since_ns:
                self._groups.save(replace(group, frozen_since_ns=None))
                await in_urgent_thread(self._directories.of(group).thaw)

    async def freeze(self, name: str, timeout_s: float = 10.0) -> None:
        """Stop all tasks of all containers in it; what starts in it waits for the thaw.

        Raises:
            ConflictError: it is frozen, or a group that it is in is.
            DeadlineError: a task did not freeze in time; all are thawed again.
        """
        async with self._changing("group-freeze", name) as group:
            self._require_not_frozen_above(group)
            if group.frozen_since_ns:
                raise ConflictError(f"group {name} is frozen already")
            frozen = replace(group, frozen_since_ns=time.time_ns())
            self._groups.save(frozen)  # first: a crash must not leave a freeze that is nobody's
            kernel = self._directories.of(group)
            try:
                await in_urgent_thread(lambda: kernel.freeze(timeout_s))
            except BaseException:
                self._groups.save(group)
                with contextlib.suppress(Exception):
                    await in_urgent_thread(kernel.thaw)
                raise
            self._groups.save(frozen, "freeze")
            self._note_members(name)

    async def thaw(self, name: str) -> None:
        """Let it go on; a container that was frozen by itself stays so.

        Raises:
            ConflictError: it is not frozen, or a group that it is in is.
        """
        async with self._changing("group-thaw", name) as group:
            self._require_not_frozen_above(group)
            kernel = self._directories.of(group)
            if not group.frozen_since_ns and kernel.frozen_by() is None:
                raise ConflictError(f"group {name} is not frozen")
            await in_urgent_thread(kernel.thaw)
            self._groups.save(replace(group, frozen_since_ns=None), "thaw")
            self._note_members(name)
            for container in self._groups.members(name):
                if container.sleeps:  # something may have come for it meanwhile
                    with contextlib.suppress(ConflictError):
                        await self._control.thaw(container, by="group")

    def _require_not_frozen_above(self, group: Group) -> None:
        above = self._groups.frozen_above(self._groups.path(group.name))
        if above is not None:
            raise ConflictError(
                f"group {group.name} is frozen with group {above.name}, which it is in; thaw that "
                f"(cgagent group thaw {above.name})"
            )

    def _note_members(self, name: str) -> None:
        """What is frozen now, and what no more: at once, and not when it is sampled next."""
        for container in self._groups.members(name):
            if container.running and not container.lock.locked():
                self._control.note_frozen(container, by=f"group {name}")

    async def kill(self, name: str) -> list[Container]:
        """SIGKILL everything that runs in it; no restart policy starts it again.

        Raises:
            DeadlineError: something does not end.
        """
        async with self._changing("group-kill", name) as group:
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

    @contextlib.asynccontextmanager
    async def _changing(
        self, job: str, name: str, *, completes: bool = True
    ) -> AsyncIterator[Group]:
        self._groups.find(name)
        async with self._jobs.run(job, cgroup=self._groups.path(name)), self._lock(name):
            group = self._groups.find(name)
            if completes:
                self._directories.complete_with(group)
            yield group

    def _lock(self, name: str) -> asyncio.Lock:
        """Held while a group is changed; it is there for as long as somebody uses it."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock
