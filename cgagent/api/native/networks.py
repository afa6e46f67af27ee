"""``/v1/networks``: make, look, remove, bring containers in and out."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from cgagent.api.bodies import CheckedRouter
from cgagent.api.native.etags import condition, tagged
from cgagent.api.native.images import Filters
from cgagent.api.native.once import once
from cgagent.api.native.pages import Paged
from cgagent.api.native.schemas import Strict
from cgagent.engine import listfilters
from cgagent.engine.filters import PruneFilters, by_name
from cgagent.engine.options.networking import EndpointSpec
from cgagent.engine.values import NetworkSpec, built_in_id
from cgagent.members import members

if TYPE_CHECKING:
    from cgagent.engine.containers.config import ContainerConfig
    from cgagent.engine.engine import Engine
    from cgagent.engine.values import Endpoint, Network

_BUILT_IN: Final = (("host", "host"), ("none", "null"))
_NO_BRIDGE: Final = frozenset(driver for _, driver in _BUILT_IN)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class NetworkBody(NetworkSpec):
    pass


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ConnectBody(EndpointSpec):
    network: str = ""
    container: str


class DisconnectBody(Strict):
    container: str
    force: bool = False


def network_view(engine: Engine, network: Network) -> dict[str, Any]:
    spec = network.plan.spec
    endpoints = engine.networks.endpoints
    return {
        "id": network.id,
        "name": network.name,
        "driver": spec.driver,
        "created_ns": network.created_ns,
        "interface": network.plan.interface,
        "internal": network.is_internal,
        "ipv6": network.range_of(6) is not None,
        "labels": spec.labels,
        "options": spec.options,
        "subnets": [
            {
                "subnet": str(r.subnet),
                "gateway": str(r.gateway),
                "ip_range": None if r.part is None else str(r.part),
                "aux_addresses": next(
                    (s.aux_addresses for s in spec.subnets if s.subnet == str(r.subnet)), {}
                ),
            }
            for r in network.plan.ranges
        ],
        "containers": [
            {"name": container.name, **endpoint_view(engine, endpoint)}
            for container in engine.containers
            for endpoint in endpoints.of(container.id)
            if endpoint.network_id == network.id
        ],
    }


def built_in_view(engine: Engine, name: str, driver: str) -> dict[str, Any]:
    """A network without a bridge: the host's own, or none at all."""
    nothing: dict[str, Any] = {"labels": {}, "options": {}, "subnets": [], "containers": []}
    return {
        "id": built_in_id(name),
        "name": name,
        "driver": driver,
        "created_ns": engine.started_ns,
        "interface": "",
        "internal": False,
        "ipv6": False,
        **nothing,
    }


def endpoint_view(engine: Engine, endpoint: Endpoint) -> dict[str, Any]:
    network = engine.networks.get(endpoint.network_id)
    ranges = [] if network is None else network.plan.ranges
    is_child = network is not None and network.side().child is not None
    return {
        "container_id": endpoint.container_id,
        "network_id": endpoint.network_id,
        "network": "" if network is None else network.name,
        "interface": endpoint.name,
        "attached": endpoint.host_name is not None,
        "host_interface": None if is_child else endpoint.host_name,
        "mac": endpoint.mac if network is None or network.has_macs else "",
        "addresses": [
            {"address": str(a), "prefix": r.subnet.prefixlen, "gateway": str(r.gateway)}
            for a in endpoint.addresses
            for r in ranges
            if a in r.subnet
        ],
        "asked": asdict(endpoint.spec),
    }


def container_networks(engine: Engine, container_id: str) -> dict[str, Any]:
    """An inspection shows a container's networks and published ports so."""
    endpoints = engine.networks.endpoints
    return {
        "networks": [endpoint_view(engine, e) for e in endpoints.of(container_id)],
        "published_ports": published_ports(engine, container_id),
    }


def network_names(engine: Engine, config: ContainerConfig, container_id: str) -> list[str]:
    """The networks that a container is in; ``host`` and ``none`` are none of the agent's."""
    found = (engine.networks.get(e.network_id) for e in engine.networks.endpoints.of(container_id))
    built_in = {name for name, _ in _BUILT_IN}
    asked = [spec.network for spec in config.networks if spec.network in built_in]
    return sorted({*asked, *(network.name for network in found if network is not None)})


def published_ports(engine: Engine, container_id: str) -> list[dict[str, Any]]:
    return [
        {
            "protocol": p.protocol,
            "host_address": p.host_text,
            "host_port": p.host_port,
            "container_port": p.container_port,
        }
        for p in engine.networks.endpoints.ports.shown(container_id)
    ]


def routes(engine: Engine) -> APIRouter:
    router = CheckedRouter("/v1/networks", tag="networks")

    @router.get("")
    async def list_networks(page: Paged, filters: Filters = None) -> list[dict[str, Any]]:
        """The agent's own, and ``host`` and ``none``, which are always there.

        `filter` is ``NAME=VALUE`` with docker's names.
        """
        wanted = by_name(filters or ())
        listfilters.check(wanted, listfilters.NETWORKS)
        engine.networks.find("bridge")
        own = [network_view(engine, n) for n in engine.networks.all()]
        views = [*own, *(built_in_view(engine, *pair) for pair in _BUILT_IN)]
        return page.of(
            [view for view in views if _is_wanted(engine, wanted, view)],
            lambda view: [view["driver"] in _NO_BRIDGE, view["created_ns"], view["id"]],
        )

    @router.post("", status_code=201)
    async def create_network(body: NetworkBody, request: Request) -> dict[str, Any]:
        spec = NetworkSpec(**members(NetworkSpec, body))

        async def make() -> dict[str, Any]:
            return network_view(engine, await engine.networks.create(spec))

        return await once(engine, request, "network", make, partial(_view, engine))

    @router.post("/prune")
    async def prune_networks(*, filters: Filters = None) -> dict[str, Any]:
        """Remove those that no container is in."""
        return {"removed": await engine.networks.prune(PruneFilters.parse(filters or ()))}

    @router.get("/findings")
    async def network_findings() -> list[dict[str, Any]]:
        """List settings and firewalls of the host that are in the way, and what mends each."""
        return [asdict(finding) for finding in await engine.networks.findings()]

    @router.get("/{reference}", response_model=dict[str, Any])
    async def inspect_network(reference: str, request: Request) -> Response:
        return tagged(request, _view(engine, reference))

    @router.delete("/{reference}", status_code=204)
    async def remove_network(reference: str, request: Request) -> Response:
        condition(request, f"network {reference!r}", lambda: _view(engine, reference))()
        await engine.networks.remove(reference)
        return Response(status_code=204)

    _add_membership(router, engine)
    return router


def _view(engine: Engine, reference: str) -> dict[str, Any]:
    for name, driver in _BUILT_IN:
        if reference in {name, built_in_id(name)}:
            return built_in_view(engine, name, driver)
    return network_view(engine, engine.networks.find(reference))


def _is_wanted(engine: Engine, filters: dict[str, tuple[str, ...]], view: dict[str, Any]) -> bool:
    return listfilters.network_holds(
        filters,
        network_id=view["id"],
        name=view["name"],
        driver=view["driver"],
        labels=view["labels"],
        is_used=bool(engine.networks.endpoints.users(view["id"])),
    )


def _add_membership(router: APIRouter, engine: Engine) -> None:
    @router.post("/{reference}/connect", status_code=204)
    async def connect_network(reference: str, body: ConnectBody) -> Response:
        asked = EndpointSpec(**{**members(EndpointSpec, body), "network": reference})
        await engine.membership.connect(engine.containers.find(body.container), asked)
        return Response(status_code=204)

    @router.post("/{reference}/disconnect", status_code=204)
    async def disconnect_network(reference: str, body: DisconnectBody) -> Response:
        container = engine.containers.find(body.container)
        await engine.membership.disconnect(container, reference, force=body.force)
        return Response(status_code=204)


def add_traffic(router: APIRouter, engine: Engine) -> None:
    """A container's first packet as an event."""

    @router.post("/{reference}/traffic", status_code=204)
    async def arm_traffic(reference: str) -> Response:
        """Publish one event ``network`` ``traffic``, with the first packet for the container.

        ARP, neighbour discovery, broadcasts and multicast are none. It ends with the agent.
        """
        await engine.traffic.tell(engine.containers.find(reference))
        return Response(status_code=204)

    @router.delete("/{reference}/traffic", status_code=204)
    async def disarm_traffic(reference: str) -> Response:
        """No event any more; no error if there would have been none."""
        engine.traffic.untell(engine.containers.find(reference).id)
        return Response(status_code=204)
