"""Containers' places in networks: from a request to an address, a link and published ports.

A place is there from the container's creation on, its address and link while it runs: they are
leased in the database before the kernel hears of them, and given back when the kernel has let go.
What the pool makes ready ahead of time has a place, too, under an id that no container has yet.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from cgagent.concurrency import in_thread
from cgagent.engine.networks.endpoint import Endpoint, from_row
from cgagent.engine.networks.leases import Leases, check_mac
from cgagent.engine.networks.leaving import Leaving
from cgagent.engine.networks.namespaces import Namespaces
from cgagent.engine.networks.publishing import PublishedPorts
from cgagent.engine.networks.ways import Ways
from cgagent.engine.options import networking
from cgagent.engine.options.networking import EndpointSpec
from cgagent.errors import ConflictError, InvalidInputError, NotFoundError
from cgagent.network import ipam
from cgagent.network.values import Bridge, Link

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence

    from cgagent.engine.networks.network import Network
    from cgagent.engine.networks.wiring import Wiring
    from cgagent.engine.options.networking import Networking, PortSpec
    from cgagent.network.values import Address
    from cgagent.store.networks import NetworkRows


class KnownNetworks(Protocol):
    """The networks that there are."""

    @property
    def wiring(self) -> Wiring: ...
    def get(self, network_id: str) -> Network | None: ...
    def find(self, reference: str) -> Network:
        """Raises NotFoundError."""

    @property
    def leave_ahead(self) -> Callable[[str], Awaitable[None]]:
        """Discards what was made ahead in a network."""

    async def up(self, network: Network) -> None:
        """Its bridge is there when this returns."""


class Endpoints:
    def __init__(self, rows: NetworkRows, networks: KnownNetworks) -> None:
        self._rows = rows
        self._networks = networks
        self._of: dict[str, list[Endpoint]] = {}
        self._ahead: set[str] = set()
        self._ways = Ways(self.of, networks.find)
        self._leases = Leases()
        self._namespaces = Namespaces()
        self._leaving = Leaving(lambda: networks.wiring, self._leases.give_back)
        self.ports = PublishedPorts(rows, lambda: networks.wiring, networks.get)
        for row in rows.endpoints():
            self._remember(from_row(row))

    # -- looking ----------------------------------------------------------------------------

    def of(self, container_id: str) -> tuple[Endpoint, ...]:
        """In the order of its interfaces."""
        return tuple(self._of.get(container_id, ()))

    def users(self, network_id: str) -> list[str]:
        """The ids of containers that have a place in it, and of none that is only made ahead."""
        return [
            container_id
            for container_id, places in self._of.items()
            if container_id not in self._ahead and any(e.network_id == network_id for e in places)
        ]

    def fixed(self, network_id: str) -> bool:
        """Has a container asked for an address of it by its number, or a link on its bridge?"""
        return any(
            e.network_id == network_id and (e.host_name or e.asked)
            for p in self._of.values()
            for e in p
        )

    def attached(self, network_id: str) -> bool:
        """Is a link on its bridge?"""
        return any(e.network_id == network_id and e.host_name for p in self._of.values() for e in p)

    def is_lost(self, container_id: str) -> bool:
        """Has one that runs places of which no link is known? The database was lost once."""
        places = self.of(container_id)
        return bool(places) and not any(e.host_name for e in places)

    # -- a container's creation and removal ---------------------------------------------------

    def kind(self, asked: Networking) -> str:
        """The id of the network that a zygote for it can be attached to before it is known.

        Empty: there is none such, or it asks for more than any place in it.
        """
        places = networking.places(asked)
        if len(places) != 1 or replace(places[0], aliases=(), links=()) != EndpointSpec(
            network=places[0].network
        ):
            return ""
        network = self._networks.find(places[0].network)
        return network.id if network.driver.is_routed else ""

    async def reserve(self, container_id: str, asked: Networking) -> None:
        """Its places. An address that it asks for by number is its own while it is attached.

        Raises:
            NotFoundError: a network. InvalidInputError, ConflictError: an address that no
                container can have.
        """
        wanted = [
            self._place(container_id, position, spec)
            for position, spec in enumerate(networking.places(asked))
        ]
        self._ahead.discard(container_id)
        there = self._of.get(container_id, [])
        if len(there) == len(wanted) and all(map(Endpoint.suits, there, wanted)):  # made ahead
            wanted = [replace(e, spec=new.spec) for e, new in zip(there, wanted, strict=True)]
        else:
            self.forget(container_id)
        self._keep([e for e in wanted if e not in there])

    def reserve_ahead(self, container_id: str, network_id: str) -> None:
        """A place for the zygote of a container to come, which may suit it."""
        network = self._networks.find(network_id)
        self._ahead.add(container_id)
        self._keep([self._place(container_id, 0, EndpointSpec(network=network.name))])

    def is_ahead(self, container_id: str) -> bool:
        """Has its zygote a place that no container has taken so far?"""
        return container_id in self._ahead

    def _keep(self, places: Sequence[Endpoint]) -> None:
        if places:
            self._rows.put(*(e.row() for e in places))
        for endpoint in places:
            self._remember(endpoint)

    def _place(self, container_id: str, position: int, spec: EndpointSpec) -> Endpoint:
        network = self._networks.find(spec.network)
        if network.is_default and spec.aliases:
            raise InvalidInputError(
                f"network {network.name}: network-scoped alias {spec.aliases[0]} is supported only "
                "for containers in user defined networks; use one of your own (cgagent network "
                "create)"
            )
        check_mac(network, spec.mac, self._others(container_id))
        self._leases.check(network, spec.address, 4)
        self._leases.check(network, spec.address6, 6)
        return Endpoint(
            container_id=container_id, network_id=network.id, position=position, spec=spec
        )

    def _others(self, container_id: str) -> Iterator[Endpoint]:
        return (e for owner, p in self._of.items() if owner != container_id for e in p)

    def forget(self, container_id: str) -> None:
        """It has no place any more; links that it has go in a moment."""
        self.joined(container_id)
        self._ahead.discard(container_id)
        places = self._of.pop(container_id, [])
        self.ports.unpublish(container_id)
        if places:
            self._rows.remove(container_id)
            for endpoint in places:
                self._leases.forget(endpoint)
            self._let_go(places)

    # -- its start and end ----------------------------------------------------------------------

    async def attach(self, container_id: str, pid: int) -> None:
        """Links into its network namespace for all places that have none.

        `pid` is a process in it; without meaning where it was `made` for another runtime.

        Raises:
            ConflictError: no address is free. UnsupportedError, InternalError: the kernel refuses.
        """
        waiting = [e for e in self.of(container_id) if not e.host_name]
        if not waiting:
            return
        for endpoint in waiting:
            await self._networks.up(self._network(endpoint))
        namespace = self.namespace(container_id, pid)
        leased: list[Endpoint] = []
        try:
            for endpoint in waiting:
                leased.append(await self._leased(endpoint))  # noqa: PERF401 - also where one fails
            self._keep(leased)
            links = [self._link(e) for e in leased]
            wiring = self._networks.wiring
            await in_thread(lambda _: wiring.attach(links, namespace))
        except BaseException:
            self._release(leased)
            raise

    def namespace(self, container_id: str, pid: int) -> str:
        """The file of its network namespace: one that was made for it, or that of a process."""
        return self._namespaces.of(container_id, pid)

    def made(self, container_id: str) -> str | None:
        """The file of a namespace that is made for it now, for another runtime to join.

        None: it is in no network.
        """
        return self._namespaces.make(container_id) if self.of(container_id) else None

    def joined(self, container_id: str) -> None:
        """The runtime has, if there was one: the namespace is its container's alone."""
        self._namespaces.joined(container_id)

    async def _leased(self, endpoint: Endpoint) -> Endpoint:
        """With an address, too, that is on its way back or made ahead, if it needs that one."""
        if endpoint.container_id in self._ahead:
            return self._lease(endpoint)
        for make_room in (self._leaving.now, lambda: self._make_room(endpoint.network_id)):
            with contextlib.suppress(ConflictError):
                return self._lease(endpoint)
            await make_room()
        return self._lease(endpoint)

    async def _make_room(self, network_id: str) -> None:
        """Have back what no container has of its addresses."""
        await self._networks.leave_ahead(network_id)
        await self._leaving.wait()

    def _lease(self, endpoint: Endpoint) -> Endpoint:
        network = self._network(endpoint)
        check_mac(network, endpoint.spec.mac, self._others(endpoint.container_id))
        return self._leases.lease(endpoint, network)

    def _link(self, endpoint: Endpoint) -> Link:
        network = self._network(endpoint)
        side = network.side()
        return Link(
            bridge=side.name,
            host_name=endpoint.host_name or "",
            name=endpoint.name,
            mac=endpoint.mac,
            addresses=(
                *(
                    ipam.with_prefix(address, found.subnet)
                    for found in filter(None, map(network.range_of, (4, 6)))
                    for address in endpoint.addresses
                    if address.version == found.subnet.version
                ),
                *map(ipam.link_local, endpoint.spec.link_local),
            ),
            gateways=network.gateways if self._ways.leads_out(endpoint) else (),
            mtu=self._networks.wiring.mtu(side),
            isolated=isinstance(side, Bridge) and side.isolated,
            network=network.id,
            child=side.child,
        )

    def gateway(self, container_id: str) -> Address | None:
        """The host's address as the container sees it."""
        return self._ways.gateway(container_id)

    def linked(self, container_id: str, find: Callable[[str], str]) -> list[tuple[Address, str]]:
        """As `Ways.linked`."""
        return self._ways.linked(container_id, find)

    def publish(self, container_id: str, ports: Collection[PortSpec]) -> None:
        """Ports of the host's that it answers from now on, in the network of its default route.

        Raises: as `PublishedPorts.publish`.
        """
        endpoint = self._ways.out(container_id)
        if endpoint is not None:
            network = self._network(endpoint)
            self.ports.publish(container_id, ports, endpoint.addresses, network)

    def detach(self, container_id: str) -> None:
        """Its run is over: its ports are free now, links and addresses in a moment."""
        self.joined(container_id)
        self.ports.unpublish(container_id)
        self._release([e for e in self.of(container_id) if e.host_name])

    def _release(self, places: Sequence[Endpoint]) -> None:
        """Places that are attached, or were about to be, are so no more."""
        if places:
            after = [e.let_go() for e in places]
            self._rows.release(*(e.row() for e in after))
            for endpoint in after:
                self._replace(endpoint)
            self._let_go(places)

    def _let_go(self, places: Sequence[Endpoint]) -> None:
        """Free what they have: an address when nobody answers for it any more."""
        for endpoint in places:
            if endpoint.host_name:
                self._networks.wiring.prioritize(dict.fromkeys(endpoint.addresses, 0))
        self._leaving.add(e for e in places if e.host_name)

    # -- changes of a container that is there ---------------------------------------------------

    async def connect(self, container_id: str, spec: EndpointSpec) -> Endpoint:
        """One more place; of one that runs it is to be attached next.

        Raises:
            ConflictError: it has one in that network.
        """
        network = self._networks.find(spec.network)
        there = self.of(container_id)
        if any(e.network_id == network.id for e in there):
            raise ConflictError(f"the container is in network {network.name} already")
        free = next(n for n in itertools.count() if all(e.position != n for e in there))
        endpoint = self._place(container_id, free, spec)
        self._keep([endpoint])
        return endpoint

    async def disconnect(self, container_id: str, network: Network, pid: int | None) -> bool:
        """Whether its default route and its ports went with it.

        `pid` is a process in its network namespace, if it runs.

        Raises:
            NotFoundError: it has no place in that network.
        """
        endpoint = next((e for e in self.of(container_id) if e.network_id == network.id), None)
        if endpoint is None:
            raise NotFoundError(f"the container is not in network {network.name}")
        had_way_out = self._ways.leads_out(endpoint)
        self.ports.unpublish(container_id, network.plan.interface)
        self._rows.remove(container_id, network.id)
        self._of[container_id].remove(endpoint)
        self._leases.forget(endpoint)
        if pid is not None and endpoint.host_name and network.side().child is not None:
            namespace = self.namespace(container_id, pid)
            host_name = endpoint.host_name
            with contextlib.suppress(NotFoundError):  # it has ended, with all in it
                await in_thread(lambda _: self._networks.wiring.detach_child(host_name, namespace))
        self._let_go([endpoint])
        await self._leaving.now()
        return had_way_out

    def unlink(self, container_id: str, alias: str) -> bool:
        """Take away the links of this alias; was there one?"""
        there = self.of(container_id)
        left = [replace(e, spec=networking.unlinked(e.spec, alias)) for e in there]
        changed = [new for new, old in zip(left, there, strict=True) if new != old]
        self._keep(changed)
        return bool(changed)

    def way_out(self, container_id: str) -> str:
        """The id of the network that its default route and its ports are in; empty: of none."""
        endpoint = self._ways.out(container_id)
        return "" if endpoint is None else endpoint.network_id

    async def reroute(self, container_id: str, pid: int) -> None:
        """Give one that runs its default route through the network that is its first now."""
        endpoint = self._ways.out(container_id)
        if endpoint is not None and endpoint.host_name:
            link, namespace = self._link(endpoint), self.namespace(container_id, pid)
            await in_thread(lambda _: self._networks.wiring.readdress(link, namespace))

    # -- the agent's start and end ----------------------------------------------------------------

    def recover(self, known: Collection[str], running: Collection[str]) -> None:
        """Find the truth after an earlier agent: whose places and links are left.

        `known` are the ids of containers, of which those in `running` have their links.
        """
        for container_id in self._of.keys() | self.ports.publishers():
            if container_id not in known:
                self.forget(container_id)
            elif container_id not in running:
                self.detach(container_id)

    def links(self) -> list[str]:
        """The names of all that are in use, on the host."""
        return [e.host_name for p in self._of.values() for e in p if e.host_name]

    async def close(self) -> None:
        """Nothing is on its way out when this returns."""
        await self._leaving.close()

    # -- what is remembered -----------------------------------------------------------------------

    def _network(self, endpoint: Endpoint) -> Network:
        return self._networks.find(endpoint.network_id)

    def _remember(self, endpoint: Endpoint) -> None:
        self._replace(endpoint)
        self._leases.take(endpoint)

    def _replace(self, endpoint: Endpoint) -> None:
        places = self._of.setdefault(endpoint.container_id, [])
        places[:] = [e for e in places if e.network_id != endpoint.network_id]
        places.append(endpoint)
        places.sort(key=lambda e: e.position)
