"""Running health checks: one timer for each container that has one, a command inside it when due.

A probe's output goes no further than its result. It belongs to the agent: it ends with it, and
with the time allowed, together with all of its process group. Results are kept in the container's
record, so that an agent that was killed goes on where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from typing import TYPE_CHECKING

from cgagent.engine.lifecycle.resources import Resource
from cgagent.engine.options import health
from cgagent.engine.options.health import Health, Result
from cgagent.errors import CgagentError
from cgagent.messages.record import decode
from cgagent.runtime.messages.outcomes import Status
from cgagent.runtime.protocol import STATUS
from cgagent.runtime.spec import Process
from cgagent.runtime.supervisor.attached import read_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.lifecycle.control import Control
    from cgagent.engine.sessions.streams import Streams
    from cgagent.images.image import HealthCheck

log = logging.getLogger(__name__)

_KILL_TIMEOUT_S = 10.0


class Probed(Resource):
    """A container's health checks, as one of the things it has."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes

    def started(self, container: Container) -> None:
        self._probes.begin(container)

    def resumed(self, container: Container) -> None:
        self._probes.begin(container)


class Probes:
    """Owns the timers; made and ended by the engine, in whose event loop it lives."""

    def __init__(self, containers: Containers, streams: Streams, control: Control) -> None:
        self._containers = containers
        self._streams = streams
        self._control = control
        self._timers: set[asyncio.Task[None]] = set()

    def begin(self, container: Container) -> None:
        """Check one that runs, if it has a check, until its run ends."""
        check = container.record.resolved.health
        if check is None:
            return
        timer = asyncio.create_task(self._watch(container, check))
        self._timers.add(timer)
        timer.add_done_callback(self._finished)

    def _finished(self, timer: asyncio.Task[None]) -> None:
        self._timers.discard(timer)
        error = None if timer.cancelled() else timer.exception()
        if error is not None:
            log.error("a health check failed", exc_info=error)

    def close(self) -> None:
        for timer in list(self._timers):
            timer.cancel()

    async def _watch(self, container: Container, check: HealthCheck) -> None:
        started_ns = container.record.outcome.started_ns or 0
        not_before_ns = 0
        while True:
            now = container.record.outcome.health or Health()
            due_ns = max(not_before_ns, health.next_due_ns(check, now, started_ns))
            if await self._ends_before(container, started_ns, due_ns):
                return
            if self._control.is_frozen(container):  # docker, too, leaves paused ones alone
                not_before_ns = time.time_ns() + (check.interval_ns or 0)
                continue
            result = await self._probe(container, check)
            if not _is_same_run(container, started_ns):
                return
            if result is None:
                not_before_ns = time.time_ns() + (check.interval_ns or 0)
            else:
                self._note(container, health.after_probe(check, now, result, started_ns))

    @staticmethod
    async def _ends_before(container: Container, started_ns: int, due_ns: int) -> bool:
        try:
            async with asyncio.timeout(max(0.0, (due_ns - time.time_ns()) / 1e9)):
                while _is_same_run(container, started_ns):
                    await container.changed()
        except TimeoutError:
            return False
        return True

    def _note(self, container: Container, new: Health) -> None:
        old = container.record.outcome.health
        changes = old is None or old.status != new.status
        action = f"health_status: {new.status}" if changes else None
        self._containers.note(container, container.with_outcome(health=new), action)

    async def _probe(self, container: Container, check: HealthCheck) -> Result | None:
        """None: it came to nothing, because the container ended, or the supervisor."""
        started_ns = time.time_ns()
        output = _Output()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            try:
                code = await self._run(container, check, (ours, theirs), output)
            except CgagentError as e:
                return Result(started_ns, time.time_ns(), health.NOT_RUN, e.message)
        if code is None:
            return None
        text = output.text()
        if code == health.NOT_RUN:
            text = f"Health check exceeded timeout ({_seconds(check.timeout_ns)}): {text}"
        return Result(started_ns, time.time_ns(), code, text)

    async def _run(
        self,
        container: Container,
        check: HealthCheck,
        sockets: tuple[socket.socket, socket.socket],
        output: _Output,
    ) -> int | None:
        """Its exit code, after all of its output was taken."""
        key = None
        try:
            async with asyncio.timeout((check.timeout_ns or 0) / 1e9):
                process = _process(container, check)
                key = await self._streams.probe(container, process, sockets[1])
                return await output.take(sockets[0])
        except TimeoutError:
            # what was frozen in the middle says nothing about the container's health
            timed_out = None if self._control.is_frozen(container) else health.NOT_RUN
            if key is None:  # given up, and killed, before its command ran
                return timed_out
            await self._streams.end_probe(key)
        with contextlib.suppress(TimeoutError):  # uninterruptible: it is dead when it wakes up
            async with asyncio.timeout(_KILL_TIMEOUT_S):
                if await output.take(sockets[0]) is None:
                    return None
        return timed_out


def _is_same_run(container: Container, started_ns: int) -> bool:
    return container.running and container.record.outcome.started_ns == started_ns


def _process(container: Container, check: HealthCheck) -> Process:
    resolved = container.record.resolved
    return Process(
        args=health.arguments(check),
        env=resolved.env,
        cwd=resolved.working_dir,
        user=resolved.user,
    )


def _seconds(nanoseconds: int | None) -> str:
    return f"{(nanoseconds or 0) / 1e9:g}s"


class _Output:
    """What a probe wrote, as much of it as is kept."""

    def __init__(self) -> None:
        self._buffer = b""
        self._kept = bytearray()
        self._is_cut = False

    async def take(self, sock: socket.socket) -> int | None:
        """Until its end: the exit code. None: there is no end to it, only of the connection."""
        async for stream, payload in self._frames(sock):
            if stream == STATUS:
                return _exit_code(payload)
            room = health.OUTPUT_BYTES - len(self._kept)
            self._kept += payload[:room]
            self._is_cut = self._is_cut or len(payload) > room
        return None

    async def _frames(self, sock: socket.socket) -> AsyncIterator[tuple[int, bytes]]:
        loop = asyncio.get_running_loop()
        while True:
            while found := read_frame(self._buffer):
                stream, payload, self._buffer = found
                yield stream, payload
            more = await loop.sock_recv(sock, 64 * 1024)
            if not more:
                return
            self._buffer += more

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace") + ("..." if self._is_cut else "")


def _exit_code(payload: bytes) -> int | None:
    status: Status = decode(payload, Status)
    if status.error is not None:
        raise status.error.error()
    return status.exit_code
