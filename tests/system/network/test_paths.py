"""Who reaches what on a host with four networks: each path is a row of a table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING, Any

import pytest

from cgagent.network.firewall import Firewall
from cgagent.network.names.client import Names
from cgagent.network.ports import HostPorts
from cgagent.network.relay.messages import Relay
from cgagent.network.values import LOOPBACK6, Bridge, Publication
from tests.world import debian, lan
from tests.world.hosts import Host, cable
from tests.world.lan import REFUSED

if TYPE_CHECKING:
    import pathlib
    import socket
    from collections.abc import Iterator

pytestmark = [pytest.mark.system, pytest.mark.native]

_PATIENCE_S = 10
_SILENCE_S = 0.3
_AT_ONCE = 30

HOST, OTHER_HOST, NEIGHBOUR = "192.0.2.1", "192.0.2.11", "192.0.2.2"
HOST6, OTHER_HOST6, NEIGHBOUR6 = "2001:db8::1", "2001:db8::11", "2001:db8::2"


def _bridge(number: int, **more: Any) -> Bridge:
    addresses = (ip_interface(f"10.88.{number}.1/24"), ip_interface(f"fd00:88:{number}::1/64"))
    return Bridge(network=str(number), name=f"cgt{number}", addresses=addresses, **more)


PLAIN, ROUTED = _bridge(1), _bridge(2, masquerade=False)
INTERNAL, ISOLATED = _bridge(3, internal=True), _bridge(4, isolated=True)
BRIDGES = (PLAIN, ROUTED, INTERNAL, ISOLATED)
GATEWAY, GATEWAY6 = "10.88.1.1", "fd00:88:1::1"


def _publish(port: int, bridge: Bridge, *hosts: str | None) -> list[Publication]:
    """On member 2 of the bridge."""
    found = []
    for host in hosts or (None,):
        for own in bridge.addresses:
            if host is not None and ip_address(host).version != own.version:
                continue
            found += [
                Publication(
                    protocol=protocol,
                    host=None if host is None else ip_address(host),
                    host_port=port,
                    container=own.network[2],
                    container_port=80,
                    bridge=bridge.name,
                )
                for protocol in ("tcp", "udp")
            ]
    return found


def _at_loopback(port: int, container: str) -> list[Publication]:
    """At [::1], which is relayed to this address of member 2 of the plain network."""
    return [
        Publication(
            protocol=protocol,
            host=LOOPBACK6,
            host_port=port,
            container=ip_address(container),
            container_port=80,
            bridge=PLAIN.name,
        )
        for protocol in ("tcp", "udp")
    ]


PUBLICATIONS = [
    *_publish(8080, PLAIN),
    *_publish(8081, PLAIN, "127.0.0.1"),
    *_publish(8082, PLAIN, HOST, HOST6),
    *_publish(8083, INTERNAL),
    *_publish(8084, ISOLATED),
    *_at_loopback(8080, "fd00:88:1::2"),
    *_at_loopback(8085, "10.88.1.2"),
    *_at_loopback(8086, "fd00:88:1::2"),
]

# (who asks, whom, the port, what the answer says of who asked, or None: there is no answer)
PATHS = [
    # a published port
    ("neighbour", HOST, 8080, NEIGHBOUR),
    ("neighbour", OTHER_HOST, 8080, NEIGHBOUR),
    ("host", HOST, 8080, GATEWAY),
    ("host", GATEWAY, 8080, GATEWAY),
    ("host", "127.0.0.1", 8080, GATEWAY),
    ("of another network", HOST, 8080, GATEWAY),
    ("of another network", GATEWAY, 8080, GATEWAY),
    ("of the same network", HOST, 8080, GATEWAY),
    ("of the same network", GATEWAY, 8080, GATEWAY),
    ("neighbour", HOST6, 8080, NEIGHBOUR6),
    ("host", HOST6, 8080, GATEWAY6),
    ("host", "::1", 8080, GATEWAY6),
    ("host", "::1", 8081, REFUSED),
    ("host", "::1", 8085, GATEWAY),
    ("host", "::1", 8086, GATEWAY6),
    ("neighbour", HOST6, 8086, REFUSED),
    ("neighbour", OTHER_HOST6, 8085, REFUSED),
    ("of another network", HOST6, 8080, GATEWAY6),
    ("of the same network", HOST6, 8080, GATEWAY6),
    # ports that nobody published
    ("neighbour", HOST, 80, REFUSED),
    ("host", "127.0.0.1", 80, REFUSED),
    # bound to 127.0.0.1
    ("host", "127.0.0.1", 8081, GATEWAY),
    ("host", HOST, 8081, REFUSED),
    ("neighbour", HOST, 8081, REFUSED),
    ("attacker", "127.0.0.1", 8081, None),
    ("attacker", "127.0.0.1", 8080, None),
    ("attacking container", "127.0.0.1", 8081, None),
    ("attacking container", "127.0.0.1", 9000, None),
    ("host", "127.0.0.1", 9000, "127.0.0.1"),
    # bound to one address
    ("neighbour", HOST, 8082, NEIGHBOUR),
    ("neighbour", OTHER_HOST, 8082, REFUSED),
    ("host", HOST, 8082, GATEWAY),
    ("host", "127.0.0.1", 8082, REFUSED),
    ("neighbour", HOST6, 8082, NEIGHBOUR6),
    ("neighbour", OTHER_HOST6, 8082, REFUSED),
    # the way out
    ("published", NEIGHBOUR, 80, HOST),
    ("published", NEIGHBOUR6, 80, HOST6),
    ("of another network", NEIGHBOUR, 80, "10.88.2.3"),
    ("of another network", NEIGHBOUR6, 80, "fd00:88:2::3"),
    # no way in
    ("neighbour", "10.88.1.2", 80, None),
    ("neighbour", "fd00:88:1::2", 80, None),
    # between networks, and within one
    ("of another network", "10.88.1.2", 80, None),
    ("of another network", "fd00:88:1::2", 80, None),
    ("of the same network", "10.88.1.2", 80, "10.88.1.3"),
    ("of the same network", "fd00:88:1::2", 80, "fd00:88:1::3"),
    # an internal network
    ("host", HOST, 8083, "10.88.3.1"),
    ("host", "10.88.3.2", 80, "10.88.3.1"),
    ("neighbour", HOST, 8083, None),
    ("neighbour", HOST6, 8083, None),
    ("neighbour", "10.88.3.2", 80, None),
    ("of another network", HOST, 8083, None),
    ("internal", NEIGHBOUR, 80, None),
    ("internal", NEIGHBOUR6, 80, None),
    ("internal", "10.88.1.2", 80, None),
    ("internal", HOST, 8080, None),
    ("internal", "10.88.3.2", 80, "10.88.3.3"),
    # members that do not reach each other, not by the gateway either
    ("isolated", "10.88.4.2", 80, None),
    ("isolated", "fd00:88:4::2", 80, None),
    ("isolated by the gateway", "10.88.4.2", 80, None),
    ("isolated by the gateway", "fd00:88:4::2", 80, None),
    ("isolated", NEIGHBOUR, 80, HOST),
    ("neighbour", HOST, 8084, NEIGHBOUR),
    # where the bridge itself passes on what is translated
    ("published", HOST, 8080, GATEWAY),
    ("published", HOST6, 8080, GATEWAY6),
    ("isolated by the gateway", HOST, 8084, "10.88.4.1"),
]
BLOCKED_WITH_BR_NETFILTER = PATHS[-1]
"""The bridge does not pass it from one isolated port to another."""


class World:
    def __init__(self, run_dir: pathlib.Path, *, bridged: bool) -> None:
        """`bridged`: traffic between ports of a bridge passes the rules (br_netfilter)."""
        debian.install("libnftables1", "nftables", "iproute2", "procps")
        self.host, neighbour = Host(), Host()
        cable(
            *(self.host, (f"{HOST}/24", f"{OTHER_HOST}/24", f"{OTHER_HOST6}/64", f"{HOST6}/64")),
            *(neighbour, (f"{NEIGHBOUR}/24", f"{NEIGHBOUR6}/64")),
        )
        attacker = Host()
        cable(self.host, ("198.51.100.1/24",), attacker, ("198.51.100.2/24",))
        lan.misroute_loopback(attacker, "198.51.100.1")
        for bridge in BRIDGES:
            lan.make_bridge(self.host, bridge)
        for number in (1, 2, 3):
            neighbour.run("ip", "route", "add", f"10.88.{number}.0/24", "via", HOST)
            neighbour.run("ip", "route", "add", f"fd00:88:{number}::/64", "via", HOST6)
        attacking = lan.container(self.host, PLAIN, 4)
        lan.misroute_loopback(attacking, GATEWAY)
        by_gateway = lan.container(self.host, ISOLATED, 4)
        for address in ("10.88.4.2", "fd00:88:4::2"):
            gateway = str(ISOLATED.addresses[":" in address].ip)
            by_gateway.run("ip", "route", "add", address, "via", gateway)
        self.hosts = {
            "host": self.host,
            "neighbour": neighbour,
            "attacker": attacker,
            "attacking container": attacking,
            "published": lan.container(self.host, PLAIN, 2),
            "of the same network": lan.container(self.host, PLAIN, 3),
            "of another network": lan.container(self.host, ROUTED, 3),
            "internal": lan.container(self.host, INTERNAL, 3),
            "isolated": lan.container(self.host, ISOLATED, 3),
            "isolated by the gateway": by_gateway,
            "on the internal one": lan.container(self.host, INTERNAL, 2),
            "on the isolated one": lan.container(self.host, ISOLATED, 2),
        }
        everywhere = (("0.0.0.0", 80), ("::", 80))  # noqa: S104
        self.servers = {
            name: lan.Server(self.hosts[name], "there", *everywhere)
            for name in ("neighbour", "published", "on the internal one", "on the isolated one")
        }
        self.servers["host"] = lan.Server(self.host, "there", ("127.0.0.1", 9000))
        lan.bridge_netfilter(self.host, on=bridged)
        self.firewall = Firewall(self.host.fd)
        self.firewall.load(BRIDGES, [p for p in PUBLICATIONS if not p.is_relayed])
        self.ports = HostPorts(self.host.fd)
        self.ports.reserve(PUBLICATIONS)
        self.relay = Names(run_dir, run_dir / "names.log")
        with self.host.inside():
            self.relay.connect((), [_relayed(self.ports, p) for p in PUBLICATIONS if p.is_relayed])

    def close(self) -> None:
        self.relay.close(end=True)
        self.ports.close()
        self.firewall.close()
        lan.close((*self.servers.values(), *self.hosts.values()))


def _relayed(ports: HostPorts, publication: Publication) -> tuple[Relay, socket.socket]:
    sock = ports.relayed(publication)
    assert sock is not None
    message = Relay(
        container="c",
        protocol=publication.protocol,
        host_port=publication.host_port,
        address=str(publication.container),
        port=publication.container_port,
    )
    return message, sock


Path = tuple[str, str, int, str | None]


@dataclass
class Asked:
    """A world in which every path was tried, and what was answered."""

    world: World
    answers: dict[tuple[str, Path], str | None]


def _ask_all(world: World, slowness: float) -> Asked:
    """At once, as most of what is not answered takes all its time."""

    def ask(protocol: str, path: Path) -> str | None:
        who, address, port, seen = path
        patience_s = slowness * (_SILENCE_S if seen in {None, REFUSED} else _PATIENCE_S)
        return lan.ask(world.hosts[who], protocol, address, port, patience_s)

    rows = [(protocol, path) for path in PATHS for protocol in lan.KINDS]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        answers = threads.map(lambda row: ask(*row), rows)
        return Asked(world, dict(zip(rows, answers, strict=True)))


@pytest.fixture(
    scope="module", params=["routed", pytest.param("br_netfilter", marks=pytest.mark.native)]
)
def asked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, slowness: float
) -> Iterator[Asked]:
    run_dir = tmp_path_factory.mktemp("run")
    world = World(run_dir, bridged=request.param == "br_netfilter")
    try:
        for number in (1, 3, 4):
            for address in (f"10.88.{number}.2", f"fd00:88:{number}::2"):
                lan.await_server(world.host, address)
        yield _ask_all(world, slowness)
    finally:
        world.close()


@pytest.mark.parametrize("protocol", lan.KINDS)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: "-".join(map(str, path)))
def test_a_path(request: pytest.FixtureRequest, asked: Asked, protocol: str, path: Path) -> None:
    *_, seen = path
    if path == BLOCKED_WITH_BR_NETFILTER and "br_netfilter" in request.node.name:
        seen = None
    expected = seen if seen in {None, REFUSED} else f"there {seen}"
    assert asked.answers[protocol, path] == expected


def test_an_internal_network_neither_sends_nor_gets_what_nobody_answers(asked: Asked) -> None:
    servers = asked.world.servers
    assert not any("10.88.3." in who or "88:3:" in who for who in servers["neighbour"].askers)
    assert servers["on the internal one"].askers == {"10.88.3.1", "fd00:88:3::1", "10.88.3.3"}
