"""Containers whose first packet is to be told: one event for each that was armed.

It is the groundwork for waking a container that does not run for the time being. An armed one is
disarmed by its packet and its end; the agent's end disarms all.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from cgagent.concurrency import in_thread
from cgagent.errors import ConflictError
from cgagent.network import traffic

if TYPE_CHECKING:
    from cgagent.engine.containers.container import Container
    from cgagent.engine.networks import Networks


class Traffic:
    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._armed: dict[str, list[traffic.Signal]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def arm(self, container: Container) -> None:
        """Publish ``network.traffic`` once, when a packet comes; anew if it is armed already.

        Raises:
            ConflictError: it does not run, or has no network of its own.
        """
        async with container.lock:
            places = [e for e in self._networks.endpoints.of(container.id) if e.host_name]
            if not container.running or not places:
                why = "is in no network of its own" if container.running else "is not running"
                raise ConflictError(f"container {container.name} {why}: no packet comes for it")
            self.disarm(container.id)
            pid = container.record.outcome.pid or 0
            names, namespace = [e.name for e in places], f"/proc/{pid}/ns/net"
            self._armed[container.id] = await in_thread(lambda _: traffic.arm(names, namespace))
            loop = asyncio.get_running_loop()
            for signal in self._armed[container.id]:
                loop.add_reader(signal.descriptor, partial(self._heard, container, signal))

    def is_armed(self, container_id: str) -> bool:
        return container_id in self._armed

    def disarm(self, container_id: str) -> None:
        """Nothing is told any more; no error if it is not armed."""
        for signal in self._armed.pop(container_id, ()):
            self._close(signal)

    def _close(self, signal: traffic.Signal) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(signal.descriptor)
        task = loop.create_task(asyncio.to_thread(signal.close))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _heard(self, container: Container, signal: traffic.Signal) -> None:
        if not signal.has_come():
            asyncio.get_running_loop().remove_reader(signal.descriptor)
            return
        endpoints = self._networks.endpoints.of(container.id)
        place = next((e for e in endpoints if e.name == signal.interface), None)
        self.disarm(container.id)
        network = None if place is None else self._networks.get(place.network_id)
        if network is not None:
            self._networks.tell(network, "traffic", container=container.id)

    async def close(self) -> None:
        """At the agent's end."""
        for container_id in list(self._armed):
            self.disarm(container_id)
        if self._closing:
            await asyncio.wait(self._closing)
