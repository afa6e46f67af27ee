"""Signals to a container's first process, and waiting for what comes of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from cgagent.cgroups import UNLIMITED, Limits
from cgagent.concurrency import in_urgent_thread
from cgagent.engine.lifecycle.shared import require_running
from cgagent.errors import ConflictError, DeadlineError, NotFoundError
from cgagent.runtime.messages.agent import Signal

if TYPE_CHECKING:
    from cgagent.cgroups import IoMax
    from cgagent.engine.containers.container import Container
    from cgagent.engine.lifecycle.shared import Shared

log = logging.getLogger(__name__)

KILL_TIMEOUT_S: Final = 10.0
_PATIENCE_S: Final = 1.0

WaitCondition = Literal["not-running", "next-exit", "removed"]


class Signals:
    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def send(self, container: Container, number: int) -> None:
        """Raises ConflictError: it is not running."""
        require_running(container)
        await self._deliver(container, int(number))
        self._shared.publish(container, "kill", signal=str(int(number)))
        if number == signal.SIGKILL:  # a frozen v1 task dies only when it is thawed
            await self.thaw(container)

    async def _deliver(self, container: Container, number: int) -> None:
        adopted = container.record.adopted
        if adopted is None:
            await self._ask_supervisor(container, number)
        elif number == signal.SIGKILL:
            await asyncio.to_thread(self._shared.group(container).kill, KILL_TIMEOUT_S)
        else:
            adopted.send_signal(number)

    async def _ask_supervisor(self, container: Container, number: int) -> None:
        asked = Signal(key=container.id, signal=number)
        if number != signal.SIGKILL:
            await self._shared.supervisor.request(asked)
            return
        try:
            await self._shared.supervisor.request(asked, limit_s=_PATIENCE_S)
        except DeadlineError as e:
            log.warning("container %s is killed by its cgroup: %s", container.name, e.message)
            await asyncio.to_thread(self._shared.group(container).kill, KILL_TIMEOUT_S)

    async def thaw(self, container: Container) -> None:
        """So that a signal has its effect."""
        await in_urgent_thread(partial(self._thaw, container))

    def _thaw(self, container: Container) -> None:
        if self._shared.groups.frozen_above(container.record.cgroup_path):
            return  # a thaw of its own has no effect; SIGKILL has, on cgroup2
        try:
            group = self._shared.group(container)
            if group.freezer_state() != "thawed":
                group.thaw(KILL_TIMEOUT_S)
        except NotFoundError:
            return  # it has ended and its cgroup is gone

    async def hold(self, container: Container) -> None:
        """Let no restart policy start it again; one that waits for that has ended now.

        Noted first, so that neither the end that follows nor a crash of ours makes it come back. A
        full disk does not keep a container from being ended.
        """
        record = container.record
        held = replace(record.restart, held=True)
        self._shared.containers.note(container, replace(record, restart=held))
        if not container.restarting:
            return
        async with container.lock:  # it may be starting just now, which notes its restarts anew
            if container.removed:
                return
            record = container.record
            if record.outcome.status == "restarting":
                record = container.with_outcome(status="exited")
            held = replace(record.restart, held=True, due_ns=None)
            self._shared.containers.note(container, replace(record, restart=held))

    async def kill_and_wait(self, container: Container) -> None:
        """Raises DeadlineError: it does not die."""
        try:
            await self.send(container, signal.SIGKILL)
        except ConflictError:
            return  # it ended by itself meanwhile
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await self.wait(container, "not-running")
        try:
            async with asyncio.timeout(KILL_TIMEOUT_S):
                if container.up:
                    await asyncio.to_thread(self._lift_io_caps, container)
                await self.wait(container, "not-running")
        except TimeoutError:
            why = await asyncio.to_thread(self._shared.group(container).why_alive)
            raise DeadlineError(
                f"container {container.name} did not end {KILL_TIMEOUT_S:g} s after SIGKILL: {why}"
            ) from None

    def _lift_io_caps(self, container: Container) -> None:
        """The last process unmounts the overlay, which syncs the disk in the container's group."""
        group = self._shared.group(container)
        with contextlib.suppress(NotFoundError):
            caps = group.held().io_max or ()
            group.apply(Limits(io_max=tuple(map(_uncapped, caps))))

    async def wait(self, container: Container, condition: WaitCondition) -> int | None:
        """Until the condition holds; the exit code of the last run, None if it never ran.

        Each end of a run is one, also where a restart policy starts the container again, as docker
        has it. One that waits for that start counts as running.
        """
        before = container.record.outcome.finished_ns
        while not container.removed:
            outcome = container.record.outcome
            is_end = outcome.finished_ns not in {None, before}
            if condition != "removed" and is_end:
                break
            if condition == "not-running" and not container.up:
                break
            await container.changed()
        return container.record.outcome.exit_code


def _uncapped(cap: IoMax) -> IoMax:
    none = UNLIMITED
    return replace(cap, rbps=none, wbps=none, riops=none, wiops=none)
