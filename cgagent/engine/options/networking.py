"""Networks and ports as a container asks for them: docker's terms, checked in themselves.

Whether a network or an address can be had is for `cgagent.engine.networks` to say.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Final

from cgagent.bounds import BOUNDED, MOST
from cgagent.errors import ConflictError, InvalidInputError, UnsupportedError
from cgagent.members import members
from cgagent.network import ipam
from cgagent.network.values import LOOPBACK6

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT: Final = "bridge"
"""The network of a container that asks for none."""
_DOCKERS_DEFAULT: Final = "default"
_DOCKERS_OPTIONS: Final = "com.docker.network."
"""Options of endpoints that docker's drivers act on; others they keep and pass over."""
HOST: Final = "host"
NONE: Final = "none"
JOIN: Final = "container:"
PROTOCOLS: Final = ("tcp", "udp", "sctp")
PORT_MAX: Final = 65535

_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NAME: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]*")
_NAME_MAX: Final = 253
"""As DNS has it."""
_NAMES_MAX: Final = 65536
"""They are told to the names process in one packet."""
_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")
_EXPOSED: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?")

_Texts = Annotated[tuple[str, ...], BOUNDED]


@dataclass(frozen=True, kw_only=True)
class EndpointSpec:
    """A container's place in one network, as asked for."""

    network: str
    """A name or id; also ``host``, ``none`` and ``container:NAME``, each of which stands alone."""
    aliases: _Texts = ()
    """Further names of the container in that network."""
    links: _Texts = ()
    """``CONTAINER[:ALIAS]``: names for others that it alone sees."""
    address: str = ""
    """IPv4; empty: one that is free."""
    address6: str = ""
    link_local: _Texts = ()
    """Further addresses of the interface, each of 169.254.0.0/16 or fe80::/10."""
    mac: str = ""
    """Empty: made of the address."""
    gateway_priority: int = 0
    """The network with the highest one has the default route."""
    driver_options: Annotated[dict[str, str], BOUNDED] = field(default_factory=dict)
    """They are kept and shown: none changes anything."""


@dataclass(frozen=True, kw_only=True)
class PortSpec:
    """A port of the container's that is published on the host."""

    container_port: int
    protocol: str = "tcp"
    host_address: str = ""
    """Empty: all addresses, or those that the network is set to."""
    host_port: int = 0
    """0: one that is free."""
    host_port_last: int = 0
    """If it is not 0: any that is free from `host_port` to this one."""


@dataclass(frozen=True, kw_only=True)
class Networking:
    """All that a container asks of networks."""

    networks: Annotated[tuple[EndpointSpec, ...], BOUNDED] = ()
    """Empty: the default network. The first is eth0."""
    ports: Annotated[tuple[PortSpec, ...], BOUNDED] = ()
    publish_all: bool = False
    """Each exposed port is published on a port that is free."""
    exposed_ports: _Texts = ()
    """``PORT[-PORT][/PROTOCOL]``, beside those of the image."""


def alone(asked: Networking) -> Networking:
    """It, of something that is more than that."""
    return Networking(**members(Networking, asked))


def link(text: str) -> tuple[str, str]:
    """The container and the alias of ``CONTAINER[:ALIAS]``."""
    target, _, alias = text.partition(":")
    return target, alias or target


def unlinked(asked: EndpointSpec, alias: str) -> EndpointSpec:
    """It, without the links of this alias."""
    left = tuple(text for text in asked.links if link(text)[1] != alias)
    return asked if left == asked.links else replace(asked, links=left)


def mode(asked: Networking) -> str:
    """Docker's mode ``host`` or ``container:NAME``; empty: a network namespace of its own."""
    first = asked.networks[0].network if asked.networks else ""
    return first if first == HOST or first.startswith(JOIN) else ""


def places(asked: Networking) -> tuple[EndpointSpec, ...]:
    """The networks that it is to be in."""
    if not asked.networks:
        return (EndpointSpec(network=DEFAULT),)
    first = asked.networks[0].network
    return () if _is_special(first) else asked.networks


def _is_special(network: str) -> bool:
    return network in {HOST, NONE} or network.startswith(JOIN)


def checked(asked: Networking) -> Networking:
    """In canonical spelling.

    Raises:
        InvalidInputError: a value that is none. UnsupportedError: an sctp port on [::1].
        ConflictError: things that exclude each other.
    """
    networks = tuple(map(checked_endpoint, asked.networks))
    _check_together(networks)
    special = next((e.network for e in networks if _is_special(e.network)), "")
    if special.startswith(JOIN) and (asked.ports or asked.publish_all):
        raise ConflictError(
            "conflicting options: port publishing and the container type network mode; publish "
            "the ports of the container whose network it is"
        )
    if special == NONE and asked.ports:
        raise ConflictError(
            "conflicting options: port publishing and --network none; choose another network"
        )
    for text in asked.exposed_ports:
        exposed(text)
    return replace(asked, networks=networks, ports=tuple(map(_port, asked.ports)))


def _check_together(networks: tuple[EndpointSpec, ...]) -> None:
    names = [e.network for e in networks]
    for endpoint in networks:
        if _is_special(endpoint.network):
            if len(names) > 1:
                raise ConflictError(
                    f"conflicting options: network {endpoint.network} and another one: "
                    f"{endpoint.network} stands alone"
                )
            if endpoint != EndpointSpec(network=endpoint.network):
                raise ConflictError(
                    f"conflicting options: network {endpoint.network} and an address, an alias "
                    "or an option: only networks of the agent's have these"
                )
    for name in names:
        if names.count(name) > 1:
            raise InvalidInputError(f"network {name!r} is given more than once")


def checked_endpoint(asked: EndpointSpec) -> EndpointSpec:
    """In canonical spelling.

    Raises:
        InvalidInputError: a value that is none. UnsupportedError: an option of the driver.
    """
    if not asked.network:
        raise InvalidInputError("network: it has no name")
    names = (*asked.aliases, *(part for link in asked.links for part in link.split(":")))
    for text in names:
        if not _NAME.fullmatch(text) or len(text) > _NAME_MAX:
            raise InvalidInputError(
                f"network {asked.network}: {text[:80]!r} is not a name: letters, digits and _ . - "
                f"after a first letter, digit or _, {_NAME_MAX} at most"
            )
    if sum(map(len, names)) > _NAMES_MAX:
        raise InvalidInputError(
            f"network {asked.network}: aliases and links of more than {_NAMES_MAX} letters"
        )
    mac = asked.mac.lower().replace("-", ":")
    if mac and (not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1):
        raise InvalidInputError(
            f"invalid MAC address {asked.mac!r}: six pairs of hexadecimal digits, and not one "
            "of a group (odd first pair)"
        )
    for option in asked.driver_options:
        if option.startswith(_DOCKERS_OPTIONS):
            raise UnsupportedError(
                f"network {asked.network}: driver option {option!r} of a container's place in a "
                "network is not there yet; leave it out"
            )
    return replace(
        asked,
        network=DEFAULT if asked.network == _DOCKERS_DEFAULT else asked.network,
        mac=mac,
        address=_address(asked.address, 4),
        address6=_address(asked.address6, 6),
        link_local=tuple(map(_link_local, asked.link_local)),
    )


def _address(text: str, version: int) -> str:
    if not text:
        return ""
    try:
        address = ipam.parse_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version:
        raise InvalidInputError(f"invalid IPv{version} address: {text[:60]!r}")
    return str(address)


def _link_local(text: str) -> str:
    try:
        address = ipam.parse_address(text)
    except ValueError:
        address = None
    if address is None or not address.is_link_local:
        raise InvalidInputError(
            f"invalid link-local address: {text[:60]!r}; they are of 169.254.0.0/16 or fe80::/10"
        )
    return str(address)


def _port(asked: PortSpec) -> PortSpec:
    if asked.protocol not in PROTOCOLS:
        raise InvalidInputError(f"invalid proto: {asked.protocol!r}; known are tcp, udp and sctp")
    if not 1 <= asked.container_port <= PORT_MAX:
        raise InvalidInputError(f"invalid containerPort: {asked.container_port}; 1 to {PORT_MAX}")
    last = asked.host_port_last or asked.host_port
    if not 0 <= asked.host_port <= last <= PORT_MAX:
        which = f"{asked.host_port}-{last}" if asked.host_port_last else f"{asked.host_port}"
        raise InvalidInputError(f"invalid hostPort: {which}; up to {PORT_MAX}")
    host = _published_on(asked.host_address)
    if asked.protocol == "sctp" and host == str(LOOPBACK6):
        raise UnsupportedError(
            "sctp port on [::1]: only tcp and udp are relayed from there; publish on 127.0.0.1"
        )
    return replace(asked, host_address=host)


def _published_on(text: str) -> str:
    bare = text.removeprefix("[").removesuffix("]")
    if not bare:
        return ""
    try:
        address = ipam.parse_address(bare)
    except ValueError as e:
        raise InvalidInputError(f"invalid IP address of a port: {e}") from None
    if address.is_multicast or address == _BROADCAST:
        raise InvalidInputError(f"invalid IP address of a port: no host has {address} alone")
    return str(address)


def exposed(text: str) -> tuple[range, str]:
    """The ports and the protocol of ``PORT[-PORT][/PROTOCOL]``.

    Raises:
        InvalidInputError: it is none.
    """
    match = _EXPOSED.fullmatch(text)
    first, last, protocol = match.groups() if match else ("0", None, None)
    ports = range(int(first), int(last or first) + 1)
    if not ports or ports[0] < 1 or ports[-1] > PORT_MAX:
        raise InvalidInputError(f"invalid port {text!r}: write PORT[-PORT][/PROTOCOL]")
    return ports, protocol or "tcp"


def published(asked: Networking, image_ports: Iterable[str]) -> tuple[PortSpec, ...]:
    """What is published: as asked, and with `publish_all` each exposed port that is not.

    Raises:
        InvalidInputError: an exposed port that is none, or far too many.
    """
    if not asked.publish_all:
        return asked.ports
    wanted = [exposed(text) for text in (*image_ports, *asked.exposed_ports)]
    if sum(len(ports) for ports, _ in wanted) > MOST:
        raise InvalidInputError(
            f"more than {MOST} exposed ports are to be published; name those that are needed"
        )
    there = {(p.container_port, p.protocol) for p in asked.ports}
    more = dict.fromkeys((number, protocol) for ports, protocol in wanted for number in ports)
    return (
        *asked.ports,
        *(PortSpec(container_port=p, protocol=q) for p, q in more if (p, q) not in there),
    )
