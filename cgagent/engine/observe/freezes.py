"""Freezes and thaws by others: the record of a container follows what the kernel says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.cgroups import Event
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.lifecycle.control import Control
    from cgagent.engine.observe.policies import Tick


class ForeignFreezes:
    """A policy: what another program has frozen is shown as frozen, with an event."""

    def __init__(self, containers: Containers, control: Control) -> None:
        self._containers = containers
        self._control = control

    def ticked(self, tick: Tick) -> None:
        for container in self._differing(tick.frozen):
            if container.lock.locked():  # it is just being changed by ourselves
                continue
            self._control.note_frozen(container, by="another program")

    def happened(self, container: Container, event: Event) -> None:
        pass

    def _differing(self, frozen: frozenset[str]) -> Iterable[Container]:
        return [c for c in self._containers if c.running and c.frozen is not (c.id in frozen)]
