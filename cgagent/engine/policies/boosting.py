"""Start-up boosts (``--boost``) that come to their end: their time is over, or it is healthy.

The boost itself is in the record and in force before the first instruction runs (`Starts`), with
the time of its end. So whoever dies meanwhile, the agent that comes next ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import Limits
from cgagent.engine.lifecycle.resources import Resource
from cgagent.engine.options.overrides import BOOST, of_owner
from cgagent.engine.policies import decisions, limiting
from cgagent.errors import CgagentError, NotFoundError
from cgagent.policy.boost import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cgroups import Event
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.lifecycle.control import Control
    from cgagent.engine.observe.policies import Tick
    from cgagent.engine.options.overrides import LimitOverride
    from cgagent.engine.policies.decisions import Decisions

log = logging.getLogger(__name__)

_AGAIN_S: Final = 5.0
_AGAIN_MOST_S: Final = 60.0


class Boosting(Resource):
    """A resource, as boosts begin with runs, and a policy, so that none is ever forgotten."""

    def __init__(self, containers: Containers, control: Control, decided: Decisions) -> None:
        self._containers = containers
        self._control = control
        self._decided = decided
        self._timers: dict[str, asyncio.Task[None]] = {}

    def started(self, container: Container) -> None:
        override = _of(container)
        if override is not None:
            self._tell(container, decisions.DONE, f"{override.reason}: {_shown(override)}")
            self._arm(container)

    def resume(self) -> None:
        """At the agent's start: go on, and forget runs that have not come about."""
        for container in self._containers:
            if container.running:
                self._arm(container)
            elif _of(container) is not None:
                self._containers.note(container, container.record.unboosted())

    def ticked(self, tick: Tick) -> None:  # noqa: ARG002 - time alone counts
        for container in self._containers:
            if container.running and container.record.overrides and _of(container) is not None:
                self._arm(container)

    def happened(self, container: Container, event: Event) -> None:
        """Nothing that the kernel tells ends a boost."""

    def _arm(self, container: Container) -> None:
        if container.id not in self._timers and _of(container) is not None:
            timer = asyncio.create_task(self._watch(container))
            self._timers[container.id] = timer
            timer.add_done_callback(lambda done: self._finished(container, done))

    def _finished(self, container: Container, timer: asyncio.Task[None]) -> None:
        if self._timers.get(container.id) is timer:
            del self._timers[container.id]
        if not timer.cancelled() and timer.exception() is not None:
            log.error("container %s: its boost", container.name, exc_info=timer.exception())

    async def _watch(self, container: Container) -> None:
        started_ns = container.record.outcome.started_ns

        def require_same() -> None:
            if not _is_same_run(container, started_ns):
                raise NotFoundError("its run is over, and the next one has a boost of its own")

        why = await self._end(container)
        again_s = _AGAIN_S
        while why is not None and _of(container) is not None:
            try:
                await self._lift(container, why, require_same)
                self._tell(container, decisions.UNDONE, f"{why}: its own limits are back")
                return
            except NotFoundError:  # its user has taken it back just now, or its run is over
                break
            except CgagentError as e:
                if again_s == _AGAIN_S:
                    self._tell(
                        container, decisions.FAILED, f"{why}, but not its boost: {e.message}"
                    )
                await asyncio.sleep(again_s)
                again_s = min(2 * again_s, _AGAIN_MOST_S)
        if _is_same_run(container, started_ns):
            self._tell(container, decisions.GIVEN_UP, "its user wants it otherwise")

    async def _end(self, container: Container) -> str | None:
        """Wait for it; why it is over. None: the run is over, or its user has ended the boost."""
        outcome = container.record.outcome
        until_ns = outcome.boost_until_ns or time.time_ns()
        boost = parse(container.record.config.boost)
        left_s = max(0.0, (until_ns - time.time_ns()) / 1e9)
        if boost is not None:  # the clock may have been set back while no agent was there
            left_s = min(left_s, boost.most_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                while _is_same_run(container, outcome.started_ns) and _of(container) is not None:
                    health = container.record.outcome.health
                    is_healthy = health is not None and health.status == "healthy"
                    if boost is not None and boost.until_healthy and is_healthy:
                        return "it is healthy"
                    await container.changed()
                return None
        return "its time is over"

    async def _lift(self, container: Container, why: str, check: Callable[[], None]) -> None:
        """CPUs first: memory that is in use may keep a memory limit from coming back.

        Raises:
            CgagentError: so it is; tried again later.
        """
        override = _of(container)
        if override is not None and override.limits.cpu_quota_us is not None:
            left = Limits(memory_max_bytes=override.limits.memory_max_bytes)
            if dict(left):
                await self._control.override(container, replace(override, limits=left), check=check)
        await self._control.lift(container, BOOST, why, check=check)

    def _tell(self, container: Container, outcome: str, reason: str) -> None:
        self._decided.note_own(BOOST, "boost", container, outcome=outcome, reason=reason)

    def close(self) -> None:
        for timer in list(self._timers.values()):
            timer.cancel()


def _of(container: Container) -> LimitOverride | None:
    return of_owner(container.record.overrides, BOOST)


def _is_same_run(container: Container, started_ns: int | None) -> bool:
    return container.running and container.record.outcome.started_ns == started_ns


def _shown(override: LimitOverride) -> str:
    return limiting.shown(override.limits)
