"""Stop, kill, restart: what a user does about a container that runs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

from cgagent.engine import jobs
from cgagent.engine.lifecycle.signals import KILL_TIMEOUT_S
from cgagent.errors import ConflictError
from cgagent.kernel import signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.containers.container import Container
    from cgagent.engine.lifecycle.shared import Shared
    from cgagent.engine.lifecycle.signals import Signals
    from cgagent.engine.lifecycle.starts import Starts


def _unheard(container: Container) -> None:
    """Nobody asks."""


class Stops:
    def __init__(
        self, shared: Shared, signals: Signals, starts: Starts, stop_timeout_s: float
    ) -> None:
        self._shared = shared
        self._signals = signals
        self._starts = starts
        self._stop_timeout_s = stop_timeout_s
        self.signalled: Callable[[Container], None] = _unheard
        """Told of each signal that was sent and does not end what is frozen."""

    async def kill(self, container: Container, signal_name: str, *, wait: bool = False) -> None:
        """Send a signal to the first process. Its stop signal, or SIGKILL, also ends restarts.

        With `wait` it has ended after SIGKILL, unless that takes more than ten seconds.

        Raises:
            ConflictError: it is not running.
            InvalidInputError: no such signal.
        """
        number = signals.parse(signal_name)
        async with self._shared.jobs.run("kill", container=container.id, signal=signal_name):
            was_up = container.up
            if was_up and number in {signal.SIGKILL, _stop_signal(container)}:
                await self._signals.hold(container)
            if container.running or not was_up:
                await self._signals.send(container, number)
                if number != signal.SIGKILL:
                    self.signalled(container)
        if wait and number == signal.SIGKILL:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILL_TIMEOUT_S):
                    await self._signals.wait(container, "not-running")

    async def stop(
        self, container: Container, timeout_s: float | None = None, signal_name: str | None = None
    ) -> None:
        """Stop signal, then after the timeout SIGKILL. One that does not run is left alone.

        Raises:
            InvalidInputError: no such signal.
        """
        number = _stop_signal(container, signal_name)
        if not container.up:
            return
        async with self._shared.jobs.run("stop", container=container.id):
            await self._signals.hold(container)
            if container.running:
                await self._stop(container, number, self._timeout(container, timeout_s))
        self._shared.publish(container, "stop")

    async def _stop(self, container: Container, number: int, timeout_s: float | None) -> None:
        jobs.step("ask")
        try:
            await self._signals.send(container, number)
            await self._signals.thaw(container)
            async with asyncio.timeout(timeout_s):
                await self._signals.wait(container, "not-running")
        except TimeoutError:
            jobs.step("kill")
            await self._signals.kill_and_wait(container)
        except ConflictError:
            await self._signals.wait(container, "not-running")  # it ended by itself meanwhile

    def _timeout(self, container: Container, asked: float | None) -> float | None:
        """None for ever, which docker calls -1."""
        own = container.record.config.stop_timeout_s if asked is None else asked
        chosen = self._stop_timeout_s if own is None else own
        return None if chosen < 0 else chosen

    async def restart(
        self, container: Container, timeout_s: float | None = None, signal_name: str | None = None
    ) -> None:
        """Stop it, if it runs, and start it; one that removes itself at its end does not now.

        Raises:
            ConflictError: in a group that it is in nothing can start now.
        """
        container.require_started_here("a restart")
        path = container.record.cgroup_path
        self._shared.groups.require_open(path, f"container {container.name}")
        with container.kept():
            await self.stop(container, timeout_s, signal_name)
            await self._starts.start(container)
        self._shared.publish(container, "restart")


def _stop_signal(container: Container, name: str | None = None) -> int:
    return signals.parse(name or container.record.resolved.stop_signal)
