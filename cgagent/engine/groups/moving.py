"""Taking a container from one group to another, or out of all, while it runs.

    moving = new path ──> new cgroup: made, limits, devices ──> both stand still, tasks move
        ──> cgroup_path = new, moving = old path (one write) ──> figures, watches ──> thaw
        ──> the old cgroup is removed ──> moving = ""

`Record.moving` is the other cgroup of the two at any time. Whatever an agent dies of in between,
the next one gathers all tasks in `cgroup_path` and removes the other: before the write in the
middle that undoes the move, after it that finishes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import CONTAINER_DEVICES
from cgagent.cgroups.migration import move, refuse_nested
from cgagent.concurrency import in_urgent_thread, to_its_end
from cgagent.engine import jobs
from cgagent.engine.containers.container import Earlier
from cgagent.engine.groups.viewing import View
from cgagent.errors import (
    CgagentError,
    ConflictError,
    DeadlineError,
    NotFoundError,
    UnsupportedError,
)
from cgagent.metrics import carried
from cgagent.runtime.spec.resources import device_rules

if TYPE_CHECKING:
    from cgagent.cgroups import Group as KernelGroup
    from cgagent.cgroups import Host
    from cgagent.engine.containers.container import Container, Outcome, Record
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.groups.registry import Groups
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.lifecycle.control import Control
    from cgagent.engine.lifecycle.parents import Parents
    from cgagent.engine.observe.monitor import Monitor

log = logging.getLogger(__name__)

_THAW_S: Final = 10.0
_BUSY_S: Final = 0.5
"""For so long at most the kernel holds on to a cgroup whose last process has gone."""


class Moving:
    def __init__(
        self,
        host: Host,
        groups: Groups,
        containers: Containers,
        lifecycle: Lifecycle,
        control: Control,
        *,
        parents: Parents,
        monitor: Monitor,
        jobs: Jobs,
    ) -> None:
        self._host = host
        self._groups = groups
        self._containers = containers
        self._lifecycle = lifecycle
        self._control = control
        self._parents = parents
        self._monitor = monitor
        self._jobs = jobs

    async def move(self, container: Container, name: str) -> None:
        """Take it into a group; an empty name: out of any.

        Raises:
            NotFoundError: no such group, or the container has been removed.
            ConflictError: the group is full or frozen; the container has groups of its own inside,
                or a client is attached to it and waits for its start.
            UnsupportedError: another runtime has made its cgroup.
        """
        job = self._jobs.run("group-move", container=container.id, group=name)
        async with job, container.lock:
            if container.removed:
                raise NotFoundError(f"container {container.name} has been removed")
            await self._require_settled(container)
            if container.running:  # who has frozen it just now is to find it frozen
                self._control.note_frozen(container, by="another program")
            changed = self._moved(container.record, name)
            if changed.cgroup_path == container.record.cgroup_path:
                self._containers.save(container, changed)
                return
            self._check(container, changed, name)
            self._jobs.require_permitted_container(changed)
            try:
                if container.running:
                    await self._move_running(container, changed, name)
                else:
                    await self._move_ended(container, changed)
            finally:
                self._parents.prune()
        self._monitor.refresh(container)

    async def _require_settled(self, container: Container) -> None:
        if container.record.moving:
            await self._gathered(container)
        if container.record.moving:
            raise ConflictError(
                f"container {container.name} has processes left in cgroup "
                f"{container.record.moving} from an earlier move; see the agent's log"
            )

    def _moved(self, record: Record, name: str) -> Record:
        parent = self._groups.path(self._groups.find(name).name) if name else ""
        return replace(
            record,
            cgroup_path=self._parents.below(parent, record.id),
            config=replace(record.config, group=name, cgroup_parent=""),
            resolved=replace(record.resolved, cgroup_parent=parent),
        )

    def _check(self, container: Container, changed: Record, name: str) -> None:
        self._require_permitted(container, changed)
        if not container.running:
            return
        what = f"container {container.name} cannot be moved"
        runtime = container.record.resolved.runtime
        if runtime:
            into = f"cgagent group add {name}" if name else "cgagent group leave"
            raise UnsupportedError(
                f"{what} while it runs: runtime {runtime} knows it by its cgroup; stop it, move it "
                f"({into} {container.name}), and start it again"
            )
        try:
            refuse_nested(self._lifecycle.group(container))
        except ConflictError as e:
            raise ConflictError(f"{what} while it runs: {e.message}; stop it first") from e

    def _require_permitted(self, container: Container, changed: Record) -> None:
        """By the groups that it leaves and comes into."""
        if changed.config.group:
            self._groups.find(changed.config.group)
        for path in (container.record.cgroup_path, changed.cgroup_path):
            self._groups.require_thawed(path, f"container {container.name} cannot be moved")
        if container.up:
            self._groups.require_open(changed.cgroup_path, f"container {container.name}")
        self._groups.require_room(changed.cgroup_path, container.id)

    async def _move_ended(self, container: Container, changed: Record) -> None:
        await self._lifecycle.unready(container)
        await self._lifecycle.try_limits(changed)
        self._require_permitted(container, changed)
        old = self._lifecycle.group(container)
        self._containers.save(container, changed, "move", group=changed.config.group)
        await asyncio.to_thread(old.remove_if_empty)

    async def _move_running(self, container: Container, changed: Record, name: str) -> None:
        old = self._lifecycle.group(container)
        new = self._host.group(changed.cgroup_path)
        entries = self._lifecycle.entries
        async with View(container) as view, entries.closed(container):
            self._containers.save(container, replace(container.record, moving=new.path))
            try:
                self._parents.make(new)
                await in_urgent_thread(lambda: self._prepare(changed, new))
                jobs.step("move")
                await in_urgent_thread(lambda: move(old, new, stays_frozen=True))
                self._require_permitted(container, changed)  # others may have been faster
                self._note(container, old, name)
            except BaseException:
                await to_its_end(self._settle(container, view))  # where it was
                raise
            self._lifecycle.watch.move(container, old, new)
            await to_its_end(self._settle(container, view))

    def _note(self, container: Container, old: KernelGroup, name: str) -> None:
        """The write that decides. The record anew: an OOM kill is noted whoever has the lock."""
        jobs.step("record")
        self._monitor.last_sample(container)
        moved = replace(self._moved(container.record, name), moving=old.path)
        moved = replace(moved, outcome=self._outcome(container))
        self._containers.save(container, moved, "move", group=name)

    def _prepare(self, changed: Record, new: KernelGroup) -> None:
        new.apply(changed.group_limits, new=True)
        if changed.adopted is None:
            resources = self._lifecycle.bundle(changed.id).read_config()["linux"].get("resources")
            rules = device_rules(resources) if resources and resources.get("devices") else None
            new.restrict_devices(CONTAINER_DEVICES if rules is None else rules)

    def _outcome(self, container: Container) -> Outcome:
        outcome, usage = container.record.outcome, self._monitor.used(container)
        if usage is None:
            return outcome
        earlier = Earlier(counters=carried.counters(usage), oom_kills=outcome.oom_kills)
        return replace(outcome, earlier=earlier)

    async def _gathered(self, container: Container) -> None:
        """What an earlier move has left behind."""
        async with View(container) as view, self._lifecycle.entries.closed(container):
            await self._settle(container, view)

    async def _settle(self, container: Container, view: View) -> None:
        """All tasks of one that is being moved into the cgroup of its record; the other goes."""
        jobs.step("settle")
        record = container.record
        here, other = self._lifecycle.group(container), self._host.group(record.moving)
        stays_frozen = record.outcome.frozen_since_ns is not None

        def gather() -> None:
            if other.exists() and other.has_pids():
                move(other, here, stays_frozen=True)

        try:
            if container.running:
                await in_urgent_thread(gather)
                await view.show(other, here)
                if not stays_frozen:
                    await in_urgent_thread(lambda: self._thaw(here))
            await asyncio.to_thread(_remove, other, here, stays_frozen=stays_frozen)
        except NotFoundError:
            log.info("container %s ended while it was moved", container.name)
        except CgagentError as e:
            log.error("container %s: after a move: %s", container.name, e.message)  # noqa: TRY400
            for group in () if stays_frozen else (here, other):
                with contextlib.suppress(CgagentError):
                    await in_urgent_thread(group.thaw)
            return  # the next move tries again, or the next agent
        self._containers.note(container, replace(container.record, moving=""))

    def _thaw(self, group: KernelGroup) -> None:
        """One below a group that has been frozen meanwhile goes on with that."""
        is_held = self._groups.frozen_above(group.path) is not None
        try:
            group.thaw(_BUSY_S if is_held else _THAW_S)
        except DeadlineError:
            if self._groups.frozen_above(group.path) is None:
                raise

    async def resume(self) -> None:
        """When the agent starts: undo or finish moves that were cut short."""
        for container in self._containers:
            if container.record.moving:
                log.warning("container %s: a move was cut short", container.name)
                async with container.lock:
                    await self._gathered(container)


def _remove(other: KernelGroup, here: KernelGroup, *, stays_frozen: bool) -> None:
    """The cgroup that was left; a command of exec may have been on its way into it."""
    try:
        other.remove(_BUSY_S)
    except ConflictError:
        move(other, here, stays_frozen=stays_frozen)
        other.remove()
