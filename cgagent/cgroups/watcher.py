"""Waiting for what happens in many groups, without looking again and again and without a thread.

    with Watcher() as watcher:
        watcher.add(group, Trigger("memory", "some", stall_us=150_000, window_us=1_000_000))
        select.select([watcher.fileno()], [], [])
        for event in watcher.read():
            ...

The kernel announces changes of cgroup2's event files, of pids.events (both versions) and of
pressure by inotify, and by eventfds that a v1 memory limit makes it reclaim, and brings the OOM
killer. (Pressure files can be polled, but a poll takes the news away: through two layers of epoll
it is lost.) What it announces nowhere comes nowhere: on a host without cgroup2 neither Populated
nor Frozen nor PressureStall, with v1's memory controller no MemoryHigh.
"""

from __future__ import annotations

import errno
import os
import select
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from cgagent.cgroups import files, oom
from cgagent.cgroups.alarms import Alarms, Hits, reclaim_alarm, times_rung
from cgagent.cgroups.events import (
    Event,
    Frozen,
    MemoryHigh,
    MemoryMax,
    PidsRefused,
    Populated,
    PressureStall,
    Removed,
    Trigger,
)
from cgagent.cgroups.hierarchy import names_below
from cgagent.cgroups.memory import MemoryV1, MemoryV2
from cgagent.errors import ConflictError, NotFoundError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from cgagent.cgroups.group import Group

_KILL_WAIT_S: Final = 5.0
"""v1 signals before it kills, and counts a kill when it has written its report into the kernel's
log: on a slow console, or behind another group's kill, seconds later."""
_PAUSE_S: Final = 0.001
_LONGEST_PAUSE_S: Final = 0.2
_NESTED_MAX: Final = 64
"""Groups below one that is watched whose alarms are heard: they cost a descriptor each."""
_TRIGGER_CAUSES: Final = {
    errno.EINVAL: "a window is 500000..10000000 us, a stall no longer, and without privilege a "
    "window is a multiple of 2000000 us",
    errno.EOPNOTSUPP: "pressure is switched off: boot with psi=1",
}


class Watcher:
    """The events of the groups that were added. Not to be shared between threads.

    Holds three descriptors, one for each trigger, and with v1's memory controller two for each
    group and one for each above it. Its owner closes it.
    """

    def __init__(self) -> None:
        from cgagent.cgroups.inotify import Inotify
        from cgagent.cgroups.timer import Timer

        self._watched: dict[str, _Watched] = {}
        self._by_watch: dict[int, _Watched] = {}
        self._parents: dict[int, dict[str, _Watched]] = {}
        self._triggers: dict[int, _OpenTrigger] = {}
        self._reclaims: dict[int, _Watched] = {}
        self._nests: dict[int, tuple[_Watched, str]] = {}
        """The directories of v1's memory in which groups may be made, by inotify watch."""
        self._awaited: dict[str, float] = {}
        self._hits = Hits()
        self._alarms = Alarms()
        self._inotify = Inotify()
        self._again = Timer()
        self._pause_s = _PAUSE_S
        self._epoll = select.epoll()
        self._epoll.register(self._inotify.fd, select.EPOLLIN)
        self._epoll.register(self._again.fd, select.EPOLLIN)

    def fileno(self) -> int:
        """A descriptor that is readable when `read` has something to do."""
        return self._epoll.fileno()

    def __contains__(self, group: Group) -> bool:
        """Whether it is watched."""
        return group.path in self._watched

    def add(self, group: Group, *triggers: Trigger) -> None:
        """Watch a group from now on.

        Raises:
            NotFoundError: it does not exist.
            ConflictError: it is watched already.
            UnsupportedError: a trigger without pressure information for it.
            InvalidInputError: the kernel refuses a trigger.
        """
        if group.path in self._watched:
            raise ConflictError(f"cgroup {group.path}: it is watched already")
        directories = group.inodes()
        if not directories:
            raise NotFoundError(f"cgroup {group.path}: it does not exist")
        watched = _Watched(group, *next(iter(directories.items())))
        self._watched[group.path] = watched
        try:
            self._start(watched, triggers)
        except BaseException as error:
            self.remove(group)
            if isinstance(error, OSError):
                what = f"cgroup {group.path}: it cannot be watched"
                raise files.failure(what, error) from error
            raise

    def remove(self, group: Group) -> None:
        """Stop watching a group; one that is not watched is fine."""
        watched = self._watched.pop(group.path, None)
        if not watched:
            return
        self._awaited.pop(group.path, None)
        for watch in [w for w, one in self._by_watch.items() if one is watched]:
            del self._by_watch[watch]
            self._inotify.remove(watch)
        self._leave_directories(watched)
        for fd in [fd for fd, trigger in self._triggers.items() if trigger.watched is watched]:
            del self._triggers[fd]
            os.close(fd)
        for fd in [fd for fd, one in self._reclaims.items() if one is watched]:
            del self._reclaims[fd]
            os.close(fd)
        self._hits.forget(group.path, self._watched)
        self._alarms.disarm(group.path)  # a closed eventfd leaves the epoll by itself

    def _leave_directories(self, watched: _Watched) -> None:
        for watch in [w for w, names in self._parents.items() if watched.name in names]:
            if self._parents[watch].get(watched.name) is watched:
                del self._parents[watch][watched.name]
            if not self._parents[watch]:
                del self._parents[watch]
                if watch not in self._nests:
                    self._inotify.remove(watch)
        for watch in [w for w, (one, _) in self._nests.items() if one is watched]:
            del self._nests[watch]
            if watch not in self._parents:
                self._inotify.remove(watch)

    def read(self) -> list[Event]:
        """What has happened since the last reading, for each group in order. Does not wait."""
        changed: dict[str, None] = {}
        events: list[Event] = []
        for fd, _ in self._epoll.poll(0):
            if fd == self._inotify.fd:
                changed.update(dict.fromkeys(self._noticed()))
                events += self._stalled()
            elif fd == self._again.fd:
                self._again.read()
            elif fd in self._reclaims:
                self._reclaims[fd].reclaims += times_rung(fd)
                changed[self._reclaims[fd].group.path] = None
            else:
                self._hear(fd)
        for path in [*changed, *(path for path in self._awaited if path not in changed)]:
            watched = self._watched.get(path)
            events += self._events_of(watched) if watched else ()
        if self._awaited:
            self._again.set(self._pause_s)
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        return events

    def close(self) -> None:
        for watched in list(self._watched.values()):
            self.remove(watched.group)
        self._alarms.close()
        self._epoll.close()
        self._inotify.close()
        self._again.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self, watched: _Watched, triggers: tuple[Trigger, ...]) -> None:
        from cgagent.cgroups import inotify

        for path in watched.paths():
            if os.path.exists(path):
                self._by_watch[self._inotify.add(path, inotify.MODIFY)] = watched
        parent = self._inotify.add(os.path.dirname(watched.directory), inotify.DELETE)
        self._parents.setdefault(parent, {})[watched.name] = watched
        if isinstance(watched.memory, MemoryV1):
            for fd in self._alarms.arm(watched.group):
                self._epoll.register(fd, select.EPOLLIN)
            self._nest(watched, watched.memory.directory)
            reclaim = reclaim_alarm(watched.group)
            if reclaim is not None:
                self._reclaims[reclaim] = watched
                self._epoll.register(reclaim, select.EPOLLIN)
        for trigger in triggers:
            fd = _open_trigger(watched.group, trigger)
            self._triggers[fd] = _OpenTrigger(watched, trigger)
            path = f"{watched.group.unified_dir()}/{trigger.resource}.pressure"
            self._by_watch[self._inotify.add(path, inotify.MODIFY)] = watched
        self._hits.learn(watched.group)
        watched.look()  # what was before is not announced

    def _nest(self, watched: _Watched, directory: str) -> None:
        """Hear of groups that are made in a group, and have the alarms of those that are there."""
        from cgagent.cgroups import inotify

        try:
            self._nests[self._inotify.add(directory, inotify.CREATE)] = (watched, directory)
        except FileNotFoundError:  # it has gone meanwhile
            return
        for name in names_below(directory):
            self._follow(watched, f"{directory}/{name}")

    def _follow(self, watched: _Watched, directory: str) -> None:
        """A group below: its limit brings the OOM killer without a word to those above."""
        if sum(one is watched for one, _ in self._nests.values()) > _NESTED_MAX:
            return
        try:
            fd = self._alarms.arm_below(watched.group, directory)
        except (OSError, NotFoundError):  # it has gone meanwhile
            return
        self._epoll.register(fd, select.EPOLLIN)
        self._nest(watched, directory)

    def _noticed(self) -> Iterator[str]:
        """The paths of groups whose files changed, or that were removed."""
        from cgagent.cgroups.inotify import CREATE, OVERFLOW

        for notice in self._inotify.read():
            if notice.mask & OVERFLOW:
                yield from list(self._watched)
            elif notice.mask & CREATE:
                if notice.watch in self._nests:
                    inside, directory = self._nests[notice.watch]
                    self._follow(inside, f"{directory}/{notice.name}")
            elif notice.name:
                watched = self._parents.get(notice.watch, {}).get(notice.name)
                yield from [watched.group.path] if watched else []
            elif notice.watch in self._by_watch:
                yield self._by_watch[notice.watch].group.path

    def _stalled(self) -> Iterator[Event]:
        """The triggers that went off; a notice says no more than that one of a file did."""
        poll = select.poll()
        for fd in self._triggers:
            poll.register(fd, select.POLLPRI)
        for fd, mask in poll.poll(0):
            if mask & select.POLLPRI and not mask & select.POLLERR:
                watched, trigger = self._triggers[fd]
                yield PressureStall(group=watched.group.path, trigger=trigger)

    def _events_of(self, watched: _Watched) -> list[Event]:
        path = watched.group.path
        before = watched.counts
        now = watched.look()
        events = list(_between(path, before, now))
        kills = now.get("oom_kill", 0) - before.get("oom_kill", 0)
        if kills > 0:
            events.append(oom.describe(watched.group, self._limiting(watched), kills))
        elif path in self._awaited and watched.is_held_at_oom():
            events.append(oom.describe(watched.group, self._limiting(watched), 0))
            del self._awaited[path]
        if watched.is_gone():
            self.remove(watched.group)
            events.append(Removed(group=path))
        elif time.monotonic() >= self._awaited.get(path, 0):
            self._awaited.pop(path, None)
        return events

    def _hear(self, alarm: int) -> None:
        """If it has rung, the kills that it announces are awaited."""
        rung = self._alarms.ring(alarm)
        self._awaited.update(dict.fromkeys(rung, time.monotonic() + _KILL_WAIT_S))
        self._pause_s = _PAUSE_S

    def _limiting(self, watched: _Watched) -> Group | None:
        """Whose limit a kill was for that has been counted by now."""
        if isinstance(watched.memory, MemoryV1):
            for alarm in self._alarms.of(watched.group):  # rung before the kill, heard or not
                self._hear(alarm)
            return self._alarms.limiting(watched.group)
        return self._hits.limiting(watched.group)


class _OpenTrigger(NamedTuple):
    watched: _Watched
    trigger: Trigger


class _Watched:
    """A group, its event files, and what they said last."""

    def __init__(self, group: Group, directory: str, inode: int) -> None:
        controllers = group.controllers()
        self.group = group
        self.directory = directory
        self._inode = inode
        self.name = os.path.basename(group.path)
        self.memory = controllers.memory
        self._unified = controllers.unified
        self._pids = controllers.pids
        self.counts: dict[str, int] = {}
        self.reclaims = 0
        """How often v1 has said, since the last look, that it reclaims for the group's limit."""
        self._failures = 0
        self._hit = 0

    def paths(self) -> Iterator[str]:
        if self._unified:
            yield f"{self._unified}/cgroup.events"
        if self._pids:
            yield f"{self._pids.directory}/pids.events"
        if isinstance(self.memory, MemoryV2):
            yield f"{self.memory.directory}/memory.events"

    def look(self) -> dict[str, int]:
        """Read all files. What is gone keeps its counts."""
        now: dict[str, int] = {}
        for path in self.paths():
            prefix = "pids_" if path.endswith("/pids.events") else ""
            counts = files.counts(files.read(path)) or {}
            now.update({prefix + key: count for key, count in counts.items()})
        if isinstance(self.memory, MemoryV1):
            kills = self.memory.oom_kills()
            now.update({"oom_kill": kills} if kills is not None else {})
            now["max"] = self._hits(self.memory)
        self.counts = {**self.counts, **now}
        return self.counts

    def _hits(self, memory: MemoryV1) -> int:
        """How often v1's limit has been hit since it is watched.

        With no swap allowed memory + swap is full first, and Linux 6.18 does not count its
        failures: there, the rounds of reclaim are counted.
        """
        failures = oom.hits(self.group) or 0
        grown = failures - self._failures
        if grown <= 0 and self.reclaims and memory.hides_failures():
            grown = self.reclaims
        self._failures, self.reclaims = failures, 0
        self._hit += max(grown, 0)
        return self._hit

    def is_gone(self) -> bool:
        try:
            return os.stat(self.directory).st_ino != self._inode
        except FileNotFoundError:
            return True

    def is_held_at_oom(self) -> bool:
        """v1 with oom_kill_disable: tasks wait for memory instead of being killed."""
        if not isinstance(self.memory, MemoryV1):
            return False
        text = files.read(f"{self.memory.directory}/memory.oom_control") or ""
        return "oom_kill_disable 1" in text and "under_oom 1" in text


def _between(path: str, before: dict[str, int], now: dict[str, int]) -> Iterator[Event]:
    def grown(key: str) -> int:
        return now.get(key, 0) - before.get(key, 0)

    if grown("high") > 0:
        yield MemoryHigh(group=path, count=grown("high"))
    if grown("max") > 0:
        yield MemoryMax(group=path, count=grown("max"))
    if grown("pids_max") > 0:
        yield PidsRefused(group=path, count=grown("pids_max"))
    if grown("frozen"):
        yield Frozen(group=path, frozen=now["frozen"] == 1)
    if grown("populated"):
        yield Populated(group=path, populated=now["populated"] == 1)


def _open_trigger(group: Group, trigger: Trigger) -> int:
    unified = group.unified_dir()
    path = f"{unified}/{trigger.resource}.pressure"
    what = f"cgroup {group.path}: no trigger for {trigger.resource} pressure"
    if not unified or not os.path.exists(path):
        raise UnsupportedError(f"{what}: there is no {trigger.resource}.pressure for it")
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise files.failure(what, error) from error
    try:
        os.write(fd, f"{trigger.kind} {trigger.stall_us} {trigger.window_us}\n".encode())
    except OSError as error:
        os.close(fd)
        raise files.failure(what, error, _TRIGGER_CAUSES.get(error.errno or 0, "")) from error
    return fd
