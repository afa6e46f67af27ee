"""Containers' places in networks, and their ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cgagent.api.docker import versions
from cgagent.engine.options.networking import exposed as exposed_ports

if TYPE_CHECKING:
    from cgagent.api.docker.versions import Version
    from cgagent.engine.containers.config import ContainerConfig
    from cgagent.engine.containers.container import Container
    from cgagent.engine.engine import Engine
    from cgagent.engine.values import Endpoint, Network

_FIRST_FIELDS: Final = (
    *("EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress"),
    *("IPPrefixLen", "IPv6Gateway", "MacAddress"),
)
"""Fields of the default network's, which older versions have once more."""


def mode(config: ContainerConfig) -> str:
    return config.networks[0].network if config.networks else "bridge"


def exposed(engine: Engine, container: Container) -> list[tuple[int, str]]:
    """Of the image, of the request, and what is published."""
    config = container.record.config
    image = engine.images.config_or_none(container.record.image_id)
    found: dict[tuple[int, str], None] = {}
    for text in (*(image.exposed_ports if image else ()), *config.exposed_ports):
        ports, protocol = exposed_ports(text)
        found.update(((port, protocol), None) for port in ports)
    found.update(((p.container_port, p.protocol), None) for p in container.record.resolved.ports)
    return sorted(found)


def networks(engine: Engine, container: Container) -> dict[str, Any]:
    config = container.record.config
    found = {
        network.name: _endpoint(endpoint, network, container)
        for endpoint in engine.networks.endpoints.of(container.id)
        if (network := engine.networks.get(endpoint.network_id)) is not None
    }
    name = mode(config)
    if name in {"host", "none"}:
        found[name] = _built_in(name)
    return found


def _nothing() -> dict[str, Any]:
    return {
        "IPAMConfig": None,
        "Links": [],
        "Aliases": None,
        "MacAddress": "",
        "DriverOpts": None,
        "GwPriority": 0,
        "NetworkID": "",
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": [],
    }


def _built_in(name: str) -> dict[str, Any]:
    from cgagent.engine.values import built_in_id

    return {**_nothing(), "NetworkID": built_in_id(name)}


def endpoint_id(endpoint: Endpoint) -> str:
    """Of a place that is attached: made of its network's and its container's."""
    return f"{endpoint.network_id[:32]}{endpoint.container_id[:32]}"


def _endpoint(endpoint: Endpoint, network: Network, container: Container) -> dict[str, Any]:
    spec = endpoint.spec
    asked = {
        "IPv4Address": spec.address,
        "IPv6Address": spec.address6,
        "LinkLocalIPs": list(spec.link_local),
    }
    is_attached = endpoint.host_name is not None
    names = [container.name, *spec.aliases, container.id[:12]]
    return {
        **_nothing(),
        "IPAMConfig": {name: value for name, value in asked.items() if value} or None,
        "Links": list(spec.links),
        "Aliases": list(spec.aliases) or None,
        "MacAddress": endpoint.mac if network.has_macs and (is_attached or spec.mac) else "",
        "DriverOpts": spec.driver_options or None,
        "GwPriority": spec.gateway_priority,
        "NetworkID": network.id,
        "EndpointID": endpoint_id(endpoint) if is_attached else "",
        "DNSNames": [] if network.is_default else list(dict.fromkeys(names)),
        **(_addresses(endpoint, network) if is_attached else {}),
    }


def _addresses(endpoint: Endpoint, network: Network) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for address in endpoint.addresses:
        place = next((r for r in network.plan.ranges if address in r.subnet), None)
        if place is None:
            continue
        names = ("IPAddress", "IPPrefixLen", "Gateway")
        if address.version == 6:  # noqa: PLR2004 - of the internet protocol
            names = ("GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPv6Gateway")
        values = (str(address), place.subnet.prefixlen, str(place.gateway))
        found.update(zip(names, values, strict=True))
    return found


def settings(engine: Engine, container: Container, version: Version) -> dict[str, Any]:
    """``NetworkSettings`` of an inspection."""
    places = networks(engine, container)
    pid = container.record.outcome.pid if container.running else None
    found: dict[str, Any] = {
        "SandboxID": container.id if pid else "",
        "SandboxKey": f"/proc/{pid}/ns/net" if pid else "",
        "Ports": _port_map(engine, container),
        "Networks": places,
    }
    if versions.has_old_network_settings(version):
        first = places.get("bridge", _nothing())
        found.update(
            Bridge="",
            HairpinMode=False,
            LinkLocalIPv6Address="",
            LinkLocalIPv6PrefixLen=0,
            SecondaryIPAddresses=None,
            SecondaryIPv6Addresses=None,
            **{name: first[name] for name in _FIRST_FIELDS},
        )
    return found


def _port_map(engine: Engine, container: Container) -> dict[str, Any]:
    if not container.running:
        return {}
    found: dict[str, Any] = {f"{p}/{protocol}": None for p, protocol in exposed(engine, container)}
    for p in engine.networks.endpoints.ports.shown(container.id):
        bound = {"HostIp": p.host_text, "HostPort": str(p.host_port)}
        key = f"{p.container_port}/{p.protocol}"
        found[key] = [*(found.get(key) or ()), bound]
    return found
