"""Starting containers again by their restart policies.

What is due stands in the database before its time comes; timers are only made of it. An agent that
was killed starts what is due when it comes back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cgagent.engine.options.restart import (
    NO,
    RestartPolicy,
    RestartState,
    after_exit,
    at_agent_start,
    checked,
)
from cgagent.errors import CgagentError

if TYPE_CHECKING:
    from cgagent.engine.containers.container import Container, Outcome, Record
    from cgagent.engine.lifecycle.shared import Shared
    from cgagent.engine.lifecycle.starts import Starts

log = logging.getLogger(__name__)


class Restarts:
    """Owns the timers; made and ended by the engine, in whose event loop it lives."""

    def __init__(self, shared: Shared, starts: Starts) -> None:
        self._shared = shared
        self._starts = starts
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._resumed = False

    @staticmethod
    def decide(record: Record, outcome: Outcome) -> Record:
        """The record of a container whose run has ended so: over, or to be started again."""
        ran_ns = (outcome.finished_ns or 0) - (outcome.started_ns or 0)
        state = after_exit(
            record.config.restart, record.restart, outcome.exit_code, ran_ns, time.time_ns()
        )
        again = state.due_ns is not None and record.adopted is None
        return replace(
            record,
            outcome=replace(outcome, status="restarting" if again else "exited"),
            restart=state,
        )

    def arm(self, container: Container) -> None:
        """Make the timer of one that is to be started again, if it is."""
        due_ns = container.record.restart.due_ns
        if not self._resumed or not container.restarting or due_ns is None:
            return
        timer = asyncio.create_task(self._start_at(container, due_ns))
        self._timers[container.id] = timer
        timer.add_done_callback(lambda done: self._finished(container, done))

    def _finished(self, container: Container, timer: asyncio.Task[None]) -> None:
        if self._timers.get(container.id) is timer:
            del self._timers[container.id]
        if not timer.cancelled() and timer.exception() is not None:
            log.error(
                "container %s: its restart failed", container.name, exc_info=timer.exception()
            )

    async def _start_at(self, container: Container, due_ns: int) -> None:
        await asyncio.sleep(max(0.0, (due_ns - time.time_ns()) / 1e9))
        async with container.lock:
            if not container.restarting or container.record.restart.due_ns != due_ns:
                return  # stopped, removed, or started otherwise
            try:
                async with self._shared.jobs.run("restart-policy", container=container.id):
                    await self._starts.launch(container, container.record.restart)
            except CgagentError as e:
                log.warning("container %s: its restart failed: %s", container.name, e.message)
                self._failed(container, e)
        self.arm(container)

    def _failed(self, container: Container, error: CgagentError) -> None:
        """As a run that ended at once."""
        now = time.time_ns()
        outcome = replace(self._starts.failure(container, error), started_ns=now, finished_ns=now)
        self._shared.containers.note(container, self.decide(container.record, outcome))

    def resume(self) -> None:
        """After the agent's start: what is due, and what its policy starts with the agent."""
        self._resumed = True
        now = time.time_ns()
        for container in self._shared.containers:
            record = container.record
            has_ended = record.outcome.status == "exited" and record.adopted is None
            has_ended = has_ended and not self._shared.groups.is_stopped(record.cgroup_path)
            if has_ended and at_agent_start(record.config.restart, record.restart):
                restart = replace(record.restart, due_ns=now, held=False)
                again = replace(container.with_outcome(status="restarting"), restart=restart)
                self._shared.containers.note(container, again)
            self.arm(container)

    @staticmethod
    def checked(container: Container, policy: RestartPolicy) -> RestartPolicy:
        """For a container that there is.

        Raises:
            InvalidInputError, ConflictError: see `restart_policy.checked`.
            UnsupportedError: it was adopted.
        """
        container.require_started_here("a restart policy")
        return checked(policy, auto_remove=container.record.config.auto_remove)

    @staticmethod
    def with_policy(record: Record, new: RestartPolicy) -> Record:
        """With a checked one, from the next end of a run on; with ``no`` none is due any more."""
        changed = replace(record, config=replace(record.config, restart=new))
        if record.outcome.status == "restarting" and new.name == NO:
            ended = replace(record.outcome, status="exited")
            changed = replace(changed, outcome=ended, restart=RestartState())
        return changed

    def close(self) -> None:
        for timer in list(self._timers.values()):
            timer.cancel()
