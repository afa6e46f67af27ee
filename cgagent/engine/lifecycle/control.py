"""Freeze, thaw and limits of a container, the limits also of one that does not run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from cgagent.concurrency import in_thread, in_urgent_thread
from cgagent.engine.lifecycle import require_running
from cgagent.engine.lifecycle.leases import FreezeLeases
from cgagent.engine.lifecycle.shared import require_there
from cgagent.engine.options import boosts, budgets, networking, overrides
from cgagent.engine.options import limits as limit_rules
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.wishes import Wishes, left_of
from cgagent.errors import CgagentError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cgagent.cgroups import Group, Limits
    from cgagent.engine.containers.container import Container, Record, Sleep
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.networks.limits import NetworkLimits
    from cgagent.engine.options.overrides import LimitOverride
    from cgagent.engine.options.restart import RestartPolicy

    Check = Callable[[], None]

log = logging.getLogger(__name__)


def _nothing() -> None:
    """Every state is right for a change."""


def _unheard(container: Container, sleep: Sleep, by: str, took_s: float) -> None:
    """Nobody asks."""


class Control:
    def __init__(
        self,
        containers: Containers,
        lifecycle: Lifecycle,
        jobs: Jobs,
        refresh: Callable[[Container], None],
        network: NetworkLimits,
    ) -> None:
        self._containers = containers
        self._lifecycle = lifecycle
        self._jobs = jobs
        self._refresh = refresh
        self._network = network
        self._leases = FreezeLeases()
        self._freezing: set[str] = set()
        self.wished: list[Callable[[Container, Collection[str]], None]] = []
        """Told of each update: which wishes of a `ContainerConfig` were spoken of."""
        self.woken: Callable[[Container, Sleep, str, float], None] = _unheard
        """Told of each hibernation that a thaw has ended: by what, and in how many seconds."""

    async def freeze(
        self,
        container: Container,
        timeout_s: float = 10.0,
        lease_s: float | None = None,
        sleep: Sleep | None = None,
    ) -> None:
        """Stop all tasks where they are; with a lease, they are thawed again after it.

        With `sleep` for hibernation, which an agent's death in the middle ends.

        Raises:
            ConflictError: not running, or frozen already; thawed, killed or ended meanwhile.
            DeadlineError: a task did not freeze in time; all are thawed again.
        """
        async with self._jobs.run("freeze", container=container.id), container.lock:
            require_running(container)
            group = self._lifecycle.group(container)
            if group.freezer_state() == "frozen":
                raise ConflictError(f"container {container.name} is frozen already")
            until = None if lease_s is None else time.time_ns() + int(lease_s * 1e9)
            ends = {"thaw_at_ns": until, "sleep": sleep}
            if any(ends.values()):  # kept first: a crash must not make it a freeze without an end
                self._containers.save(container, container.with_outcome(**ends))
            try:
                await self._stop_tasks(container, group, timeout_s)
            except BaseException:
                ended = container.with_outcome(**dict.fromkeys(ends))
                self._containers.note(container, ended)
                raise
            frozen = container.with_outcome(frozen_since_ns=time.time_ns(), **ends)
            self._containers.note(container, frozen, "pause")
            self.arm(container)
        self._refresh(container)

    async def _stop_tasks(self, container: Container, group: Group, timeout_s: float) -> None:
        """All of them stand when it returns; none does when it raises."""
        self._freezing.add(container.id)
        try:
            if not await in_urgent_thread(lambda: _freeze(group, timeout_s)):
                raise ConflictError(f"container {container.name} ended while it was being frozen")
        except (ConflictError, NotFoundError) as e:
            raise ConflictError(f"container {container.name} was not frozen: {e.message}") from e
        except BaseException as e:
            if not isinstance(e, CgagentError):  # cancelled, and frozen all the same
                with contextlib.suppress(CgagentError):
                    await in_urgent_thread(group.thaw)
            raise
        finally:
            self._freezing.discard(container.id)

    async def thaw(self, container: Container, by: str = "user") -> None:
        """Let frozen tasks go on; a freeze that is under way ends, too.

        `by` is what wakes it if it hibernates: told in the event.

        Raises:
            ConflictError: not running, or not frozen.
        """
        async with self._jobs.run("thaw", container=container.id):
            was_freezing = container.id in self._freezing
            if was_freezing:  # it holds the lock until all tasks stand, or it sees this
                await in_urgent_thread(self._lifecycle.group(container).thaw)
            async with container.lock:
                await self._thaw(container, by, may_be_thawed=was_freezing)
        self._refresh(container)

    async def _thaw(self, container: Container, by: str, *, may_be_thawed: bool) -> None:
        require_running(container)
        began_s = time.perf_counter()
        group = self._lifecycle.group(container)
        self._lifecycle.groups.require_thawed(group.path, f"container {container.name}")
        if group.freezer_state() == "thawed":
            if not may_be_thawed:
                raise ConflictError(f"container {container.name} is not frozen")
            if not container.frozen:
                return
        await in_urgent_thread(group.thaw)
        sleep = container.record.outcome.sleep
        thawed = container.with_outcome(frozen_since_ns=None, thaw_at_ns=None, sleep=None)
        self._containers.note(container, thawed, "unpause")
        if sleep is not None:
            self.woken(container, sleep, by, time.perf_counter() - began_s)

    async def resume(self) -> None:
        """After a restart of the agent: undo what was cut short, and let leases go on.

        What hibernates is woken: nobody has listened for its packets.
        """
        for container in self._containers:
            if container.record.undo:
                log.warning("container %s: an update was cut short: undone", container.name)
                await self.undo_update(container)
            if not (container.sleeps or container.freezing):
                self.arm(container)
                continue
            try:
                await self._wake(container)
            except CgagentError as e:
                log.warning("container %s: it is still frozen: %s", container.name, e.message)
                wake = partial(self._wake, container)
                self._leases.arm(f"container {container.name}", time.time_ns(), wake)

    async def _wake(self, container: Container) -> None:
        """Of an agent that has just started. One in a frozen group is woken when that is thawed."""
        if self._lifecycle.groups.frozen_above(container.record.cgroup_path):
            return
        try:
            await self.thaw(container, by="agent")
        except (ConflictError, NotFoundError):  # it was not frozen yet, or is not any more
            self._containers.note(container, container.with_outcome(sleep=None, thaw_at_ns=None))

    def arm(self, container: Container) -> None:
        """Have its freeze end at its time, where it is for a time."""
        until_ns = container.record.outcome.thaw_at_ns

        async def thaw() -> None:
            """Unless a group above it is frozen by now, whose thaw comes back to it."""
            is_due = container.running and container.record.outcome.thaw_at_ns == until_ns
            path = container.record.cgroup_path
            if is_due and self._lifecycle.groups.frozen_above(path) is None:
                with contextlib.suppress(ConflictError):  # ended or thawed at this very moment
                    await self.thaw(container, by="time")

        self._leases.arm(f"container {container.name}", until_ns, thaw)

    def close(self) -> None:
        self._leases.close()

    async def update(
        self,
        container: Container,
        asked: Limits,
        extra: Conveniences,
        restart: RestartPolicy | None = None,
        *,
        wishes: Wishes = Wishes(),  # noqa: B008 - frozen
        force: bool = False,
        check: Check = _nothing,
    ) -> None:
        """Change limits, at once if it runs, restart policy and wishes. All of it or nothing.

        A memory limit below what is used is reached in steps that kill nothing; with `force` it
        is set at once, whatever dies of it. `check` is called when nobody else can change it any
        more, and may raise.

        Raises:
            InvalidInputError, UnsupportedError: a limit or policy that cannot be.
            ConflictError: the memory in use could not be brought down; the policy is none for it.
        """
        restarts = self._lifecycle.restarts
        async with self._jobs.run("update", container=container.id), container.lock:
            require_there(container)
            check()
            policy = None if restart is None else restarts.checked(container, restart)
            changes = limit_rules.resolve(asked, extra, container.record.limits)
            changed = container.record
            if dict(changes):
                limits = changed.limits.merged(changes)
                changed = replace(
                    changed,
                    limits=limits,
                    overrides=overrides.yielding(changed.overrides, changes),
                    limits_changed_ns=time.time_ns(),
                )
            if policy is not None:
                changed = restarts.with_policy(changed, policy)
            asked_for = wishes.canonical()
            changed = _wishing(changed, asked_for)
            self._jobs.require_permitted_container(changed)
            write = overrides.updating(changes, container.record, changed)
            await self._change(container, changed, write, force=force)
            if policy is not None:
                restarts.arm(container)
            for told in self.wished:
                told(container, asked_for)
        self._refresh(container)

    def preview(self, container: Container, asked: Limits, extra: Conveniences) -> Record:
        """The record as `update` would make it, with these limits; nothing is changed.

        Raises:
            InvalidInputError, UnsupportedError: a limit that cannot be.
            ConflictError: it is being removed.
        """
        require_there(container)
        record = container.record
        changes = limit_rules.resolve(asked, extra, record.limits)
        changed = replace(
            record,
            limits=record.limits.merged(changes),
            overrides=overrides.yielding(record.overrides, changes),
        )
        self._network.check(changed)
        return changed

    async def override(
        self,
        container: Container,
        override: LimitOverride,
        extra: Conveniences = Conveniences(),  # noqa: B008 - frozen
        *,
        force: bool = False,
        check: Check = _nothing,
    ) -> None:
        """Hold it to other limits than its user asked for, until the owner lifts that.

        Raises:
            InvalidInputError, UnsupportedError, ConflictError: as `update`.
        """
        async with (
            self._jobs.run("override", container=container.id, owner=override.owner),
            container.lock,
        ):
            require_there(container)
            check()
            record = container.record
            limits = limit_rules.resolve(override.limits, extra, record.limits_in_force)
            held = overrides.with_override(record.overrides, replace(override, limits=limits))
            await self._hold(container, override.owner, held, override.reason, force=force)
        self._refresh(container)

    async def lift(
        self,
        container: Container,
        owner: str,
        reason: str = "lifted",
        *,
        check: Check = _nothing,
    ) -> None:
        """End an override: what is below it is in force again. The event has the reason.

        Raises:
            NotFoundError: the owner has none here.
            ConflictError: the memory in use could not be brought down.
        """
        async with self._jobs.run("lift", container=container.id, owner=owner), container.lock:
            require_there(container)
            check()
            held = overrides.without(container.record.overrides, owner)
            await self._hold(container, owner, held, reason, force=False)
        self._refresh(container)

    async def _hold(
        self,
        container: Container,
        owner: str,
        held: tuple[LimitOverride, ...],
        reason: str,
        *,
        force: bool,
    ) -> None:
        own = [o.limits for o in (*container.record.overrides, *held) if o.owner == owner]
        names = {name for limits in own for name, _ in limits}
        changed = replace(container.record, overrides=held, limits_changed_ns=time.time_ns())
        before, after = container.record.limits_in_force, changed.limits_in_force
        write = overrides.to_write(names, before, after)
        await self._change(container, changed, write, force=force, owner=owner, reason=reason)

    async def _change(
        self,
        container: Container,
        changed: Record,
        write: Limits,
        *,
        force: bool,
        **told: str,
    ) -> None:
        """Replace the record, and `write` to the kernel if it runs; `told` is in the event."""
        self._network.check(changed)
        if not container.running:
            await self._lifecycle.try_limits(changed)
            self._containers.save(container, changed, "update", **told)
            return
        if not dict(write):
            self._containers.save(container, changed, "update", **told)
            return
        group = self._lifecycle.group(container)
        written = replace(changed, limits=write, overrides=())
        undo = await asyncio.to_thread(group.earlier, written.group_limits)
        self._containers.save(container, replace(container.record, undo=undo))
        try:
            await in_thread(lambda _: group.apply(written.group_limits, force=force))
            await self._network.hold(container.id, written.network_limits)
            self._containers.save(container, replace(changed, undo=()), "update", **told)
        except BaseException:
            await self.undo_update(container)
            await self._undo_network(container, written.network_limits)
            raise

    async def _undo_network(self, container: Container, written: Limits) -> None:
        """Put back what its links were held to before an update that has failed."""
        names = dict(written).keys()
        earlier = overrides.to_write(names, written, container.record.network_limits)
        try:
            await self._network.hold(container.id, earlier)
        except CgagentError as e:
            log.error("container %s: after a failed update: %s", container.name, e.message)  # noqa: TRY400

    async def undo_update(self, container: Container) -> None:
        """Of an update that was not finished, put the earlier limits back."""
        if container.running:
            group = self._lifecycle.group(container)
            try:
                await asyncio.to_thread(group.put_back, container.record.undo)
            except CgagentError as e:
                log.error("container %s: after a failed update: %s", container.name, e.message)  # noqa: TRY400
        self._containers.note(container, replace(container.record, undo=()))

    def note_frozen(self, container: Container, by: str) -> None:
        """Note a freeze or thaw that was not asked of it: another program's, or a group's."""
        is_frozen = self.is_frozen(container)
        if is_frozen is not container.frozen:
            # where one of ours was cut short its end is known, and stays so
            ends = {} if is_frozen else {"thaw_at_ns": None, "sleep": None}
            since_ns = time.time_ns() if is_frozen else None
            record = container.with_outcome(frozen_since_ns=since_ns, **ends)
            action = "pause" if is_frozen else "unpause"
            self._containers.note(container, record, action, by=by)
        self.arm(container)  # its end may have come while a group above it was frozen

    def is_frozen(self, container: Container) -> bool:
        if not container.running:
            return False
        if container.record.moving:  # it stands still for a moment
            return container.frozen
        try:
            return self._lifecycle.group(container).freezer_state() == "frozen"
        except NotFoundError:
            return False

    def held_limits(self, container: Container) -> Limits | None:
        """What the kernel holds; None for a container that does not run."""
        if not container.running:
            return None
        try:
            names = [name for name, _ in container.record.limits.conf or ()]
            held = self._lifecycle.group(container).held(names)
            return replace(held, **self._network.held(container.record))
        except NotFoundError:
            return None

    def process_ids(self, container: Container) -> list[int]:
        """Of all its processes, in the agent's pid namespace.

        Raises:
            ConflictError: not running.
        """
        require_running(container)
        return self._lifecycle.group(container).pids()


def _wishing(record: Record, asked: dict[str, Any]) -> Record:
    """With other wishes. A boost that is in force ends; the next run has the new one.

    Raises:
        InvalidInputError: it lacks what one of them needs.
    """
    if not asked:
        return record
    if "boost" in asked:
        boosts.require_possible(asked["boost"], record.resolved.health)
        record = record.unboosted()
    if "budget" in asked:
        mode, is_gone = networking.mode(record.config), record.config.auto_remove
        budgets.require_possible(asked["budget"], mode, auto_remove=is_gone)
    left = left_of(record.overrides, asked)
    return replace(record, config=replace(record.config, **asked), overrides=left)


def _freeze(group: Group, timeout_s: float) -> bool:
    """Whether there was anything to freeze."""
    group.freeze(timeout_s)
    return group.has_pids()
