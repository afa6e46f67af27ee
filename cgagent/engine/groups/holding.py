"""Limits that policies hold a group to, beside those that its user asked for; as of a container."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cgagent.engine.options import limits as limit_rules
from cgagent.engine.options import overrides
from cgagent.engine.options.limits import Conveniences

if TYPE_CHECKING:
    from cgagent.engine.groups.changes import GroupChanges
    from cgagent.engine.groups.group import Group
    from cgagent.engine.options.overrides import LimitOverride


class GroupHolding:
    def __init__(self, changes: GroupChanges) -> None:
        self._changes = changes

    async def override(self, name: str, override: LimitOverride) -> None:
        """Hold it to other limits than its user asked for, until the owner lifts that.

        Raises:
            InvalidInputError, UnsupportedError: a limit that cannot be.
            ConflictError: the memory in use could not be brought down.
        """
        owner = override.owner
        async with self._changes.of("group-override", name, owner=owner) as group:
            limits = limit_rules.resolve(override.limits, Conveniences(), group.limits_in_force)
            held = overrides.with_override(group.overrides, replace(override, limits=limits))
            await self._hold(group, owner, held, override.reason)
        await self._changes.refresh(name)

    async def lift(self, name: str, owner: str, reason: str = "lifted") -> None:
        """End an override: what is below it is in force again.

        Raises:
            NotFoundError: the owner has none here.
            ConflictError: the memory in use could not be brought down.
        """
        async with self._changes.of("group-lift", name, owner=owner) as group:
            held = overrides.without(group.overrides, owner)
            await self._hold(group, owner, held, reason)
        await self._changes.refresh(name)

    async def _hold(
        self, group: Group, owner: str, held: tuple[LimitOverride, ...], reason: str
    ) -> None:
        own = [o.limits for o in (*group.overrides, *held) if o.owner == owner]
        names = {name for limits in own for name, _ in limits}
        changed = replace(group, overrides=held, limits_changed_ns=time.time_ns())
        write = overrides.to_write(names, group.limits_in_force, changed.limits_in_force)
        if dict(write):
            await self._changes.write(group, write)
        self._changes.groups.save(changed, "update", owner=owner, reason=reason)
