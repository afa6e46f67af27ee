"""Containers and groups of containers as what acts by itself handles them: alike, as a user would.

Limits are overrides in their records, a freeze for a time is a lease there, and both are changed by
what a user's own requests are carried out by. So whoever dies, nothing is left without an owner.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from cgagent.engine.policies import targets
from cgagent.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cgroups import Group as KernelGroup
    from cgagent.cgroups import Host, Limits, Usage
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.groups.group import Group
    from cgagent.engine.groups.whole import Whole
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.lifecycle.control import Control
    from cgagent.engine.options.overrides import LimitOverride
    from cgagent.policy.rulesets.model import Target

FREEZE_S: Final = 10.0
"""A freeze that takes longer is given up."""
KILL_S: Final = 10.0
"""What has not ended by then is told."""


class Subject(Protocol):
    """Properties say what is so now; a change raises CgagentError where it cannot be."""

    @property
    def target(self) -> Target: ...
    @property
    def is_gone(self) -> bool:
        """Removed: nothing of it is left that could be held to anything."""

    @property
    def running(self) -> bool:
        """There is something to act on; a group is always."""

    @property
    def up(self) -> bool:
        """Something in it runs, or soon will."""

    @property
    def works(self) -> bool:
        """Something in it runs, and it is not frozen."""

    @property
    def run_ns(self) -> int | None:
        """When its run began; a group has none."""

    @property
    def budget(self) -> str: ...
    @property
    def reclaim(self) -> str: ...
    @property
    def limits(self) -> Limits:
        """Those that its user has asked for."""

    @property
    def overrides(self) -> tuple[LimitOverride, ...]: ...
    @property
    def frozen(self) -> bool: ...
    @property
    def thaw_at_ns(self) -> int | None:
        """When its freeze ends by itself."""

    def kernel(self) -> KernelGroup: ...
    def usage(self) -> Usage | None:
        """Of its last sample."""

    def held(self) -> Limits:
        """What the kernel holds."""

    async def override(self, override: LimitOverride) -> None: ...
    async def lift(self, owner: str, reason: str = "lifted") -> None: ...
    async def freeze(self, lease_s: float) -> None: ...
    async def thaw(self, by: str) -> None: ...
    async def stop(self, until_ns: int) -> None:
        """All that runs in it, as a user would."""

    async def start_again(self) -> None:
        """What `stop` has stopped."""

    async def kill(self) -> None:
        """SIGKILL all that runs in it; restart policies start what they are of again."""


class ContainerSubject:
    def __init__(self, container: Container, of: Subjects) -> None:
        self._container = container
        self._of = of

    @property
    def target(self) -> Target:
        return targets.of_container(self._container)

    @property
    def is_gone(self) -> bool:
        return self._container.removed

    @property
    def running(self) -> bool:
        return self._container.running

    @property
    def up(self) -> bool:
        return self._container.up

    @property
    def works(self) -> bool:
        return self._container.running and not self._container.frozen

    @property
    def run_ns(self) -> int | None:
        return self._container.record.outcome.started_ns

    @property
    def budget(self) -> str:
        return self._container.record.config.budget

    @property
    def reclaim(self) -> str:
        return self._container.record.config.reclaim

    @property
    def limits(self) -> Limits:
        return self._container.record.limits

    @property
    def overrides(self) -> tuple[LimitOverride, ...]:
        return self._container.record.overrides

    @property
    def frozen(self) -> bool:
        return self._container.frozen

    @property
    def thaw_at_ns(self) -> int | None:
        return self._container.record.outcome.thaw_at_ns

    def kernel(self) -> KernelGroup:
        return self._of.lifecycle.group(self._container)

    def usage(self) -> Usage | None:
        return self._of.used(self._container.id)

    def held(self) -> Limits:
        held = self._of.control.held_limits(self._container)
        if held is None:
            raise ConflictError(f"{self.target} has ended")
        return held

    async def override(self, override: LimitOverride) -> None:
        await self._of.control.override(self._container, override)

    async def lift(self, owner: str, reason: str = "lifted") -> None:
        await self._of.control.lift(self._container, owner, reason)

    async def freeze(self, lease_s: float) -> None:
        await self._of.control.freeze(self._container, FREEZE_S, lease_s)

    async def thaw(self, by: str) -> None:
        await self._of.control.thaw(self._container, by=by)

    async def stop(self, until_ns: int) -> None:  # noqa: ARG002 - a user may start it earlier
        await self._of.lifecycle.stop(self._container)

    async def start_again(self) -> None:
        if self._container.record.outcome.status == "exited":
            await self._of.lifecycle.start(self._container)

    async def kill(self) -> None:
        await asyncio.to_thread(self.kernel().kill, KILL_S)


class GroupSubject:
    """By its name: its record is replaced as a whole."""

    def __init__(self, name: str, of: Subjects) -> None:
        self._name = name
        self._of = of

    @property
    def _group(self) -> Group:
        return self._of.whole.groups.find(self._name)

    @property
    def target(self) -> Target:
        return targets.of_group(self._group, self._of.whole.groups)

    @property
    def is_gone(self) -> bool:
        return self._of.whole.groups.get(self._name) is None

    @property
    def running(self) -> bool:
        return not self.is_gone

    @property
    def up(self) -> bool:
        return any(c.up for c in self._of.whole.groups.members(self._name))

    @property
    def works(self) -> bool:
        members = self._of.whole.groups.members(self._name)
        return any(c.running for c in members) and not self.frozen

    @property
    def run_ns(self) -> int | None:
        return None

    @property
    def budget(self) -> str:
        return self._group.budget

    @property
    def reclaim(self) -> str:
        return self._group.reclaim

    @property
    def limits(self) -> Limits:
        return self._group.limits

    @property
    def overrides(self) -> tuple[LimitOverride, ...]:
        return self._group.overrides

    @property
    def frozen(self) -> bool:
        groups = self._of.whole.groups
        is_held = groups.frozen_above(groups.path(self._name)) is not None
        return is_held or self._group.frozen_since_ns is not None

    @property
    def thaw_at_ns(self) -> int | None:
        return self._group.thaw_at_ns

    def kernel(self) -> KernelGroup:
        return self._of.whole.directories.of(self._group)

    def usage(self) -> Usage | None:
        return self._of.used(targets.sampled_id(self.target))

    def held(self) -> Limits:
        return self.kernel().held()

    async def override(self, override: LimitOverride) -> None:
        await self._of.whole.holding.override(self._name, override)

    async def lift(self, owner: str, reason: str = "lifted") -> None:
        await self._of.whole.holding.lift(self._name, owner, reason)

    async def freeze(self, lease_s: float) -> None:
        await self._of.whole.freezing.freeze(self._name, FREEZE_S, lease_s)

    async def thaw(self, by: str) -> None:
        await self._of.whole.freezing.thaw(self._name, by)

    async def stop(self, until_ns: int) -> None:
        await self._of.whole.ending.stop_until(self._name, until_ns)

    async def start_again(self) -> None:
        await self._of.whole.ending.start_again(self._name)

    async def kill(self) -> None:
        await self._of.whole.ending.kill_tasks(self._name)


class Subjects:
    """By their keys, as targets have them."""

    def __init__(
        self,
        host: Host,
        containers: Containers,
        control: Control,
        lifecycle: Lifecycle,
        whole: Whole,
        *,
        used: Callable[[str], Usage | None],
    ) -> None:
        """`used`: the usage of a target's last sample, by its id in the sampler."""
        self.host = host
        self._containers = containers
        self.control = control
        self.lifecycle = lifecycle
        self.whole = whole
        self.used = used

    def container(self, container: Container) -> Subject:
        return ContainerSubject(container, self)

    def group(self, name: str) -> Subject:
        return GroupSubject(name, self)

    def get(self, key: str) -> Subject | None:
        """None: it is not there, or is a cgroup of the host, or the host."""
        kind, _, id_ = key.partition(":")
        if kind == "group":
            return self.group(id_) if self.whole.groups.get(id_) else None
        container = self._containers.get(id_) if kind == "container" else None
        return None if container is None else self.container(container)
