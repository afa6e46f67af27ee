"""Hibernation: a container is frozen, its memory taken back, and whatever comes for it wakes it.

    listen for packets ── freeze ── does something wait? ── take memory back
            │                            │ yes: thaw, and say what
            └── a packet, exec, attach, a thaw, its time: thaw (1 ms), and pages come back by faults

The kernel goes on for the sockets of tasks that are frozen: it completes connections and keeps what
is sent, so a client notices a delay and no failure. The sleep is in the record before the freeze:
an agent that starts wakes what sleeps, since nobody has listened meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_thread, to_its_end
from cgagent.engine.containers.container import Sleep
from cgagent.engine.lifecycle.shared import require_running
from cgagent.errors import CgagentError, ConflictError, NotFoundError
from cgagent.network.netns import opened
from cgagent.network.pending import pending

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cgagent.cgroups import Group
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.events import Events
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.lifecycle.control import Control
    from cgagent.engine.networks.traffic import Traffic

log = logging.getLogger(__name__)

USER: Final = "user"
IDLE: Final = "idle"


class Hibernation:
    def __init__(
        self,
        lifecycle: Lifecycle,
        containers: Containers,
        control: Control,
        traffic: Traffic,
        *,
        commands: Callable[[Container], Collection[object]],
        jobs: Jobs,
        events: Events,
    ) -> None:
        """`commands`: those of ``exec`` that run in one."""
        self._containers = containers
        self._lifecycle = lifecycle
        self._control = control
        self._traffic = traffic
        self._commands = commands
        self._jobs = jobs
        self._events = events
        self._waking: set[asyncio.Task[None]] = set()
        self._beginning: set[str] = set()
        control.woken = self._woken
        lifecycle.stops.signalled = partial(self._rouse, by="kill")

    async def hibernate(
        self,
        container: Container,
        by: str = USER,
        *,
        lease_s: float | None = None,
        reclaim: bool = True,
        force: bool = False,
    ) -> Sleep:
        """Put it to sleep; with a lease for so long at most.

        With `force` also one for whose programs something waits.

        Returns:
            Its sleep, with its memory before and after. It may be awake again by then.

        Raises:
            ConflictError: not running, or frozen; something waits for its programs, or came.
            DeadlineError: a task did not freeze in time.
        """
        async with self._jobs.run("hibernate", container=container.id):
            require_running(container)
            group = self._lifecycle.group(container)
            if self._control.is_frozen(container):
                raise ConflictError(f"container {container.name} is frozen already")
            if container.id in self._beginning:
                raise ConflictError(f"container {container.name} is being put to sleep already")
            self._beginning.add(container.id)
            try:
                sleep = await self._begin(container, by, lease_s, force=force)
            finally:
                self._beginning.discard(container.id)
            return await self._settled(container, group, sleep, reclaim=reclaim)

    async def _begin(
        self, container: Container, by: str, lease_s: float | None, *, force: bool
    ) -> Sleep:
        """It sleeps when this returns, unless something has come; it is awake when it raises."""
        inside: Collection[object] = () if by == IDLE else self._commands(container)
        hears = self._traffic.hears(container)
        if hears:
            await self._traffic.listen(container, partial(self._rouse, container, by="packet"))
        sleep = Sleep(since_ns=time.time_ns(), by=by, hears_packets=hears)
        try:
            await self._control.freeze(container, lease_s=lease_s, sleep=sleep)
            cause = await self._cause(container, inside, hears=hears, force=force)
            if cause is not None:
                raise ConflictError(
                    f"container {container.name} was not put to sleep: {cause}; try again, or "
                    "--force it"
                )
        except BaseException:
            self._traffic.unlisten(container.id)
            await to_its_end(self.wake(container, "pending"))
            raise
        return sleep

    async def _cause(
        self, container: Container, inside: Collection[object], *, hears: bool, force: bool
    ) -> str | None:
        """Why it is not to be put to sleep. `inside`: commands that are to sleep with it."""
        if hears and not self._traffic.listens(container.id):
            return "a packet came for it"
        if any(command not in inside for command in self._commands(container)):
            return "a command was begun in it"
        return None if force else await in_thread(lambda _: _pending(container))

    async def _settled(
        self, container: Container, group: Group, sleep: Sleep, *, reclaim: bool
    ) -> Sleep:
        """Its memory is taken back, as long as nothing wakes it; then it is told of."""
        before = await asyncio.to_thread(_memory, group)
        if reclaim:
            await self._take_back(container, group)
        after = await asyncio.to_thread(_memory, group)
        settled = replace(sleep, memory_before_bytes=before, memory_after_bytes=after)
        async with container.lock:
            if container.running and container.record.outcome.sleep == sleep:
                attributes = {"by": sleep.by, "memory_before": before, "memory_after": after}
                told = {name: str(value) for name, value in attributes.items() if value is not None}
                record = container.with_outcome(sleep=settled)
                self._containers.note(container, record, "hibernate", **told)
        return settled

    async def _take_back(self, container: Container, group: Group) -> None:
        try:
            await in_thread(
                lambda stop: group.reclaim(stop=lambda: stop.is_set() or not container.sleeps)
            )
        except NotFoundError:
            return  # it has ended
        except (CgagentError, OSError) as e:
            log.warning("container %s sleeps with all its memory: %s", container.name, e)

    def _rouse(self, container: Container, by: str) -> None:
        """Begin to wake it."""
        task = asyncio.create_task(self.wake(container, by))
        self._waking.add(task)
        task.add_done_callback(self._waking.discard)

    async def wake(self, container: Container, by: str) -> None:
        """Have it go on, if it sleeps."""
        if container.sleeps:
            with contextlib.suppress(ConflictError):  # it has ended, or is awake by now
                await self._control.thaw(container, by=by)

    def _woken(self, container: Container, sleep: Sleep, by: str, took_s: float) -> None:
        self._traffic.unlisten(container.id)
        slept_s = (time.time_ns() - sleep.since_ns) / 1e9
        told = {"by": by, "slept": f"{slept_s:.3f}", "took": f"{took_s:.6f}"}
        self._events.tell(container, "wake", **told)

    def close(self) -> None:
        for task in list(self._waking):
            task.cancel()


def _pending(container: Container) -> str | None:
    try:
        namespace = opened(f"/proc/{container.record.outcome.pid}/ns/net")
    except NotFoundError:
        return None
    try:
        if os.fstat(namespace).st_ino == os.stat("/proc/self/ns/net").st_ino:
            return None  # the host's sockets are not its own
        return pending(namespace)
    finally:
        os.close(namespace)


def _memory(group: Group) -> int | None:
    """Bytes in use; None: it is not known, or the group is gone."""
    try:
        return group.usage().memory.current_bytes
    except CgagentError:
        return None
