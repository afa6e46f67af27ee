"""What acts by itself on what is observed: ticks of the sampler and events of the kernel.

Both are told in the engine's event loop, where a policy may look at containers and ask the engine
for changes. A policy that fails is logged, and the others are told all the same.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cgroups import Event
    from cgagent.engine.containers.container import Container
    from cgagent.metrics import HostSample, Rates, Sample

log = logging.getLogger(__name__)


class Tick(NamedTuple):
    """One round of sampling, which has just ended."""

    latest: Callable[[str], Sample | None]
    """Of a container's id; None: it has not been sampled so far."""
    rates: Callable[[str], Rates | None]
    """From the sample before the latest to the latest."""
    frozen: frozenset[str]
    """Ids of the targets that were frozen when they were last sampled."""
    fresh: frozenset[str] = frozenset()
    """Ids of the targets that were read in this round; the others' figures are as they were."""
    machine: HostSample | None = None


class Policy(Protocol):
    def ticked(self, tick: Tick) -> None:
        """After each round of sampling; rounds that end while this is at work are left out."""

    def happened(self, container: Container, event: Event) -> None:
        """The kernel announced something of a container's group: a limit hit, an OOM kill."""


class Policies:
    """All that there are; `add` one before the engine starts."""

    def __init__(self) -> None:
        self._all: list[Policy] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_told = True

    def add(self, policy: Policy) -> None:
        self._all.append(policy)

    def start(self) -> None:
        """From now on; in the event loop where policies are told."""
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        self._loop = None

    def tick_ended(self, tick: Tick) -> None:
        """Called in the sampler's thread."""
        loop = self._loop
        if loop is not None and self._is_told:
            self._is_told = False
            loop.call_soon_threadsafe(self._ticked, tick)

    def _ticked(self, tick: Tick) -> None:
        self._is_told = True
        for policy in self._all:
            try:
                policy.ticked(tick)
            except Exception:
                log.exception("policy %s failed at a tick", type(policy).__name__)

    def happened(self, container: Container, event: Event) -> None:
        """Called in the event loop."""
        for policy in self._all:
            try:
                policy.happened(container, event)
            except Exception:
                log.exception("policy %s failed at %s", type(policy).__name__, event)
