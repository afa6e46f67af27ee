"""Networks: a line of the list, and an inspection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cgagent.api.docker import versions
from cgagent.api.docker.shapes.endpoints import endpoint_id
from cgagent.engine.values import built_in_id
from cgagent.units import show_time

if TYPE_CHECKING:
    from cgagent.api.docker.versions import Version
    from cgagent.engine.engine import Engine
    from cgagent.engine.values import Endpoint, Network


def network(engine: Engine, network: Network, version: Version) -> dict[str, Any]:
    spec = network.plan.spec
    found = _common(network.id, network.name, spec.driver, network.created_ns)
    found.update(
        EnableIPv6=network.range_of(6) is not None,
        Internal=network.is_internal,
        Options=spec.options,
        Labels=spec.labels,
    )
    found["IPAM"]["Config"] = [
        {
            "Subnet": str(r.subnet),
            **({"IPRange": str(r.part)} if r.part else {}),
            "Gateway": str(r.gateway),
            **_auxiliary(network, str(r.subnet)),
        }
        for r in network.plan.ranges
    ]
    if version < (1, 28):  # its list had the containers as well
        found["Containers"] = _containers(engine, network)
    return found


def _auxiliary(network: Network, subnet: str) -> dict[str, Any]:
    for spec in network.plan.spec.subnets:
        if spec.subnet == subnet and spec.aux_addresses:
            return {"AuxiliaryAddresses": spec.aux_addresses}
    return {}


def _common(id_: str, name: str, driver: str, created_ns: int) -> dict[str, Any]:
    return {
        "Name": name,
        "Id": id_,
        "Created": show_time(created_ns),
        "Scope": "local",
        "Driver": driver,
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Config": []},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Options": {},
        "Labels": {},
    }


def built_in(engine: Engine, name: str, driver: str) -> dict[str, Any]:
    return _common(built_in_id(name), name, driver, engine.started_ns)


def inspect(engine: Engine, it: Network, version: Version) -> dict[str, Any]:
    found = network(engine, it, version)
    found["Containers"] = _containers(engine, it)
    if versions.has_network_status(version):
        found["Status"] = {"IPAM": {"Subnets": _subnets(engine, it)}}
    return found


def _places(engine: Engine, network: Network) -> list[tuple[str, Endpoint]]:
    return [
        (container.name, endpoint)
        for container in engine.containers
        for endpoint in engine.networks.endpoints.of(container.id)
        if endpoint.network_id == network.id and endpoint.host_name is not None
    ]


def _containers(engine: Engine, network: Network) -> dict[str, Any]:
    return {
        endpoint.container_id: {
            "Name": name,
            "EndpointID": endpoint_id(endpoint),
            "MacAddress": endpoint.mac if network.has_macs else "",
            "IPv4Address": _address(endpoint, network, 4),
            "IPv6Address": _address(endpoint, network, 6),
        }
        for name, endpoint in _places(engine, network)
    }


def _address(endpoint: Endpoint, network: Network, version: int) -> str:
    for address in endpoint.addresses:
        for r in network.plan.ranges:
            if address.version == version and address in r.subnet:
                return f"{address}/{r.subnet.prefixlen}"
    return ""


def _subnets(engine: Engine, network: Network) -> dict[str, Any]:
    """How many addresses of each are in use, the gateway's among them."""
    used = [a for _, endpoint in _places(engine, network) for a in endpoint.addresses]
    found = {}
    for r in network.plan.ranges:
        count = 1 + sum(address in r.subnet for address in used)
        there = min((r.part or r.subnet).num_addresses, 2**63)
        found[str(r.subnet)] = {
            "IPsInUse": count,
            "DynamicIPsAvailable": max(0, there - count),
        }
    return found
