"""What the kernel announces of containers' groups: OOM kills and why, limits hit, pressure.

It becomes events and, for an OOM kill, part of the container's record, which outlives the group.
Waits by descriptor in the agent's event loop; nothing is polled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from cgagent.cgroups import (
    Event,
    MemoryHigh,
    MemoryMax,
    Oom,
    OomCounters,
    PidsRefused,
    PressureStall,
    Removed,
    Trigger,
    Watcher,
)
from cgagent.errors import CgagentError, InvalidInputError, UnsupportedError
from cgagent.kernel import procfs

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cgroups import Group
    from cgagent.engine.containers.container import Container
    from cgagent.engine.events import Events
    from cgagent.runtime.messages.outcomes import Exit

log = logging.getLogger(__name__)

_QUIET_S: Final = 1.0
"""A limit that is hit all the time is told of once a second, with the sum."""
_TRIGGER_PARTS: Final = 4
_KILLED: Final = 128 + signal.SIGKILL
_NOTICED_S: Final = 0.02
"""A kill is counted before the signal is sent."""
_PASSED_ON_S: Final = 1.0


def parse_trigger(text: str) -> Trigger:
    """``memory some 150000 1000000``: resource, kind, stall and window in microseconds.

    Raises:
        InvalidInputError: it is not of this form.
    """
    parts = text.split()
    if (
        len(parts) != _TRIGGER_PARTS
        or parts[0] not in {"cpu", "memory", "io", "irq"}
        or parts[1] not in {"some", "full"}
        or not all(p.isdecimal() for p in parts[2:])
    ):
        raise InvalidInputError(
            f"pressure trigger {text!r} must be RESOURCE some|full STALL_US WINDOW_US"
        )
    return Trigger(parts[0], parts[1], int(parts[2]), int(parts[3]))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class SeenOom:
    """The last time that the OOM killer came to a container, for its record."""

    view: dict[str, Any]
    is_of_first: bool
    """Whether the first process was dying just then."""

    @classmethod
    def of(cls, event: Oom, *, is_of_first: bool) -> Self:
        return cls({**oom_view(event), "at_ns": time.time_ns()}, is_of_first)

    def ended(self, exit_: Exit) -> bool:
        """Whether that was the end of the container whose exit this is.

        A shell that passes on how its last command was killed counts, too; but none that outlived
        the killing of something else in the container.
        """
        if exit_.exit_code != _KILLED:
            return False
        is_signal = exit_.signal == signal.SIGKILL
        delay_s = _NOTICED_S if is_signal else _PASSED_ON_S
        is_soon = (exit_.finished_ns or 0) - self.view["at_ns"] < delay_s * 1e9
        return (is_signal and self.is_of_first) or is_soon


class GroupWatch:
    """Owns the watcher; made and ended by the engine, in whose event loop it lives.

    `happened` is told of every event of a container's group, those that are not shown included.
    """

    def __init__(
        self,
        events: Events,
        note: Callable[..., None],
        triggers: tuple[Trigger, ...],
        happened: Callable[[Container, Event], None] = lambda _container, _event: None,
    ) -> None:
        self._happened = happened
        self._events = events
        self._note = note
        self._triggers = triggers
        self._watcher = Watcher()
        self._containers: dict[str, Container] = {}  # by cgroup path
        self._counters: dict[str, OomCounters] = {}
        self._ooms: dict[str, SeenOom] = {}
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        self._ended: set[str] = set()
        """Cgroup paths that are watched as long as the group is there."""

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._watcher.fileno(), self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._watcher.fileno())
        self._watcher.close()

    def prepare(self, group: Group) -> None:
        """Watch a group that is made for a container yet to come: 3 ms its start need not take."""
        with contextlib.suppress(CgagentError):  # the start will meet the same cause
            self._add(group)

    def begin(self, container: Container, group: Group, *, new: bool = False) -> None:
        """Watch a container that is about to start (`new`), or was adopted."""
        try:
            self._counters[group.path] = group.oom_counters(new=new)
            self._containers[group.path] = container
            if group not in self._watcher or group.path in self._ended:
                self._add(group)
        except CgagentError as e:  # it has ended already
            log.warning("container %s is not watched: %s", container.name, e.message)

    def resume(self, container: Container, group: Group) -> None:
        """Watch one that was found running, and tell what the OOM killer did in it meanwhile."""
        outcome = container.record.outcome
        told = outcome.oom_kills - (outcome.earlier.oom_kills if outcome.earlier else 0)
        missed = _unseen(group, OomCounters(kills=told, hits={}))
        self.begin(container, group)
        if missed is not None:
            self._tell_oom(container, missed)

    def _add(self, group: Group) -> None:
        self.forget(group)  # if it had such a path before, and that is still watched
        try:
            self._watcher.add(group, *self._triggers)
        except (UnsupportedError, InvalidInputError) as e:
            if not self._triggers:
                raise
            log.warning("cgroup %s: no pressure trigger: %s", group.path, e.message)
            self._watcher.add(group)

    def forget(self, group: Group) -> None:
        """Of one that was prepared and got no container."""
        self._ended.discard(group.path)
        self._watcher.remove(group)

    def end(self, container: Container, group: Group) -> SeenOom | None:
        """What the OOM killer did last; before the group is removed, and watched no more."""
        self._read()
        if group in self._watcher:
            self._ended.add(group.path)
        self._containers.pop(group.path, None)
        for key in [k for k in self._told if k[0] == container.id]:
            del self._told[key]
        counters = self._counters.pop(group.path, None)
        seen = self._ooms.pop(group.path, None)
        if seen is None and (report := _unseen(group, counters)) is not None:
            self._events.tell(container, "oom", **oom_attributes(report))
            seen = SeenOom.of(report, is_of_first=True)
        return seen

    def move(self, container: Container, old: Group, new: Group) -> None:
        """Watch a container in the group that it has been moved to, and not in the old one."""
        self._read()
        seen = self._ooms.pop(old.path, None)
        self._containers.pop(old.path, None)
        self._counters.pop(old.path, None)
        self.forget(old)
        self.begin(container, new, new=True)
        if seen is not None:
            self._ooms[new.path] = seen

    def _read(self) -> None:
        for event in self._watcher.read():
            if isinstance(event, Removed):
                self._ended.discard(event.group)
            container = self._containers.get(event.group)
            if container is not None:
                self._tell(container, event)
                self._happened(container, event)

    def _tell(self, container: Container, event: Event) -> None:
        if isinstance(event, Oom):
            self._tell_oom(container, event)
        elif isinstance(event, MemoryHigh):
            self._count(container, "memory-high", event.count)
        elif isinstance(event, MemoryMax):
            self._count(container, "memory-max", event.count)
        elif isinstance(event, PidsRefused):
            self._count(container, "pids-refused", event.count)
        elif isinstance(event, PressureStall):
            trigger = event.trigger
            self._events.tell(container, "pressure", resource=trigger.resource, kind=trigger.kind)

    def _tell_oom(self, container: Container, event: Oom) -> None:
        """Of one that runs it is in the record at once: it may go on for long."""
        pid, before = container.record.outcome.pid, self._ooms.get(event.group)
        first = pid is None or procfs.is_dying(pid) or (before is not None and before.is_of_first)
        seen = self._ooms[event.group] = SeenOom.of(event, is_of_first=first)
        if container.running:
            kills = container.record.outcome.oom_kills + event.victims
            record = container.with_outcome(oom=seen.view, oom_kills=kills)
            self._note(container, record, "oom", **oom_attributes(event))
        else:
            self._events.tell(container, "oom", **oom_attributes(event))

    def _count(self, container: Container, action: str, count: int) -> None:
        last, untold = self._told.get((container.id, action), (0.0, 0))
        now = time.monotonic()
        if now - last < _QUIET_S:
            self._told[container.id, action] = (last, untold + count)
            return
        self._told[container.id, action] = (now, 0)
        self._events.tell(container, action, count=str(untold + count))


def _unseen(group: Group, since: OomCounters | None) -> Oom | None:
    """What the OOM killer did that nothing told of; since the group is there, if `since` is None.

    That is so where the agent was away when the container ended.
    """
    with contextlib.suppress(CgagentError):  # the group is gone
        if since is not None:
            return group.oom_report(since)
        if group.oom_kills():
            return group.oom_report(OomCounters.of_new(group))
    return None


def oom_attributes(event: Oom) -> dict[str, str]:
    return {name: str(value) for name, value in oom_view(event).items() if value is not None}


def oom_view(event: Oom) -> dict[str, Any]:
    """For the container's record. `limiting_group` None: the machine's memory ran out.

    `limit_bytes` None: there is none, or no more since the kill.
    """
    limit = event.limit_bytes
    return {
        "limiting_group": event.limiting_group,
        "victims": event.victims,
        "usage_bytes": event.usage_bytes,
        "peak_bytes": event.peak_bytes,
        "limit_bytes": limit if isinstance(limit, int) else None,
    }
