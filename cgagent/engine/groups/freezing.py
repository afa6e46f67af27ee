"""Groups frozen and thawed as a whole, for a time as well, by a user, a policy or another program.

    freeze ─> record ─> kernel ─> members' records      a freeze for a time ends by itself,
    thaw   ─> kernel ─> record ─> members' records      also under the agent that comes next

What another program has done is seen in the rounds of sampling.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cgagent.concurrency import in_urgent_thread, to_its_end
from cgagent.engine.lifecycle.leases import FreezeLeases
from cgagent.errors import CgagentError, ConflictError
from cgagent.metrics import id_of_cgroup

if TYPE_CHECKING:
    from cgagent.cgroups import Event
    from cgagent.engine.containers.container import Container
    from cgagent.engine.groups.changes import GroupChanges
    from cgagent.engine.groups.group import Group
    from cgagent.engine.lifecycle.control import Control
    from cgagent.engine.observe.policies import Tick

log = logging.getLogger(__name__)


class GroupFreezing:
    """A policy as well: it is told of each round of sampling."""

    def __init__(self, changes: GroupChanges, control: Control) -> None:
        self._changes = changes
        self._groups = changes.groups
        self._directories = changes.directories
        self._control = control
        self._leases = FreezeLeases()

    async def freeze(
        self, name: str, timeout_s: float = 10.0, lease_s: float | None = None
    ) -> None:
        """Stop all tasks of all containers in it; what starts in it waits for the thaw.

        With a lease it is thawed by itself after so long.

        Raises:
            ConflictError: it is frozen, or a group that it is in is.
            DeadlineError: a task did not freeze in time; all are thawed again.
        """
        async with self._changes.of("group-freeze", name) as group:
            self._require_not_frozen_above(group)
            if group.frozen_since_ns:
                raise ConflictError(f"group {name} is frozen already")
            now_ns = time.time_ns()
            until_ns = None if lease_s is None else now_ns + int(lease_s * 1e9)
            frozen = replace(group, frozen_since_ns=now_ns, thaw_at_ns=until_ns)
            self._groups.save(frozen)  # first: a crash must not leave a freeze that is nobody's
            kernel = self._directories.of(group)
            try:
                await in_urgent_thread(lambda: kernel.freeze(timeout_s))
            except BaseException:
                await to_its_end(self._withdraw(group))
                raise
            self._arm(frozen)  # before what a full disk may keep from being saved
            self._groups.save(frozen, "freeze")
            self._note_members(name, f"group {name}")

    async def _withdraw(self, group: Group) -> None:
        """Take back a freeze that has failed. The kernel first, as in a thaw."""
        try:
            await in_urgent_thread(self._directories.of(group).thaw)
        except CgagentError as e:
            log.error("group %s: after a failed freeze: %s", group.name, e.message)  # noqa: TRY400
        self._groups.save(group)

    async def thaw(self, name: str, by: str = "user") -> None:
        """Let it go on; a container that was frozen by itself stays so.

        Raises:
            ConflictError: it is not frozen, or a group that it is in is.
        """
        async with self._changes.of("group-thaw", name) as group:
            await self._thaw(group, by)

    async def _thaw(self, group: Group, by: str) -> None:
        self._require_not_frozen_above(group)
        if not group.frozen_since_ns and self._directories.of(group).frozen_by() is None:
            raise ConflictError(f"group {group.name} is not frozen")
        await to_its_end(self._let_go(group, by))  # its record with it, whoever waits no more

    async def _let_go(self, group: Group, by: str) -> None:
        name = group.name
        await in_urgent_thread(self._directories.of(group).thaw)
        self._groups.save(replace(group, frozen_since_ns=None, thaw_at_ns=None), "thaw", by=by)
        self._note_members(name, f"group {name}")
        self._arm_below(name)
        await self._wake_below(name)

    async def _wake_below(self, name: str) -> None:
        """Wake hibernating containers of the group: packets may have come for them meanwhile."""
        for container in self._groups.members(name):
            if container.sleeps:
                with contextlib.suppress(ConflictError):
                    await self._control.thaw(container, by="group")

    def _require_not_frozen_above(self, group: Group) -> None:
        above = self._groups.frozen_above(self._groups.path(group.name))
        if above is not None:
            raise ConflictError(
                f"group {group.name} is frozen with group {above.name}, which it is in; thaw that "
                f"(cgagent group thaw {above.name})"
            )

    def _note_members(self, name: str, by: str) -> None:
        """What is frozen now, and what no more: at once, and not when it is sampled next."""
        for container in self._groups.members(name):
            if container.running and not container.lock.locked():
                self._control.note_frozen(container, by=by)

    # -- for a time -------------------------------------------------------------------------

    def resume(self) -> None:
        """At the agent's start."""
        for group in self._groups.all():
            self._arm(group)

    def close(self) -> None:
        self._leases.close()

    def _arm(self, group: Group) -> None:
        name, until_ns = group.name, group.thaw_at_ns

        async def thaw() -> None:
            """Unless a group above it is frozen by now, whose thaw comes back to it."""
            if not self._is_frozen_until(name, until_ns):
                return
            if self._groups.frozen_above(self._groups.path(name)) is not None:
                return
            async with self._changes.of("group-thaw", name) as now:
                if now.thaw_at_ns == until_ns:
                    await self._thaw(now, "time")

        self._leases.arm(f"group {name}", until_ns, thaw)

    def _arm_below(self, name: str) -> None:
        """Once it is thawed: the time of what is frozen in it may have come meanwhile."""
        for group in self._groups.children(name):
            self._arm(group)

    def _is_frozen_until(self, name: str, until_ns: int | None) -> bool:
        """Whether that is still so: it may have been thawed, or removed."""
        group = self._groups.get(name)
        return group is not None and group.thaw_at_ns == until_ns

    # -- other programs ---------------------------------------------------------------------

    def ticked(self, tick: Tick) -> None:
        """What another program has frozen is shown as frozen, and what it has thawed as thawed."""
        for path, name in self._groups.paths().items():
            group = self._groups.get(name)
            target_id = id_of_cgroup(path)
            seems_frozen = target_id in tick.frozen
            if group is None or seems_frozen == bool(group.frozen_since_ns):
                continue
            if tick.latest(target_id) is not None and not self._changes.is_changing(name):
                self._note(group)

    def _note(self, group: Group) -> None:
        """As it is now: the sample may be older than a change of ours."""
        kernel = self._directories.of(group)
        try:
            is_own = kernel.frozen_by() == "self" and kernel.freezer_state() != "freezing"
        except CgagentError:  # it has gone, or cannot be frozen
            return
        if is_own == bool(group.frozen_since_ns):
            return
        since_ns = time.time_ns() if is_own else None
        noted = replace(group, frozen_since_ns=since_ns, thaw_at_ns=None)
        self._groups.save(noted, "freeze" if is_own else "thaw", by="another program")
        if not is_own:
            self._note_members(group.name, "another program")
            self._arm_below(group.name)
            self._leases.arm(
                f"what is in group {group.name}",
                time.time_ns(),
                lambda: self._wake_below(group.name),
            )

    def happened(self, container: Container, event: Event) -> None:
        """Nothing that the kernel tells is about a freeze."""
