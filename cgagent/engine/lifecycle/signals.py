"""Signals to a container's first process, and waiting for what comes of them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from cgagent.cgroups import UNLIMITED, Limits
from cgagent.engine.lifecycle.shared import require_running
from cgagent.errors import ConflictError, DeadlineError, NotFoundError

if TYPE_CHECKING:
    from cgagent.cgroups import IoMax
    from cgagent.engine.container import Container
    from cgagent.engine.lifecycle.shared import Shared

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
        if number == signal.SIGKILL:  # a frozen v1 task dies only when it is thawed
            await self.thaw(container)

    async def _deliver(self, container: Container, number: int) -> None:
        adopted = container.record.adopted
        if adopted is None:
            await self._shared.supervisor.request("signal", key=container.id, signal=number)
        elif number == signal.SIGKILL:
            await asyncio.to_thread(self._shared.group(container).kill, KILL_TIMEOUT_S)
        else:
            adopted.send_signal(number)

    async def thaw(self, container: Container) -> None:
        """So that a signal has its effect."""
        await asyncio.to_thread(self._thaw, container)

    def _thaw(self, container: Container) -> None:
        try:
            group = self._shared.group(container)
            if group.freezer_state() != "thawed":
                group.thaw(KILL_TIMEOUT_S)
        except NotFoundError:
            return  # it has ended and its cgroup is gone

    async def hold(self, container: Container) -> None:
        """Let no restart policy start it again; one that waits for that has ended now.

        Noted first, so that neither the end that follows nor a crash of ours makes it come back.
        """
        record = container.record
        held = replace(record.restart, held=True)
        self._shared.containers.save(container, replace(record, restart=held))
        if not container.restarting:
            return
        async with container.lock:  # it may be starting just now, which notes its restarts anew
            if container.removed:
                return
            record = container.record
            if record.outcome.status == "restarting":
                record = container.with_outcome(status="exited")
            held = replace(record.restart, held=True, due_ns=None)
            self._shared.containers.save(container, replace(record, restart=held))

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

        One that waits for its restart is not at its end, as docker has it.
        """
        before = container.record.outcome.finished_ns
        while True:
            outcome = container.record.outcome
            if container.removed:
                return outcome.exit_code
            if condition == "not-running" and not container.up:
                return outcome.exit_code
            if condition == "next-exit" and outcome.finished_ns not in {None, before}:
                return outcome.exit_code
            await container.changed()


def _uncapped(cap: IoMax) -> IoMax:
    none = UNLIMITED
    return replace(cap, rbps=none, wbps=none, riops=none, wiops=none)
