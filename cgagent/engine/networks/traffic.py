"""Containers whose first packet is to be told, once for each that was armed.

So one that hibernates is woken (`heard` is called), and an event is published for who has asked for
one. An armed one is disarmed by its packet and its end; the agent's end disarms all.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from cgagent.concurrency import in_thread
from cgagent.errors import ConflictError
from cgagent.network import traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.containers.container import Container
    from cgagent.engine.networks import Networks


@dataclass(slots=True)
class _Armed:
    signals: list[traffic.Signal]
    heard: Callable[[], None] | None
    tells: bool
    """Whether an event is published."""


class Traffic:
    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._armed: dict[str, _Armed] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def hears(self, container: Container) -> bool:
        """Whether packets come for it: it has a network of its own."""
        return any(e.host_name for e in self._networks.endpoints.of(container.id))

    async def tell(self, container: Container) -> None:
        """Publish ``network.traffic`` once, when a packet comes; anew if it is armed already.

        Raises:
            ConflictError: it does not run, or has no network of its own.
        """
        await self._arm(container, tells=True)

    async def listen(self, container: Container, heard: Callable[[], None]) -> None:
        """Have `heard` called once, when a packet comes.

        Raises:
            ConflictError: as `tell`.
        """
        await self._arm(container, heard)

    async def _arm(
        self,
        container: Container,
        heard: Callable[[], None] | None = None,
        *,
        tells: bool = False,
    ) -> None:
        async with container.lock:
            if not container.running or not self.hears(container):
                why = "is in no network of its own" if container.running else "is not running"
                raise ConflictError(f"container {container.name} {why}: no packet comes for it")
            signals = await self._signals(container)
            armed = self._armed.get(container.id) or _Armed([], None, tells=False)
            self._replace(container, _Armed(signals, heard or armed.heard, tells or armed.tells))

    async def connected(self, container: Container) -> None:
        """One that is armed is in one more network, whose packets count as well.

        Its lock is held.
        """
        if container.id not in self._armed:
            return
        signals = await self._signals(container)
        armed = self._armed.get(container.id) or _Armed([], None, tells=False)  # a packet came
        self._replace(container, replace(armed, signals=signals))
        self._disarm_unheard(container.id)

    async def _signals(self, container: Container) -> list[traffic.Signal]:
        pid = container.record.outcome.pid or 0
        names = [e.name for e in self._networks.endpoints.of(container.id) if e.host_name]
        return await in_thread(lambda _: traffic.arm(names, f"/proc/{pid}/ns/net"))

    def _replace(self, container: Container, armed: _Armed) -> None:
        """What came on the old ones is told by now: the new ones were armed in a thread."""
        self.disarm(container.id)
        self._armed[container.id] = armed
        loop = asyncio.get_running_loop()
        for signal in armed.signals:
            loop.add_reader(signal.descriptor, partial(self._comes, container, signal))

    def listens(self, container_id: str) -> bool:
        """Whether `heard` has not been called so far."""
        armed = self._armed.get(container_id)
        return armed is not None and armed.heard is not None

    def untell(self, container_id: str) -> None:
        """Nothing is published any more; no error if nothing would have been."""
        armed = self._armed.get(container_id)
        if armed is not None:
            armed.tells = False
            self._disarm_unheard(container_id)

    def unlisten(self, container_id: str) -> None:
        """`heard` is not called any more."""
        armed = self._armed.get(container_id)
        if armed is not None:
            armed.heard = None
            self._disarm_unheard(container_id)

    def _disarm_unheard(self, container_id: str) -> None:
        armed = self._armed[container_id]
        if armed.heard is None and not armed.tells:
            self.disarm(container_id)

    def disarm(self, container_id: str) -> None:
        """Nothing is told any more, to nobody; no error if it is not armed."""
        armed = self._armed.pop(container_id, None)
        for signal in armed.signals if armed else ():
            self._close(signal)

    def _close(self, signal: traffic.Signal) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(signal.descriptor)
        task = loop.create_task(asyncio.to_thread(signal.close))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _comes(self, container: Container, signal: traffic.Signal) -> None:
        if not signal.has_come():
            asyncio.get_running_loop().remove_reader(signal.descriptor)
            return
        armed = self._armed[container.id]
        if armed.heard is not None:
            armed.heard()
        endpoints = self._networks.endpoints.of(container.id)
        place = next((e for e in endpoints if e.name == signal.interface), None)
        self.disarm(container.id)
        network = None if place is None else self._networks.get(place.network_id)
        if armed.tells and network is not None:
            self._networks.tell(network, "traffic", container=container.id)

    async def close(self) -> None:
        """At the agent's end."""
        for container_id in list(self._armed):
            self.disarm(container_id)
        if self._closing:
            await asyncio.wait(self._closing)
