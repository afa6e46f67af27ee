"""Whose limit an OOM kill was for: kept beside the counts of one `Watcher`, which owns both.

`Hits` compares v2's counts of limits hit; `Alarms` are v1's notifications: the kernel signals a
group's eventfd, and those of all groups below it, when the group's limit brings the OOM killer.
`reclaim_alarm` is v1's other one: the kernel reclaims in a group because of its own limit. (A
threshold at the limit is not: it is looked at once in 128 pages, when reclaim has made room.)

Source: admin-guide/cgroup-v1/memory.rst; mm/vmpressure.c.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import files, oom
from cgagent.cgroups.hierarchy import subgroups
from cgagent.cgroups.memory import MemoryV1

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from cgagent.cgroups.group import Group

_RECENT_S: Final = 1.0
"""One shortage ends several processes, and not at one moment."""
_LATE_S: Final = 30.0
"""So long after an alarm a first kill is put down to it."""


class Hits:
    """How often each limit had been hit, and when that was last seen to rise."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._risen_at: dict[str, float] = {}

    def __len__(self) -> int:
        """How many groups are known."""
        return len(self._counts)

    def learn(self, group: Group) -> None:
        for one in _related(group):
            self._look(one)

    def forget(self, group_path: str, watched: Collection[str]) -> None:
        """Of a group that is `watched` no more: what no other one has below or above it."""
        for path in [p for p in self._counts if _is_kin(p, group_path)]:
            if not any(_is_kin(path, other) for other in watched):
                del self._counts[path]
                self._risen_at.pop(path, None)

    def limiting(self, group: Group) -> Group | None:
        """The group whose limit was hit for a kill in `group`; None: it was the machine."""
        related = list(_related(group))
        for one in related:
            self._look(one, is_new=0)
        latest = time.monotonic() - _RECENT_S
        return next((g for g in related if self._risen_at.get(g.path, 0) > latest), None)

    def _look(self, group: Group, is_new: int | None = None) -> None:
        """A group not seen before has begun at `is_new`, or where it is now."""
        count = oom.hits(group)
        if count is None:
            return
        if count > self._counts.get(group.path, count if is_new is None else is_new):
            self._risen_at[group.path] = time.monotonic()
        self._counts[group.path] = count


def _related(group: Group) -> Iterator[Group]:
    """Those above it, nearest first, then those below."""
    yield from oom.lineage(group)
    memory = group.controllers().memory
    if memory:
        for directory in subgroups(memory.directory):
            yield group.at(group.path + directory.removeprefix(memory.directory))


def _is_kin(path: str, other: str) -> bool:
    """Whether one of them is the other, or below it."""
    one, two = (p.rstrip("/") + "/" for p in (path, other))
    return one.startswith(two) or two.startswith(one)


class Alarms:
    """Eventfds of v1 groups, one for each group however many groups below it are watched."""

    def __init__(self) -> None:
        self._by_path: dict[str, int] = {}
        self._users: dict[str, set[str]] = {}
        self._rung_at: dict[str, float] = {}
        self._told_at: dict[str, float] = {}
        """When a kill in a watched group was last put down to an alarm, or to none."""
        self._below: dict[str, str] = {}
        """Directories of groups below watched ones, by path: they come and go."""

    def arm_below(self, group: Group, directory: str) -> int:
        """The alarm of a limit in a group below, which none of those above hears; a new one.

        `directory` is that of v1's memory controller.

        Raises:
            OSError, NotFoundError: it is gone already.
        """
        top = group.controllers().memory
        path = group.path + directory.removeprefix(top.directory if top else "")
        descriptor = _event_of(directory, "memory.oom_control")
        before = self._by_path.get(path)
        if before is not None:
            os.close(before)
        self._by_path[path], self._below[path] = descriptor, directory
        self._users.setdefault(path, set()).add(group.path)
        return descriptor

    def arm(self, group: Group) -> list[int]:
        """Alarms of the group and those above it; returns the descriptors that are new.

        Raises:
            OSError: the group's own cannot be set.
        """
        new = []
        for one in oom.lineage(group):
            if one.path not in self._by_path:
                try:
                    self._by_path[one.path] = _alarm(one)
                except PermissionError:
                    break  # delegated to us from here down: what is above stays unknown
                new.append(self._by_path[one.path])
            self._users.setdefault(one.path, set()).add(group.path)
        return new

    def disarm(self, group_path: str) -> list[int]:
        """Close the alarms that only this group needed; returns their descriptors."""
        closed = []
        self._told_at.pop(group_path, None)
        for path, users in list(self._users.items()):
            users.discard(group_path)
            if not users:
                del self._users[path]
                closed.append(self._close(path))
        return closed

    def _close(self, path: str) -> int:
        for known in (self._rung_at, self._below):
            known.pop(path, None)
        descriptor = self._by_path.pop(path)
        os.close(descriptor)
        return descriptor

    def of(self, group: Group) -> list[int]:
        """The descriptors of all alarms that a watched group has."""
        return [self._by_path[path] for path, users in self._users.items() if group.path in users]

    def ring(self, descriptor: int) -> set[str]:
        """The watched groups that an alarm is for, now that it has rung; () if it is none."""
        path = next((p for p, d in self._by_path.items() if d == descriptor), None)
        if path is None or not times_rung(descriptor):
            return set()
        if path in self._below and not os.path.exists(self._below[path]):  # a group's end rings it
            del self._users[path]
            self._close(path)
            return set()
        self._rung_at[path] = time.monotonic()
        return self._users[path]

    def limiting(self, group: Group) -> Group | None:
        """The topmost whose alarm rang lately: all below it rang with it."""
        now = time.monotonic()
        found = self._rung_since(group, now - _RECENT_S)
        if found is None:  # the kill of an alarm comes when the kernel's report is written
            found = self._rung_since(group, max(self._told_at.get(group.path, 0), now - _LATE_S))
        self._told_at[group.path] = now
        return found

    def _rung_since(self, group: Group, since_s: float) -> Group | None:
        rung = [g for g in oom.lineage(group) if self._rung_at.get(g.path, 0) > since_s]
        if rung:
            return rung[-1]
        below = [p for p, at in self._rung_at.items() if p in self._below and at > since_s]
        ours = [p for p in below if p.startswith(group.path + "/")]
        return group.at(min(ours, key=len)) if ours else None

    def close(self) -> None:
        for descriptor in self._by_path.values():
            os.close(descriptor)
        self._by_path = {}


def times_rung(descriptor: int) -> int:
    """How often, since it was asked last; 0 of one that has the number of one that rang before."""
    try:
        return os.eventfd_read(descriptor)
    except BlockingIOError:
        return 0


def reclaim_alarm(group: Group) -> int | None:
    """An eventfd that the kernel adds to while the group's own limit makes it reclaim there.

    Once for each 512 pages it has looked through. None where it cannot be had: not privileged,
    or a kernel without it (PREEMPT_RT).
    """
    try:
        return _event(group, "memory.pressure_level", "low,local")
    except OSError:
        return None


def _alarm(group: Group) -> int:
    return _event(group, "memory.oom_control")


def _event(group: Group, name: str, *arguments: str) -> int:
    memory = group.controllers().memory
    return _event_of(memory.directory if isinstance(memory, MemoryV1) else "", name, *arguments)


def _event_of(directory: str, name: str, *arguments: str) -> int:
    descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        control = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            words = (str(descriptor), str(control), *arguments)
            files.write(f"{directory}/cgroup.event_control", " ".join(words))
        finally:
            os.close(control)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
