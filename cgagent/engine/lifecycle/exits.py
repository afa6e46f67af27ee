"""What is done when a container's first process has ended."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cgagent.engine.lifecycle.signals import KILL_TIMEOUT_S
from cgagent.errors import CgagentError, NotFoundError
from cgagent.runtime.messages.agent import Forget

if TYPE_CHECKING:
    from cgagent.cgroups import Group
    from cgagent.engine.containers.container import Container, Record
    from cgagent.engine.lifecycle.removal import Removal
    from cgagent.engine.lifecycle.resources import Resources
    from cgagent.engine.lifecycle.restarts import Restarts
    from cgagent.engine.lifecycle.shared import Shared
    from cgagent.engine.options.health import Health
    from cgagent.runtime.messages.outcomes import Exit


class Exits:
    def __init__(
        self, shared: Shared, removal: Removal, restarts: Restarts, resources: Resources
    ) -> None:
        self._shared = shared
        self._resources = resources
        self._removal = removal
        self._restarts = restarts

    async def exited(self, container: Container, exit_: Exit) -> None:
        """The first process has ended, as told by the supervisor or its exit file."""
        async with container.lock:
            if not container.running:
                if self._shared.pool.is_ready(container.id):  # it failed to be set up
                    await self._shared.pool.give_up(container.id)
                else:  # noted already, by an agent that was killed right then
                    await self._shared.supervisor.request(Forget(key=container.id))
                return
            pids = (exit_.pid, container.record.outcome.pid)
            if None not in pids and pids[0] != pids[1]:
                return  # the exit of an earlier run, told twice
            group = self._shared.group(container)
            oom = self._resources.ended(container).oom
            outcome = replace(
                container.record.outcome,
                pid=None,
                exit_code=exit_.exit_code,
                finished_ns=exit_.finished_ns or time.time_ns(),
                oom_killed=oom is not None and oom.ended(exit_),
                oom=container.record.outcome.oom if oom is None else oom.view,
                error=exit_.error,
                log_dropped_bytes=exit_.log_dropped_bytes,
                health=_after_the_end(container.record.outcome.health),
            )
            ended = self._restarts.decide(container.record.unboosted(), outcome)
            die = ("die", _told(container, ended))
            try:
                if not await self._remove_at_once(container, group, ended, die):
                    await self._note_and_clean_up(container, group, ended, die)
            finally:
                try:  # last: clients that stay see by it that all is done
                    await self._shared.supervisor.request(Forget(key=container.id))
                finally:
                    self._restarts.arm(container)

    async def _remove_at_once(
        self, container: Container, group: Group, ended: Record, die: tuple[str, dict[str, str]]
    ) -> bool:
        """Remove a container that removes itself, if its cgroup is empty; whether that was done.

        The usual case, and 0.2 ms.
        """
        if not container.removes_itself or container.record.resolved.runtime:
            return False
        try:
            if not group.remove_if_empty():
                return False
        except CgagentError:  # met again below, and dealt with
            return False
        self._shared.parents.prune()
        try:
            await self._removal.remove_ended(container, ended, die)
        except Exception:
            self._shared.containers.note(container, ended, die[0], **die[1])
            raise
        return True

    async def _note_and_clean_up(
        self, container: Container, group: Group, ended: Record, die: tuple[str, dict[str, str]]
    ) -> None:
        """Note the end, remove the cgroup, and the container if it removes itself."""
        # Told at once: the cgroup's removal may take its time, and a start waits for the lock.
        self._shared.containers.note(container, ended, die[0], **die[1])
        await asyncio.sleep(0)  # who waits for this is answered before the thread below begins
        await self._resources.left(container)
        is_gone = await self._remove_cgroup(container, group)
        if container.removes_itself and is_gone:
            await self._removal.remove_ended(container, container.record)
        elif container.removes_itself:
            await self._removal.forget(container)

    async def _remove_cgroup(self, container: Container, group: Group) -> bool:
        """Take the last figures, then end and remove the cgroup; whether it is gone."""

        def work() -> None:
            if not container.removes_itself:  # else nobody can ask for its figures
                self._shared.monitor.last_sample(container)
            if not group.remove_if_empty():
                group.kill(KILL_TIMEOUT_S)
                group.remove()

        try:
            await asyncio.to_thread(work)
            self._shared.parents.prune()
        except NotFoundError:
            return True
        except CgagentError as e:
            outcome = replace(
                container.record.outcome, error=f"its cgroup is left behind: {e.message}"
            )
            self._shared.containers.note(container, replace(container.record, outcome=outcome))
            return False
        return True


def _told(container: Container, ended: Record) -> dict[str, str]:
    """What the event of an end says."""
    told = {"exit_code": str(ended.outcome.exit_code)}
    if ended.outcome.status == "restarting" or container.is_kept:
        told["restarting"] = "true"
    return told


def _after_the_end(health: Health | None) -> Health | None:
    """As docker shows it: what does not run is not healthy."""
    return None if health is None else replace(health, status="unhealthy")
