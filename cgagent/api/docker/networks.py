"""``/networks``: make, look, remove, bring containers in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from cgagent.api.answers import Json
from cgagent.api.docker import lookup, schemas
from cgagent.api.docker.containers import done
from cgagent.api.docker.creation import endpoint
from cgagent.api.docker.errors import RefusedError
from cgagent.api.docker.routing import Route
from cgagent.api.docker.shapes import networks as shapes
from cgagent.engine import listfilters
from cgagent.engine.filters import PruneFilters
from cgagent.engine.networks.spec import SubnetSpec
from cgagent.engine.values import Network, NetworkSpec, built_in_id
from cgagent.errors import ConflictError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from cgagent.api.docker.calls import Call
    from cgagent.api.docker.filters import Filters

_BUILT_IN: Final = (("host", "host"), ("none", "null"))
_IPAM_DRIVERS: Final = frozenset({"", "default"})


async def list_(call: Call) -> Response:
    engine = call.engine
    filters = call.filters(*listfilters.NETWORKS)
    engine.networks.find("bridge")  # it is made when it is first asked for
    found = [shapes.network(engine, n, call.version) for n in engine.networks.all()]
    found += [shapes.built_in(engine, *pair) for pair in _BUILT_IN]
    users = {n.id: bool(engine.networks.endpoints.users(n.id)) for n in engine.networks.all()}
    return Json([n for n in found if _is_wanted(n, filters, is_used=users.get(n["Id"], False))])


def _is_wanted(network: dict[str, Any], filters: Filters, *, is_used: bool) -> bool:
    return listfilters.network_holds(
        dict(filters),
        network_id=network["Id"],
        name=network["Name"],
        driver=network["Driver"],
        labels=network["Labels"],
        is_used=is_used,
    )


def _find(call: Call) -> Network:
    name = call.names["id"]
    try:
        return call.engine.networks.find(name)
    except NotFoundError:
        raise RefusedError(404, f"network {name} not found") from None


async def inspect(call: Call) -> Response:
    name = call.names["id"]
    for built_in, driver in _BUILT_IN:
        if name in {built_in, built_in_id(built_in)}:
            return Json({**shapes.built_in(call.engine, built_in, driver), "Containers": {}})
    return Json(shapes.inspect(call.engine, _find(call), call.version))


async def create(call: Call) -> Response:
    body = await call.body(schemas.NetworkCreateBody)
    if body.IPAM.Driver not in _IPAM_DRIVERS:
        raise InvalidInputError(f"IPAM driver {body.IPAM.Driver!r}: there is only 'default'")
    if body.Scope not in {"", "local"} or body.Ingress or body.ConfigOnly:
        raise RefusedError(
            503, "This node is not a swarm manager: there are local networks alone here"
        )
    if not body.EnableIPv4:
        raise InvalidInputError("networks without IPv4 are not there yet")
    subnets = tuple(
        SubnetSpec(
            subnet=pool.Subnet,
            gateway=pool.Gateway,
            ip_range=pool.IPRange,
            aux_addresses=pool.AuxiliaryAddresses,
        )
        for pool in body.IPAM.pools
        if pool.Subnet or pool.Gateway or pool.IPRange or pool.AuxiliaryAddresses
    )
    made = await call.engine.networks.create(
        NetworkSpec(
            name=body.Name,
            driver=body.Driver or "bridge",
            subnets=subnets,
            ipv6=body.EnableIPv6,
            internal=body.Internal,
            labels=body.Labels,
            options=body.Options,
        )
    )
    return Json({"Id": made.id, "Warning": ""}, 201)


async def remove(call: Call) -> Response:
    name = call.names["id"]
    if name not in listfilters.ALWAYS:
        name = _find(call).id
    try:
        await call.engine.networks.remove(name)
    except ConflictError as e:  # docker's status for one that is in use
        raise RefusedError(403, f"error while removing network: {e.message}") from None
    return done()


async def connect(call: Call) -> Response:
    body = await call.body(schemas.NetworkConnectBody)
    network = _find(call)
    container = lookup.container_named(call.engine, body.Container)
    asked = endpoint(network.name, body.EndpointConfig)
    try:
        await call.engine.membership.connect(container, asked)
    except ConflictError as e:
        raise RefusedError(403, e.message) from None
    return Response()


async def disconnect(call: Call) -> Response:
    body = await call.body(schemas.NetworkDisconnectBody)
    network = _find(call)
    container = lookup.container_named(call.engine, body.Container)
    places = call.engine.networks.endpoints.of(container.id)
    if all(place.network_id != network.id for place in places):
        raise RefusedError(
            403, f"container {container.id} is not connected to the network {network.name}"
        )
    await call.engine.membership.disconnect(container, network.name, force=body.Force)
    return Response()


async def prune(call: Call) -> Response:
    filters = PruneFilters.parse(call.filters("until", "label", "label!").prune_pairs())
    return Json({"NetworksDeleted": await call.engine.networks.prune(filters)})


ROUTES: Final = (
    Route("GET", "/networks", list_),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("GET", "/networks/{id}", inspect),
    Route("DELETE", "/networks/{id}", remove),
    Route("POST", "/networks/{id}/connect", connect),
    Route("POST", "/networks/{id}/disconnect", disconnect),
)
