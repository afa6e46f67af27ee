"""Groups made, updated and removed, each a job; and a look at one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cgagent.concurrency import in_urgent_thread, to_its_end
from cgagent.engine.groups.group import Group, check_max, check_name
from cgagent.engine.options import budgets, overrides
from cgagent.engine.options import limits as limit_rules
from cgagent.errors import ConflictError, NotFoundError
from cgagent.policy import reclaim as reclaims

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cgagent.cgroups import Limits
    from cgagent.engine.groups.changes import GroupChanges
    from cgagent.engine.groups.ending import GroupEnding
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.lifecycle.parents import Parents
    from cgagent.engine.options.limits import Conveniences


def _nothing() -> None:
    """Every state is right for a change."""


def _unheard(group: Group) -> None:
    """Nobody asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is asked of a group in an update; None leaves as it is."""

    limits: Limits
    extra: Conveniences
    max_containers: int | None = None
    lifts_max: bool = False
    """There may be any number of containers."""
    budget: str | None = None
    """``off`` takes it back."""
    reclaim: str | None = None


class Grouping:
    def __init__(
        self, changes: GroupChanges, lifecycle: Lifecycle, ending: GroupEnding, *, parents: Parents
    ) -> None:
        self._changes = changes
        self._groups = changes.groups
        self._directories = changes.directories
        self._jobs = changes.jobs
        self._lifecycle = lifecycle
        self._ending = ending
        self._parents = parents
        self._structure = asyncio.Lock()
        """Held while groups come and go."""
        self.asked: Callable[[Group], None] = _unheard
        """Told of each that is made or updated."""
        self.dropped: Callable[[Group], None] = _unheard
        """Told of each that is removed."""

    async def create(
        self,
        name: str,
        asked: Limits,
        extra: Conveniences,
        *,
        max_containers: int | None = None,
        labels: dict[str, str] | None = None,
        budget: str = "",
        reclaim: str = "",
    ) -> Group:
        """Make a group with its cgroup, under limits.

        Raises:
            InvalidInputError, UnsupportedError: the name, a limit, or a wish.
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
                budget=budgets.of_group(budget),
                reclaim=reclaims.canonical(reclaim),
            )
            if group.parent:
                self._groups.find(group.parent)
            # The cgroup first: one without a record is pruned by whatever agent comes next.
            await self._directories.make(group)
            try:
                self._groups.save(group, "create")
            finally:
                self._parents.prune()
            self.asked(group)
            await self._changes.refresh(name)  # one of that name may have been known
            return group

    async def update(
        self,
        name: str,
        change: Change,
        *,
        force: bool = False,
        check: Callable[[], None] = _nothing,
    ) -> Group:
        """Change limits, the quota of containers and wishes, all of it or nothing.

        What policies hold it to ends of the limits that are changed.

        Raises:
            InvalidInputError, UnsupportedError: a limit or a wish that cannot be.
            ConflictError: the memory in use could not be brought down.
        """
        async with self._changes.of("group-update", name, completes=False) as group:
            check()
            changes = limit_rules.resolve(change.limits, change.extra, group.limits)
            changed = replace(
                group,
                limits=group.limits.merged(changes),
                overrides=overrides.yielding(group.overrides, changes),
            )
            if change.budget is not None:
                changed = replace(changed, budget=budgets.of_group(change.budget))
            if change.reclaim is not None:
                changed = replace(changed, reclaim=reclaims.canonical(change.reclaim))
            if change.lifts_max or change.max_containers is not None:
                wanted = None if change.lifts_max else check_max(change.max_containers)
                changed = replace(changed, max_containers=wanted)
            self._directories.complete_with(changed)  # the earlier limits may be refused by now
            if dict(changes):
                changed = replace(changed, limits_changed_ns=time.time_ns())
                write = overrides.updating(changes, group, changed)
                await self._changes.write(group, write, force=force)
            self._groups.save(changed, "update")
            self.asked(changed)
            await self._changes.refresh(name)
            return changed

    def held(self, group: Group) -> Limits | None:
        """What the kernel holds; None: its cgroup is not there. From any thread."""
        try:
            return self._directories.of(group).held(n for n, _ in group.limits.conf or ())
        except NotFoundError:
            return None

    async def remove(
        self, name: str, *, force: bool = False, check: Callable[[], None] = _nothing
    ) -> None:
        """Remove a group; with `force` its containers, and the groups in it, as well.

        What its budget had stopped, and is elsewhere by now, is started again.

        Raises:
            ConflictError: something is in it, and no `force`.
        """
        async with contextlib.AsyncExitStack() as locks:
            job = self._jobs.run("group-remove", cgroup=self._groups.path(name))
            await locks.enter_async_context(job)
            await locks.enter_async_context(self._structure)
            self._groups.find(name)
            for changed in (name, *(group.name for group in self._groups.children(name))):
                # held, so that no change brings it back
                await locks.enter_async_context(self._changes.lock(changed))
            check()
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
                self.dropped(one)
            self._parents.prune()
        for one in (group, *inside):
            await self._ending.start_left(one)

    async def _thaw_all(self, groups: Iterable[Group]) -> None:
        for group in groups:
            if group.frozen_since_ns:
                await to_its_end(self._thaw(group))

    async def _thaw(self, group: Group) -> None:
        await in_urgent_thread(self._directories.of(group).thaw)
        self._groups.save(replace(group, frozen_since_ns=None, thaw_at_ns=None))
