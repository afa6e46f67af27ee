"""Networks: what docker's ``network`` commands are about.

`Networks` has them as objects, `endpoints` has containers' places in them, `wiring` the kernel's
side. The default network is made when it is first asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import logging
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cgagent.config import DEFAULT_DATA_ROOT
from cgagent.engine.containers.codec import from_plain, to_plain
from cgagent.engine.containers.names import new_id
from cgagent.engine.networks.endpoints import Endpoints
from cgagent.engine.networks.network import BUILT_IN, DEFAULT_INTERFACE, Network, Plan, plan
from cgagent.engine.networks.spec import NetworkSpec, canonical
from cgagent.engine.networks.wiring import Wiring
from cgagent.engine.options.networking import DEFAULT
from cgagent.errors import (
    CgagentError,
    ConflictError,
    DeniedError,
    NotFoundError,
    UnsupportedError,
)
from cgagent.network import lowfds
from cgagent.network.tablecounters import NONE
from cgagent.store.networks import NetworkRow

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Collection
    from pathlib import Path

    from cgagent.engine.events import Events
    from cgagent.engine.filters import PruneFilters
    from cgagent.engine.jobs import Jobs
    from cgagent.network.doctor import Finding
    from cgagent.network.ipam import Pool
    from cgagent.network.tablecounters import TableCounts
    from cgagent.network.values import FoundLink
    from cgagent.store.networks import NetworkRows

log = logging.getLogger(__name__)


class Networks:
    def __init__(
        self,
        rows: NetworkRows,
        pools: Collection[Pool],
        data_root: Path,
        jobs: Jobs,
        events: Events,
    ) -> None:
        """`data_root` is the agent's: what of the host's interfaces is ours is marked with it."""
        lowfds.keep()
        self._rows = rows
        self._pools = pools
        self._owner = hashlib.sha256(os.fsencode(os.path.realpath(data_root))).hexdigest()[:12]
        self._table = "cgagent" if data_root == DEFAULT_DATA_ROOT else f"cgagent-{self._owner}"
        self._jobs = jobs
        self._events = events
        self._by_id = {row.id: _network(row) for row in rows.all()}
        self._wiring: Wiring | None = None
        self._raising = asyncio.Lock()
        self.leave_ahead: Callable[[str], Awaitable[None]] = _nobody
        """Discards what was made ahead in a network that goes."""
        self.relayed: Callable[[], dict[tuple[str, int], socket.socket]] = dict
        """The sockets at [::1] that an earlier agent has left to the names process."""
        self._is_watching = False
        self._is_changed = False
        self._mending: asyncio.Task[None] | None = None
        self._warning: asyncio.Task[None] | None = None
        self.endpoints = Endpoints(rows, self)

    @property
    def wiring(self) -> Wiring:
        """Raises UnsupportedError: the host lacks what it takes."""
        if self._wiring is None:
            self._wiring = Wiring(self._owner, self._table)
        return self._wiring

    # -- looking ----------------------------------------------------------------------------

    def all(self) -> list[Network]:
        """The oldest first; the default one is among them when it has been used."""
        return list(self._by_id.values())

    def get(self, network_id: str) -> Network | None:
        return self._by_id.get(network_id)

    def find(self, reference: str) -> Network:
        """Find a network by its name, its id, or the beginning of an id that no other one has.

        Raises:
            NotFoundError: there is none. ConflictError: several have it, or none of ours has.
        """
        for network in self._by_id.values():
            if reference in (network.name, network.id):
                return network
        if reference == DEFAULT:
            return self._make(self._default())
        if reference in BUILT_IN:
            raise ConflictError(
                f"network {reference} is chosen when a container is made (--network {reference}): "
                "none can be brought into it or out of it later"
            )
        found = [n for n in self._by_id.values() if reference and n.id.startswith(reference)]
        if len(found) > 1:
            raise ConflictError(f"network {reference!r} is ambiguous: {len(found)} ids begin so")
        if not found:
            raise NotFoundError(f"network {reference} not found; see cgagent network ls")
        return found[0]

    def usual(self) -> str:
        """The id of the default network, if it has ever been used; else empty."""
        return next((n.id for n in self._by_id.values() if n.is_default), "")

    def _default(self) -> NetworkSpec:
        """Another agent of the host may have an interface of the usual name."""
        names = (f"{DEFAULT_INTERFACE}{number}" for number in itertools.count())
        name = next(n for n in names if not self.wiring.has(n))
        return NetworkSpec(name=DEFAULT, options={"interface": name})

    # -- making and removing ------------------------------------------------------------------

    async def create(self, spec: NetworkSpec) -> Network:
        """A new one; its bridge is made with the first container that starts in it.

        Raises:
            InvalidInputError, ConflictError, UnsupportedError: see `network.plan`.
            NotFoundError: the parent interface.
        """
        if spec.name == DEFAULT:
            raise ConflictError(f"network with name {DEFAULT} already exists")
        async with self._jobs.run("network create", network=spec.name, driver=spec.driver):
            return self._make(canonical(spec))

    def _make(self, spec: NetworkSpec) -> Network:
        network_id = new_id()
        made = Network(
            id=network_id, created_ns=time.time_ns(), plan=self._planned(spec, network_id)
        )
        if not made.driver.is_routed:
            self.wiring.check(made.side(self.wiring.mtu_outward()))
        self._rows.insert(_row(made))
        self._by_id[made.id] = made
        if not made.is_default:
            self.tell(made, "create")
        return made

    def _planned(self, spec: NetworkSpec, network_id: str) -> Plan:
        return plan(
            spec,
            network_id,
            pools=self._pools,
            others=[n for n in self._by_id.values() if n.id != network_id],
            host_subnets=lambda: self.wiring.host_subnets(),  # noqa: PLW0108 - when needed
        )

    async def remove(self, reference: str) -> Network:
        """Delete a network with its bridge.

        Raises:
            NotFoundError: there is none. DeniedError: it is always there.
            ConflictError: containers are in it.
        """
        if reference in BUILT_IN:
            raise DeniedError(f"{reference} is a pre-defined network and cannot be removed")
        network = self.find(reference)
        if network.is_default:  # by its id
            raise DeniedError(f"{network.name} is a pre-defined network and cannot be removed")
        async with self._jobs.run("network remove", network=network.name):
            await self._remove(network)
        return network

    async def _remove(self, network: Network) -> None:
        if users := self.endpoints.users(network.id):
            count = "1 container" if len(users) == 1 else f"{len(users)} containers"
            raise ConflictError(
                f"network {network.name} has {count} in it; remove each, or take "
                f"it out, first (cgagent network disconnect {network.name} CONTAINER)"
            )
        await self.leave_ahead(network.id)
        if network.id not in self._by_id:
            raise NotFoundError(f"network {network.name} not found: it has been removed meanwhile")
        if self.endpoints.users(network.id):  # a container has come meanwhile
            raise ConflictError(f"network {network.name} has containers in it")
        self._rows.delete(network.id)
        del self._by_id[network.id]
        self.tell(network, "destroy")
        await self.down(network)

    async def prune(self, filters: PruneFilters) -> list[str]:
        """Remove those that no container is in; their names."""
        names = []
        async with self._jobs.run("network prune"):
            for network in self.all():
                labels = network.plan.spec.labels
                if network.is_default or not filters.hold(network.created_ns, labels):
                    continue
                with contextlib.suppress(CgagentError):  # in use
                    await self._remove(network)
                    names.append(network.name)
        return names

    def tell(self, network: Network, action: str, **more: str) -> None:
        """An event of it."""
        attributes = {"name": network.name, "type": network.plan.spec.driver, **more}
        self._events.publish("network", action, network.id, attributes)

    # -- the kernel's side ----------------------------------------------------------------------

    async def up(self, network: Network) -> None:
        """Make its bridge and rules, or look for its parent, unless that is done.

        Raises:
            ConflictError, UnsupportedError, InternalError. NotFoundError: the parent.
        """
        wiring = self.wiring
        if wiring.is_up(network.side()):
            return
        async with self._raising:
            if wiring.is_up(network.side()):
                return
            try:
                switched_on = await asyncio.to_thread(self._raise, network)
            except UnsupportedError as e:
                raise UnsupportedError(
                    f"network {network.name}: {e.message}; --network none and host need none of it"
                ) from e
            for setting in switched_on:
                log.warning("network %s: %s was switched on", network.name, setting)
            if wiring.has_rules:
                self._watch()

    def _raise(self, network: Network) -> list[str]:
        fitting = self._fitting(network) if network.driver.is_routed else network
        return self.wiring.up(fitting.side(self.wiring.mtu_outward()))

    def _watch(self) -> None:
        """From now on, make rules anew that another program has changed or flushed."""
        if not self._is_watching:
            self._is_watching = True
            loop = asyncio.get_running_loop()
            loop.add_reader(self.wiring.changes(), self._heed)
            self._warning = loop.create_task(self._warn())

    async def _warn(self) -> None:
        with contextlib.suppress(CgagentError):  # it is told where it matters
            for finding in await self.findings():
                log.warning(
                    "%s: %s; see cgagent network doctor, or run: %s",
                    finding.object,
                    finding.cause,
                    "; ".join(finding.commands),
                )

    def _heed(self) -> None:
        if not self.wiring.heed():
            return
        self._is_changed = True
        if self._mending is None or self._mending.done():
            log.warning("another program has changed the rules of containers' networks")
            self._mending = asyncio.create_task(self._mend())

    async def _mend(self) -> None:
        """Once more for what is changed meanwhile."""
        while self._is_changed:
            self._is_changed = False
            try:
                await asyncio.to_thread(self.wiring.reload)
            except CgagentError as e:
                log.error("the rules of containers' networks are not made anew: %s", e.message)  # noqa: TRY400

    def _fitting(self, network: Network) -> Network:
        """It, with other subnets if the host has got a route that is in the way of those it has.

        Raises:
            ConflictError: there is one, and the network cannot be changed.
        """
        wiring = self.wiring
        if wiring.is_there(network.id):  # made by an agent before this one
            return network
        clash = network.clash(wiring.host_subnets())
        is_taken = wiring.has(network.plan.interface)
        if clash is None and not is_taken:
            return network
        spec = self._default() if network.is_default else network.plan.spec
        if (
            spec.subnets
            or (is_taken and not network.is_default)
            or self.endpoints.fixed(network.id)
        ):
            what = f"subnet {clash}" if clash else f"interface {network.plan.interface}"
            raise ConflictError(
                f"network {network.name}: {what} is in use on this host by something else; free "
                "it, or make the network anew with another one"
            )
        moved = replace(network, plan=self._planned(spec, network.id))
        self._rows.replace(_row(moved))
        self._by_id[network.id] = moved
        return moved

    async def recover(self, known: Collection[str], running: Collection[str]) -> None:
        """After an earlier agent: `known` are containers' ids, those in `running` have links."""
        self.endpoints.recover(known, running)
        used = [n for n in self._by_id.values() if self.endpoints.attached(n.id)]
        try:
            wiring = self.wiring
            if used:
                mtu = wiring.mtu_outward()
                sides = [network.side(mtu) for network in used]
                relayed = await asyncio.to_thread(self.relayed)
                publications = self.endpoints.ports.reserve_again(relayed)
                await asyncio.to_thread(wiring.restore, sides, publications)
                if wiring.has_rules:
                    self._watch()
            lost = [each for each in running if self.endpoints.is_lost(each)]
            keep = self._is_unknown if lost else _is_none
            kept = await asyncio.to_thread(wiring.sweep, self.endpoints.links(), keep)
            self._name(lost, kept)
        except (CgagentError, OSError) as e:  # the agent starts all the same
            log.error("networks of an earlier agent: %s", e)  # noqa: TRY400

    @property
    def is_blank(self) -> bool:
        """There is no network: none was ever used, or the database was lost."""
        return not self._by_id

    def _is_unknown(self, found: FoundLink) -> bool:
        return found.network not in self._by_id

    @staticmethod
    def _name(lost: Collection[str], kept: Collection[FoundLink]) -> None:
        """What runs in networks that a lost database knew of, and what stays for it."""
        bridges = ", ".join(found.name for found in kept if found.kind == "bridge")
        for container_id in lost if bridges else ():
            log.warning(
                "container %s runs in a network that the database has lost (one of %s, which stay "
                "until it ends, without its published ports); restart it to bring it into a "
                "network of now",
                container_id[:12],
                bridges,
            )

    async def down(self, network: Network) -> None:
        """Remove its bridge, about 30 ms."""
        async with self._raising:
            if self._wiring is not None:
                await asyncio.to_thread(self._wiring.down, network.side())

    async def findings(self) -> list[Finding]:
        """Find settings and firewalls of the host that block containers' traffic."""
        return await asyncio.to_thread(self.wiring.findings)

    def counts(self) -> TableCounts:
        """What the rules have counted; nothing where no network was ever in use."""
        return self._wiring.counts() if self._wiring else NONE

    async def close(self, *, in_use: bool) -> None:
        """At the agent's end: what nobody uses goes from the host; `in_use`: a container runs."""
        for task in filter(None, (self._warning, self._mending)):
            await asyncio.wait([task])
        if self._is_watching:
            asyncio.get_running_loop().remove_reader(self.wiring.changes())
        await self.endpoints.close()
        for network in self.all():
            if not self.endpoints.attached(network.id):
                await self.down(network)
        if self._wiring is not None:
            if not in_use:  # also what a database that was lost had known of
                with contextlib.suppress(CgagentError):
                    await asyncio.to_thread(self._wiring.sweep, ())
            self._wiring.close()


def _is_none(_found: FoundLink) -> bool:
    return False


async def _nobody(_network_id: str) -> None:
    """Discard nothing: no zygote is made ahead."""


def _row(network: Network) -> NetworkRow:
    return NetworkRow(
        id=network.id,
        name=network.name,
        created_ns=network.created_ns,
        document=json.dumps(to_plain(network.plan)),
    )


def _network(row: NetworkRow) -> Network:
    return Network(
        id=row.id,
        created_ns=row.created_ns,
        plan=from_plain(Plan, json.loads(row.document)),
    )
