"""Limits of containers' networks: which may be asked for, holding links to them, what is held.

The rates are of each interface of a container by itself. The priority is kept for the addresses
that it has; that of a container with the host's network is its cgroup's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from cgagent.cgroups import UNLIMITED, Limits
from cgagent.concurrency import in_thread
from cgagent.engine.options import networking
from cgagent.errors import CgagentError, ConflictError
from cgagent.network.rates import Rates

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cgagent.engine.containers.container import Container, Record
    from cgagent.engine.networks import Networks

log = logging.getLogger(__name__)

_FREE: Final = Limits(net_rate_in_bits=UNLIMITED, net_rate_out_bits=UNLIMITED)


class NetworkLimits:
    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._endpoints = networks.endpoints

    def check(self, record: Record) -> None:
        """Make sure that it has interfaces which can be held to its limits.

        Raises:
            ConflictError: it has none such; says why.
        """
        wanted = [name for name, value in record.network_limits if value and value != UNLIMITED]
        if wanted and (reason := self._reason(record, wanted[0])):
            raise ConflictError(f"conflicting options: limit {wanted[0]} and {reason}")

    def _reason(self, record: Record, name: str) -> str:
        mode = networking.mode(record.config)
        if mode == networking.HOST:
            return "--network host: the interfaces are the host's; use another network"
        if mode:
            return f"--network {mode}: the interfaces are that container's; limit it instead"
        networks = [self._networks.find(e.network_id) for e in self._endpoints.of(record.id)]
        if not networks:
            return "no network: it has no interface; connect it to one first"
        for network in networks if name != "net_priority" else ():
            if network.plan.spec.driver != "bridge":
                return (
                    f"network {network.name} of driver {network.plan.spec.driver}: its interfaces "
                    "have no end on the host to limit them at; use a bridge network"
                )
        return ""

    async def hold(self, container_id: str, limits: Limits) -> None:
        """Hold the links that it has to these limits; those that are None stay.

        Raises:
            UnsupportedError: the kernel lacks what it takes.
        """
        places = [e for e in self._endpoints.of(container_id) if e.host_name]
        if not places or not dict(limits):
            return
        wiring = self._networks.wiring
        names = [e.host_name or "" for e in places]
        rates = Rates(incoming=limits.net_rate_in_bits, outgoing=limits.net_rate_out_bits)
        addresses = [a for e in places for a in e.addresses]

        def work() -> None:
            if rates != Rates():
                wiring.limit(names, rates)
            if limits.net_priority is not None:
                wiring.prioritize(dict.fromkeys(addresses, limits.net_priority))

        await in_thread(lambda _: work())

    async def recover(self, running: Iterable[Container]) -> None:
        """After an earlier agent: its limits, also where an update was cut short."""
        places = {c: self._endpoints.of(c.id) for c in running}
        if not any(e.host_name for of in places.values() for e in of):
            return
        try:
            limited = await asyncio.to_thread(self._networks.wiring.links.limited)
        except CgagentError as e:  # the agent starts all the same
            log.error("limits of networks: %s", e.message)  # noqa: TRY400
            return
        for container, of in places.items():
            wanted = container.record.network_limits
            if any(e.host_name in limited for e in of):
                wanted = _FREE.merged(wanted)
            try:
                await self.hold(container.id, wanted)
            except CgagentError as e:
                log.error("container %s: limits of its network: %s", container.name, e.message)  # noqa: TRY400

    def held(self, record: Record) -> Mapping[str, Any]:
        """What the kernel holds, of the limits that are asked for; an interface that differs first.

        Called in any thread.
        """
        asked = dict(record.network_limits)
        names = [e.host_name for e in self._endpoints.of(record.id) if e.host_name]
        if not asked or not names:
            return {}
        wiring = self._networks.wiring
        addresses = [a for e in self._endpoints.of(record.id) for a in e.addresses]
        there = [rates for name in names if (rates := wiring.links.rates(name)) is not None]
        found: dict[str, list[Any]] = {
            "net_rate_in_bits": [rates.incoming for rates in there],
            "net_rate_out_bits": [rates.outgoing for rates in there],
            "net_priority": [wiring.priority(address) for address in addresses],
        }
        return {n: _differing(n, asked[n], found[n]) for n in asked if found[n]}


def _differing(name: str, asked: Any, held: list[Any]) -> Any:
    wanted = Limits(**{name: asked})
    return next((value for value in held if wanted.diff(Limits(**{name: value}))), held[0])
