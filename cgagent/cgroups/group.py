"""One control group: the same path in every hierarchy that its host uses.

A `Group` is a name: it holds no descriptor, and the kernel's group may come and go. Every
method that needs the kernel's group raises NotFoundError where there is none.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import devices, files, processes, tree
from cgagent.cgroups.devices import CONTAINER_DEVICES
from cgagent.cgroups.freezer import Freezer, FreezerV1, FreezerV2, FrozenBy, State, is_event_set
from cgagent.cgroups.hierarchy import Layout, checked_path, names_below
from cgagent.errors import InvalidInputError, NotFoundError, UnsupportedError

# Controllers, and what counts kills, are loaded where they are used: 35 ms, which a program that
# makes a group, puts a process into it and removes it does not spend.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cgagent.cgroups.changes import Write
    from cgagent.cgroups.controllers import Controllers
    from cgagent.cgroups.device_rule import DeviceRule
    from cgagent.cgroups.drift import Drift
    from cgagent.cgroups.events import Oom
    from cgagent.cgroups.limits import Limits
    from cgagent.cgroups.oom import OomCounters
    from cgagent.cgroups.usage import Usage

_REMOVAL_S: Final = (0.0, 0.001, 0.002, 0.004)
"""Pauses, in all of which a group that is being removed is gone."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a host. Made by `Host.group`."""

    host: Layout
    path: str

    def at(self, path: str) -> Group:
        """Another group of the same host. Raises InvalidInputError, as `Host.group`."""
        return Group(self.host, checked_path(path))

    def create(self) -> tuple[str, ...]:
        """Make the group, and those above it, in every hierarchy; complete one that exists.

        Enables cgroup2's controllers along the path and fills v1's cpusets from the parents.

        Returns:
            The directories it made: of this group, and of those above that were not there.

        Raises:
            DeniedError: no privilege, or a read-only mount.
            ConflictError: a cgroup2 group above it has processes of its own.
        """
        self._refuse_root("made")
        return tuple(tree.create(self.host, self.path))

    def missing(self) -> tuple[str, ...]:
        """The directories, of this group and of those above it, that `create` makes at most."""
        return tuple(tree.missing(self.host, self.path))

    def exists(self) -> bool:
        return any(map(os.path.isdir, tree.directories(self.host, self.path)))

    def remove(self, timeout_s: float = 5.0, *, made: Iterable[str] = ()) -> None:
        """Remove it and all below it; a missing one is fine.

        Of the directories `made`, which `create` returned, those above it go as well unless
        something else is in them.

        Raises:
            ConflictError: processes are left in it.
            DeadlineError: it stays busy.
        """
        self._refuse_root("removed")
        tree.remove(self.host, self.path, timeout_s)
        tree.prune(made)

    def remove_if_empty(self) -> bool:
        """Remove it at once if neither processes nor groups are in it; whether it is gone now."""
        self._refuse_root("removed")
        return tree.remove_if_empty(self.host, self.path)

    def children(self) -> tuple[str, ...]:
        """Names of the groups right below it, in whichever hierarchy; none where it is not."""
        names = (name for d in self._directories() for name in names_below(d))
        return tuple(dict.fromkeys(names))

    def join(self, pid: int) -> None:
        """Move a process, with its threads, into the group.

        The first join on v1 after a while waits for the kernel (6 to 18 ms).

        Raises:
            NotFoundError: no such group or process.
        """
        processes.join(self._existing(), pid)

    def join_files(self) -> tuple[str, ...]:
        """The v1 files into which a process of one thread writes "0" to join.

        For a thread that moves itself the kernel takes no lock that all forks hold; a write to
        ``cgroup.procs`` waits for that lock, up to 20 ms (``cgroup_procs_write_start`` in
        kernel/cgroup/cgroup.c, since Linux 5.5).
        """
        return tuple(f"{path}/tasks" for path in self.v1_dirs())

    def v1_dirs(self) -> tuple[str, ...]:
        """Its directories in the v1 hierarchies; cgroup2's is `unified_dir`."""
        unified = self.unified_dir()
        return tuple(path for path in self._existing() if path != unified)

    def unified_dir(self) -> str | None:
        """The cgroup2 directory, for CLONE_INTO_CGROUP; None where no cgroup2 is mounted."""
        return self.host.unified.mount + self.path.rstrip("/") if self.host.unified else None

    def apply(
        self, limits: Limits, *, force: bool = False, new: bool = False, timeout_s: float = 10.0
    ) -> None:
        """Write the limits that are not None, all or none of them.

        A memory_max_bytes below what is in use is reached in steps, nothing being killed for
        it, in `timeout_s` at most; with `force` it is written at once, and on v2 the kernel
        kills for it. Enables a controller of cgroup2 that is needed and not there yet.
        `new` is for a group just made, in which nothing runs yet and which is removed when this
        fails: no earlier value is read or put back.

        Raises:
            UnsupportedError: this host has no such limit; says which file is missing.
            InvalidInputError: the kernel refuses a value.
            ConflictError: more memory is in use than asked for and cannot be reclaimed, or the
                group's tasks stand still for it.
        """
        from cgagent.cgroups import changes, shrink

        self._require_there()
        tree.enable_for(self.host, self.path, limits)
        writes = self._plan(limits)
        if new:
            changes.make(writes)
            return
        changes.check(writes)
        with ExitStack() as stack:
            if not force:
                memory, unified = self.controllers().memory, self.unified_dir()
                stack.enter_context(shrink.room_for(memory, unified, limits, timeout_s))
            changes.commit(writes)

    def earlier(self, limits: Limits) -> tuple[tuple[str, str], ...]:
        """What `put_back` needs to undo an `apply` of these limits that never came back.

        An `apply` that fails undoes itself. Kept somewhere safe before it, this is for one that
        a crash cut short: (file, text) pairs, in the order to write them.

        Raises:
            UnsupportedError: this host has no such limit.
        """
        from cgagent.cgroups import changes, shrink

        self._require_there()
        tree.enable_for(self.host, self.path, limits)
        brake = shrink.earlier(self.controllers().memory, limits)
        return (*changes.earlier(self.plan(limits)), *brake)

    def put_back(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Undo what `earlier` was asked about; nothing where the group is gone.

        Raises:
            CgagentError: a file could not be written; the others were.
        """
        from cgagent.cgroups import changes

        changes.put_back(pairs)

    def plan(self, limits: Limits) -> list[Write]:
        """What `apply` would write, in its order.

        Raises:
            UnsupportedError: this host has no such limit.
        """
        self._require_there()
        return self._plan(limits)

    def _plan(self, limits: Limits) -> list[Write]:
        from cgagent.cgroups import conf

        pairs = limits.conf or ()
        settings = conf.writes(self.host.placements, self.path, pairs)
        return [*self.controllers().writes(limits), *settings]

    def held(self, conf_files: Iterable[str] = ()) -> Limits:
        """The limits as the kernel holds them: rounded, or set by someone else.

        `conf` has those of `conf_files` that are there; it is None when none was asked for.
        """
        from cgagent.cgroups import conf

        self._require_there()
        names = tuple(conf_files)
        settings = conf.held(self.host.placements, self.path, names) if names else None
        return replace(self.controllers().held(), conf=settings)

    def drift(self, asked: Limits) -> tuple[Drift, ...]:
        """Where what the kernel holds now is not what was asked, settings by file included."""
        return asked.diff(self.held(name for name, _ in asked.conf or ()))

    def usage(self) -> Usage:
        """The usage now. To read it often, keep a `Reader`."""
        self._require_there()
        return self.controllers().usage()

    def reclaim(
        self,
        amount_bytes: int | None = None,
        stop: Callable[[], bool] = lambda: False,
        *,
        may_swap: bool = True,
    ) -> int:
        """Have the kernel take memory back that is not used, of a group that is frozen, say.

        With None all that goes. v1 takes some MiB more than it is asked for, v2 some pages. `stop`
        is asked each few milliseconds at least. What is anonymous is left alone where it may not be
        swapped (v2, since Linux 6.9).

        Returns:
            The bytes that fewer are in use now.

        Raises:
            UnsupportedError: no memory controller, or one that cannot (v2: before Linux 5.19).
        """
        from cgagent.cgroups.reclaim import reclaim

        self._require_there()
        memory = self.controllers().memory
        if memory is None:
            raise UnsupportedError(f"cgroup {self.path}: this host has no memory controller")
        return reclaim(memory, amount_bytes, stop, may_swap=may_swap)

    def oom_kills(self) -> int:
        """How many processes of the group or below the kernel's OOM killer has ended."""
        self._require_there()
        memory = self.controllers().memory
        count = memory.oom_kills() if memory else None
        if count is None:
            raise UnsupportedError(f"cgroup {self.path}: this host does not count its OOM kills")
        return count

    def oom_counters(self, *, new: bool = False) -> OomCounters:
        """What to give to `oom_report` later; `new`: nothing has run in the group yet."""
        from cgagent.cgroups.oom import OomCounters

        self._require_there()
        return OomCounters.of_new(self) if new else OomCounters.of(self)

    def oom_report(self, since: OomCounters) -> Oom | None:
        """What the OOM killer did in the group since then, None when nothing.

        It names whose limit was hit: the group's, or that of one above or below it.
        """
        from cgagent.cgroups import oom

        self._require_there()
        return oom.report(self, since)

    def freezer_state(self) -> State:
        self._require_there()
        return self._freezer().state()

    def frozen_by(self) -> FrozenBy | None:
        """Who asked for the freeze: the group's own freezer, one above it, or nobody.

        "self" also while both ask: a thaw of the group alone does not end such a freeze.
        """
        self._require_there()
        return self._freezer().frozen_by()

    def freeze(self, timeout_s: float = 10.0) -> None:
        """Stop every task, and return when all have stopped.

        Raises:
            ConflictError: it was thawed meanwhile, or its tasks ended.
            DeadlineError: a task did not stop; the group was thawed again.
            UnsupportedError: the host has no freezer.
        """
        self._require_there()
        self._freezer().freeze(timeout_s)

    def thaw(self, timeout_s: float = 10.0) -> None:
        """Let the tasks run again.

        Raises:
            DeadlineError: a group above it is frozen.
        """
        self._require_there()
        self._freezer().thaw(timeout_s)

    def pids(self) -> list[int]:
        """The processes of the group and below, in our own pid namespace, in order."""
        return processes.pids(self._existing())

    def has_pids(self) -> bool:
        """Whether there are any `pids`."""
        return processes.has_any(self._existing())

    def why_alive(self) -> str:
        """Say why processes that were killed have not ended, or what to look at."""
        return processes.why_alive(self._existing(), self.pids())

    def kill(self, timeout_s: float = 10.0) -> None:
        """SIGKILL every process, and return when none is left.

        Raises:
            DeadlineError: some have not ended.
        """
        self._refuse_root("killed")
        processes.kill(self.path, self._existing(), self._freezer(), timeout_s)

    def restrict_devices(self, rules: Iterable[DeviceRule] = CONTAINER_DEVICES) -> None:
        """Deny every device but what the rules allow, in order; replaces earlier rules.

        Raises:
            DeniedError: no privilege, or the group above does not have a device itself.
            UnsupportedError: neither a v1 devices controller nor cgroup2.
        """
        self._require_there()
        place = self.host.placements.get("devices")
        unified = self.unified_dir()
        if place:
            devices.restrict_v1(place.mount + self.path, rules)
        elif unified:
            devices.restrict_v2(unified, rules)
        else:
            raise UnsupportedError(f"cgroup {self.path}: this host has no devices controller")

    def inodes(self) -> dict[str, int]:
        """Its directories and their inodes, by which a group of the same name is told apart."""
        found = {}
        for directory in tree.directories(self.host, self.path):
            with suppress(FileNotFoundError):
                found[directory] = os.stat(directory).st_ino
        return found

    def controllers(self, *, deep: bool = True) -> Controllers:
        """Its controllers, for a reader; see `Controllers.of`."""
        from cgagent.cgroups.controllers import Controllers

        return Controllers.of(self.host, self.path, deep=deep)

    def _freezer(self) -> Freezer:
        """cgroup2's where the tasks are in it; a group that is only in v1 has v1's."""
        unified = self.unified_dir()
        place = self.host.placements.get("freezer")
        v1 = place.mount + self.path.rstrip("/") if place and place.version == 1 else None
        for pause_s in _REMOVAL_S:  # the files of a group that is being removed go first
            time.sleep(pause_s)
            in_unified = unified and _is_populated(unified)
            if v1 and not in_unified and os.path.exists(f"{v1}/freezer.state"):
                return FreezerV1(v1)
            if unified and os.path.exists(f"{unified}/cgroup.freeze"):
                return FreezerV2(unified)
            if not any(map(os.path.isdir, filter(None, (unified, v1)))):
                raise NotFoundError(f"cgroup {self.path}: it does not exist")
        raise UnsupportedError(
            f"cgroup {self.path}: there is neither cgroup.freeze nor freezer.state for it"
        )

    def _directories(self) -> list[str]:
        return [d for d in tree.directories(self.host, self.path) if os.path.isdir(d)]

    def _existing(self) -> list[str]:
        self._require_there()
        return self._directories()

    def _require_there(self) -> None:
        if not self.exists():
            raise NotFoundError(f"cgroup {self.path}: it does not exist")

    def _refuse_root(self, what: str) -> None:
        if self.path == "/":
            raise InvalidInputError(f"cgroup /: the root group cannot be {what}")


def _is_populated(unified: str) -> bool:
    return is_event_set(files.read(f"{unified}/cgroup.events"), "populated")
