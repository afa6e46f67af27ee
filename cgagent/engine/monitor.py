"""Placeholder until metrics land."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cgagent.cgroups import Host
    from cgagent.engine.container import Container
    from cgagent.engine.containers import Containers
    from cgagent.engine.events import Events


class Monitor:
    def __init__(
        self, host: Host, interval_s: float, containers: Containers, events: Events
    ) -> None:
        self.host = host

    def observe_job(self, name: str, outcome: str, seconds: float) -> None: ...
    def last_sample(self, container_id: str) -> None: ...
    def forget(self, container_id: str) -> None: ...
    def limits_changed(self, container_id: str) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def stats(self, container: Container) -> dict[str, Any]:
        return {}

    async def render(self, accept: str) -> tuple[bytes, str]:
        return b"", "text/plain"
