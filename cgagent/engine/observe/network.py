"""Figures of the agent's networks: what rules have dropped, how published ports are used.

They are read in the sampler's thread, every few seconds; whoever asks sees what was read last.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from cgagent.errors import CgagentError
from cgagent.metrics import PortUse
from cgagent.network.tablecounters import NONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.networks import Networks
    from cgagent.engine.networks.limits import NetworkLimits

log = logging.getLogger(__name__)


class NetworkFigures:
    """The view of networks that the sampler has (`metrics.sampler.NetworkView`), and more."""

    def __init__(
        self,
        networks: Networks,
        limits: NetworkLimits,
        containers: Containers,
        interval_s: float,
    ) -> None:
        self._networks = networks
        self._limits = limits
        self._containers = containers
        self._interval_s = interval_s
        self._due_s = 0.0
        self._counts = NONE

    def names(self, target_id: str) -> Mapping[str, str]:
        """The network that each interface of a container is in."""
        places = self._networks.endpoints.of(target_id)
        found = ((e.name, self._networks.get(e.network_id)) for e in places)
        return {name: network.name for name, network in found if network}

    def held(self, target_id: str) -> Mapping[str, Any]:
        """What the kernel holds a container's links to, of what is asked for."""
        container = self._containers.get(target_id)
        try:
            return self._limits.held(container.record) if container else {}
        except CgagentError as e:  # a limit that cannot be read is not held, as far as is known
            log.debug("container %s: limits of its network: %s", target_id[:12], e.message)
            return {}

    def refresh(self) -> None:
        """Read what the rules have counted, if that was last done some seconds ago."""
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + self._interval_s
        try:
            self._counts = self._networks.counts()
        except CgagentError as e:  # somebody has removed the rules, which are made anew
            log.debug("counters of networks: %s", e.message)

    def drops(self) -> Mapping[str, tuple[int, int]]:
        """Packets and bytes by rule (`network.ruleset.DROPS`)."""
        return {name: (c.packets, c.bytes) for name, c in self._counts.dropped.items()}

    def ports(self, container_id: str) -> tuple[PortUse, ...]:
        """A container's published ports; one that is published since then has had none.

        Those at [::1] are relayed, and not counted.
        """
        return tuple(
            PortUse(
                p.host_text,
                p.host_port,
                p.protocol,
                p.container_port,
                self._counts.connections.get(p, 0),
            )
            for p in self._networks.endpoints.ports.of(container_id)
            if not p.is_relayed
        )
