"""Start: a container that is set up gets its streams, and its command runs."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cgagent.engine import jobs
from cgagent.engine.containers.container import Outcome
from cgagent.engine.lifecycle import userns
from cgagent.engine.lifecycle.shared import require_there
from cgagent.engine.options.health import Health
from cgagent.engine.options.restart import RestartState
from cgagent.engine.options.runtimes import launch
from cgagent.errors import EXIT_CODE, CgagentError, DeadlineError
from cgagent.runtime.messages.agent import Start

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.containers.container import Container
    from cgagent.engine.lifecycle.pool import Configured
    from cgagent.engine.lifecycle.removal import Removal
    from cgagent.engine.lifecycle.resources import Resources
    from cgagent.engine.lifecycle.setups import Setups
    from cgagent.engine.lifecycle.shared import Shared


def _unheard(container: Container) -> None:
    """Nobody asks."""


class Starts:
    def __init__(
        self, shared: Shared, setups: Setups, removal: Removal, resources: Resources
    ) -> None:
        self._shared = shared
        self._setups = setups
        self._resources = resources
        self._removal = removal
        self.asked: Callable[[Container], None] = _unheard
        """Told of each start that a user asks for, before it comes about."""

    async def start(self, container: Container) -> None:
        """Run the container's command; one that runs already is left alone.

        Raises:
            ConflictError: in a group that it is in nothing can start now; it is left as it is.
            CommandNotFoundError, NotExecutableError: the command.
            UnsupportedError: a limit this host cannot hold.
            CgagentError: a step of the set-up failed.
        """
        async with self._shared.jobs.run("start", container=container.id), container.lock:
            require_there(container)
            if container.up:
                return
            container.require_started_here("a start")
            try:
                path, what = container.record.cgroup_path, f"container {container.name}"
                self._shared.groups.require_open(path, what)
                self.asked(container)
                await self._launch_or_note(container)
            except BaseException:  # a cancelled start, too, is the end of one with --rm
                if container.record.config.auto_remove:
                    await self._removal.forget(container)
                raise

    async def _launch_or_note(self, container: Container) -> None:
        try:
            await self.launch(container, RestartState())
        except CgagentError as e:
            failed = replace(container.record, outcome=self.failure(container, e))
            self._shared.containers.save(container, failed)
            raise

    async def launch(self, container: Container, restart: RestartState) -> None:
        """Run it, whatever it was; the lock is held by the caller. Raises as `start` does."""
        wider = container.record.boosted()
        if wider is not container.record:  # before it is in force: nothing holds without a record
            self._shared.containers.save(container, wider)
        try:
            pid = await self._launch(container)
        except BaseException:
            narrow = container.record.unboosted()
            if narrow is not container.record:
                self._shared.containers.note(container, narrow)
            raise
        jobs.step("record")
        started_ns = time.time_ns()
        running = Outcome(
            status="running",
            pid=pid,
            started_ns=started_ns,
            boost_until_ns=container.record.boost_until_ns(started_ns),
            health=Health() if container.record.resolved.health else None,
        )
        started = replace(container.record, outcome=running, restart=replace(restart, due_ns=None))
        self._shared.containers.note(container, started, "start")
        self._shared.pool.refill()
        self._resources.started(container)

    async def started(self, container: Container, pid: int) -> None:
        """Its first process, as told by the supervisor: another runtime has made it by now."""
        async with container.lock:
            if container.running and container.record.outcome.pid != pid:
                self._shared.containers.note(container, container.with_outcome(pid=pid))

    @staticmethod
    def failure(container: Container, error: CgagentError) -> Outcome:
        """What becomes of one whose start failed so."""
        return Outcome(
            status=container.record.outcome.status,
            exit_code=EXIT_CODE[error.kind],
            error=error.message,
        )

    async def _launch(self, container: Container) -> int:
        self._shared.bundle(container.id).clear_exit()
        jobs.step("prepare")
        await self._setups.ready(container)
        try:
            made = await self._setups.finished(container)
            await self._enter(container)
            pid = await self._run(container, made)
            if not pid:  # the kernel may have been out of memory since the zygote was made
                await self._resources.left(container)
                made = await self._setups.renewed(container)
                await self._enter(container)
                pid = await self._run(container, made, renewable=False)
        except BaseException as e:  # a cancelled start, too, leaves nothing
            self._resources.ended(container)
            await self._resources.left(container)
            await self._shared.pool.discard(
                container.id, e if isinstance(e, CgagentError) else None
            )
            raise
        self._shared.pool.launched(container.id)
        return pid

    async def _enter(self, container: Container) -> None:
        jobs.step("network")
        await self._resources.waiting(container, self._shared.pool.pid(container.id))

    async def _run(self, container: Container, made: Configured, *, renewable: bool = True) -> int:
        """The pid; if it is `renewable`, 0 when the zygote was killed before its command ran."""
        record = container.record
        bundle = self._shared.bundle(container.id)
        group = self._shared.group(container)
        # before the first fork that may be refused
        self._resources.begin(container)
        jobs.step("launch")
        driver = self._shared.runtimes.of(container)
        async with userns.opened(record, made.config, bundle) as opened:
            start = Start(
                key=container.id,
                job=made.job,
                streams=self._setups.streams(record),
                launch=launch(driver, container.id, bundle, group) if driver else None,
                trees=opened.places,
                owner=opened.owner,
                renewable=renewable and driver is None,
            )
            try:
                started = await self._shared.supervisor.request(start, opened.fds)
            except DeadlineError:  # it waits for a process that stands still
                path = record.cgroup_path
                self._shared.groups.require_thawed(path, f"container {record.name}")
                raise
        return started.pid
