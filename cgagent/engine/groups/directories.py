"""The cgroups of groups: made with a group, and again wherever they have gone.

They go with a reboot, and with an agent that ends while nothing runs. So they are completed when an
agent starts and before anything is made below one.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_thread
from cgagent.engine.options.overrides import to_write
from cgagent.errors import CgagentError, ConflictError

if TYPE_CHECKING:
    from cgagent.cgroups import Group as KernelGroup
    from cgagent.cgroups import Host, Limits
    from cgagent.engine.groups.group import Group
    from cgagent.engine.groups.registry import Groups
    from cgagent.engine.lifecycle.parents import Parents

log = logging.getLogger(__name__)

_LIFTED: Final = (
    *("memory_max_bytes", "memory_high_bytes", "memory_low_bytes", "memory_min_bytes"),
    *("memory_swap_max_bytes", "cpu_quota_us", "cpu_period_us", "cpu_idle", "pids_max"),
)


class GroupDirectories:
    def __init__(self, host: Host, groups: Groups, parents: Parents) -> None:
        self._host = host
        self._groups = groups
        self._parents = parents
        self._making: set[str] = set()
        """Paths of those that are made and have no record yet."""
        parents.kept = lambda: {*groups.paths(), *self._making}
        parents.complete = self.complete

    def of(self, group: Group) -> KernelGroup:
        return self._host.group(self._groups.path(group.name))

    async def make(self, group: Group) -> None:
        """Of a group that is about to have a record; where it fails, nothing is left.

        Raises:
            ConflictError: there is such a cgroup, which is somebody else's.
            CgagentError: the kernel refuses a limit.
        """
        kernel = self.of(group)
        if self._parents.is_foreign(kernel) and not self._groups.members(group.name):
            raise ConflictError(
                f"group {group.name}: cgroup {kernel.path} is there already, and not made by "
                "cgagent; choose another name, or remove that cgroup"
            )
        self._making.add(kernel.path)
        was_there = kernel.exists()
        try:
            self._parents.make_noted(kernel)
            limits = _exactly(group.limits, kernel.held()) if was_there else group.limits
            await in_thread(lambda _: kernel.apply(limits))
        except BaseException:
            self._making.discard(kernel.path)
            self._parents.prune()
            raise
        self._making.discard(kernel.path)

    def complete(self, path: str) -> None:
        """Make those above a cgroup that have a record and are not there, with their limits.

        Raises:
            CgagentError: one cannot be made, or the kernel refuses a limit of it.
        """
        for group in self._groups.above(path):
            self._complete(group)

    def complete_with(self, group: Group) -> None:
        """As `complete`, the group's own cgroup as well."""
        for one in (*self._groups.above(self._groups.path(group.name)), group):
            self._complete(one)

    def _complete(self, group: Group) -> None:
        kernel = self.of(group)
        try:
            if kernel.create():
                self._fill(group, kernel)
        except CgagentError as e:
            raise type(e)(f"group {group.name} cannot be made again: {e.message}") from e

    @staticmethod
    def _fill(group: Group, kernel: KernelGroup) -> None:
        """Nothing may start in one without its limits: where they are refused, it goes again."""
        try:
            if dict(group.limits_in_force):
                kernel.apply(group.limits_in_force)
            if group.frozen_since_ns:
                kernel.freeze()
        except CgagentError:
            kernel.remove_if_empty()
            raise

    def complete_all(self) -> None:
        """When the agent starts. What fails is met again, and told, by whoever needs it."""
        for group in self._groups.all():
            try:
                self._complete(group)
                self._resume(group)
            except CgagentError as e:
                log.error("%s", e.message)  # noqa: TRY400

    def _resume(self, group: Group) -> None:
        """Undo what an agent's death has cut short."""
        kernel = self.of(group)
        if group.undo:
            log.warning("group %s: an update was cut short: undone", group.name)
            kernel.put_back(group.undo)
            group = replace(group, undo=())
            self._groups.save(group)
        if not (kernel.children() or kernel.has_pids()):  # it may have been made without limits
            self._fill(group, kernel)
        elif group.frozen_since_ns and kernel.frozen_by() != "self":
            log.warning("group %s: a freeze or thaw was cut short: it is thawed", group.name)
            self._groups.save(replace(group, frozen_since_ns=None, thaw_at_ns=None))


def _exactly(asked: Limits, held: Limits) -> Limits:
    """For a cgroup that an earlier group has left: what is not asked for is lifted."""
    names = [name for name in _LIFTED if getattr(asked, name) != getattr(held, name)]
    return asked.merged(to_write(names, held, asked))
