"""The firewall's table under change: publications, other people's tables, a foreign flush."""

from __future__ import annotations

import re
import select
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING

import pytest

from cgagent.errors import (
    ConflictError,
    InternalError,
    InvalidInputError,
    NotFoundError,
    UnsupportedError,
)
from cgagent.network.firewall import Firewall
from cgagent.network.nftables import Nftables
from cgagent.network.ruleset import DROPS
from cgagent.network.tablecounters import NONE, Count
from cgagent.network.values import Bridge, Publication
from tests.world import debian, lan
from tests.world.hosts import Host, cable

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.system

HOST, NEIGHBOUR = "192.0.2.1", "192.0.2.2"
BRIDGE = Bridge(network="1", name="cgt1", addresses=(ip_interface("10.88.1.1/24"),))
_PATIENCE_S = 10


def publication(port: int, number: int = 2, protocol: str = "tcp", **more: object) -> Publication:
    return Publication(
        protocol=protocol,  # type: ignore[arg-type]
        host=more.get("host"),  # type: ignore[arg-type]
        host_port=port,
        container=ip_address(f"10.88.1.{number}"),
        container_port=80,
        bridge=BRIDGE.name,
    )


@pytest.fixture
def host() -> Iterator[Host]:
    debian.install("libnftables1", "nftables", "iproute2", "procps")
    made = Host()
    yield made
    made.close()


@pytest.fixture
def firewall(host: Host) -> Iterator[Firewall]:
    made = Firewall(host.fd)
    yield made
    made.close()


@pytest.fixture
def neighbour(host: Host) -> Iterator[Host]:
    made = Host()
    cable(host, (f"{HOST}/24",), made, (f"{NEIGHBOUR}/24",))
    yield made
    made.close()


@pytest.fixture
def members(host: Host) -> Iterator[list[Host]]:
    """Two containers with a server each, which say which one they are: 2 and 3."""
    lan.make_bridge(host, BRIDGE)
    made = [lan.container(host, BRIDGE, number) for number in (2, 3)]
    servers = [
        lan.Server(member, str(number), ("0.0.0.0", 80))  # noqa: S104
        for number, member in enumerate(made, 2)
    ]
    yield made
    lan.close((*servers, *made))


def asked(neighbour: Host, slowness: float, port: int, protocol: str = "tcp") -> str | None:
    said = lan.ask(neighbour, protocol, HOST, port, _PATIENCE_S * slowness)
    return said and said.split()[0]


def ruleset(host: Host) -> str:
    return host.run("nft", "-s", "list", "ruleset")


@pytest.mark.parametrize("protocol", lan.KINDS)
def test_a_port_is_published_and_no_longer(
    firewall: Firewall, neighbour: Host, members: list[Host], slowness: float, protocol: str
) -> None:
    firewall.load([BRIDGE], [])
    port = publication(8080, protocol=protocol)
    assert asked(neighbour, slowness, 8080, protocol) == lan.REFUSED
    firewall.publish([port])
    assert asked(neighbour, slowness, 8080, protocol) == "2"
    firewall.unpublish([port])
    assert asked(neighbour, slowness, 8080, protocol) == lan.REFUSED
    firewall.publish([replace(port, container=ip_address("10.88.1.3"))])
    assert asked(neighbour, slowness, 8080, protocol) == "3"


@pytest.mark.parametrize("filters", [True, False], ids=["one message", "kernels before 6.11"])
def test_a_udp_flow_that_goes_on_finds_the_container_of_now(
    firewall: Firewall, neighbour: Host, members: list[Host], slowness: float, *, filters: bool
) -> None:
    firewall._conntrack.filters = firewall._conntrack.filters and filters
    firewall.load([BRIDGE], [])
    port = publication(53, protocol="udp")
    with neighbour.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        flow.settimeout(_PATIENCE_S * slowness)
        flow.bind((NEIGHBOUR, 4000))
        flow.sendto(b"?", (HOST, 53))  # nobody is there: an entry without translation

        def answer() -> str:
            flow.sendto(b"?", (HOST, 53))
            return flow.recv(100).decode().split()[0]

        firewall.publish([port])
        assert answer() == "2"
        moved = replace(port, container=ip_address("10.88.1.3"))
        firewall.unpublish([port])
        firewall.publish([moved])
        assert answer() == "3"
        firewall.load([BRIDGE], [port])  # as after a restart of the agent
        assert answer() == "2"


def test_flows_of_other_ports_are_left_alone(
    firewall: Firewall, neighbour: Host, members: list[Host], host: Host, slowness: float
) -> None:
    firewall.load([BRIDGE], [publication(53, protocol="udp")])
    assert asked(neighbour, slowness, 53, "udp") == "2"
    entries = host.run("cat", "/proc/thread-self/net/nf_conntrack")
    assert "dport=53" in entries
    firewall.publish([publication(54, 3, protocol="udp")])
    firewall.load([BRIDGE], [publication(53, protocol="udp")])
    assert "dport=53" in host.run("cat", "/proc/thread-self/net/nf_conntrack")


def test_other_tables_stay_byte_for_byte(host: Host, firewall: Firewall) -> None:
    lan.make_bridge(host, BRIDGE)
    host.run("nft", "-f", "-", stdin=_FOREIGN)
    before = ruleset(host)
    firewall.load([BRIDGE], [publication(8080)])
    firewall.publish([publication(8081)])
    firewall.add_bridge(BRIDGE)
    firewall.unpublish([publication(8080)])
    assert ruleset(host).startswith(before)
    assert "table inet cgagent" in ruleset(host)
    firewall.remove_bridge(BRIDGE)
    firewall.end()
    assert ruleset(host) == before


_FOREIGN = """
table ip nat {
    chain PREROUTING { type nat hook prerouting priority -100; policy accept; tcp dport 1 counter; }
}
table inet filter {
    set s { type ipv4_addr; elements = { 10.0.0.1 } }
    chain forward { type filter hook forward priority 0; policy accept; ip saddr @s accept; }
}
"""


def test_after_changes_the_table_is_as_before_them(host: Host, firewall: Firewall) -> None:
    lan.make_bridge(host, BRIDGE)
    firewall.load([BRIDGE], [publication(8080)])
    before = ruleset(host)
    more = Bridge(network="2", name="cgt2", addresses=(ip_interface("10.88.2.1/24"),))
    lan.make_bridge(host, more)
    for kind in (more, replace(more, internal=True), replace(more, isolated=True)):
        firewall.add_bridge(kind)
    firewall.publish([publication(p) for p in range(9000, 9100)])
    assert ruleset(host) != before
    firewall.unpublish([publication(p) for p in range(9000, 9100)])
    firewall.remove_bridge(more)
    firewall.remove_bridge(more)
    assert ruleset(host) == before


def test_changes_by_several_threads_leave_what_they_should(host: Host, firewall: Firewall) -> None:
    firewall.load([], [publication(1)])
    before = ruleset(host)

    def change(first: int) -> None:
        for port in range(first, first + 50):
            both = [publication(port), publication(port, protocol="udp")]
            firewall.publish(both)
            firewall.heed()
            firewall.unpublish(both)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(change, range(1000, 5000, 1000)))
    assert ruleset(host) == before
    assert not firewall.heed()


def _changed(firewall: Firewall, slowness: float) -> bool:
    ready, _, _ = select.select([firewall.changes()], [], [], _PATIENCE_S * slowness)
    assert ready
    return firewall.heed()


def test_a_foreign_flush_is_noticed_and_mended(
    host: Host, firewall: Firewall, neighbour: Host, members: list[Host], slowness: float
) -> None:
    firewall.load([BRIDGE], [publication(8080)])
    host.run("nft", "flush", "ruleset")
    assert asked(neighbour, slowness, 8080) == lan.REFUSED
    assert _changed(firewall, slowness)
    firewall.load([BRIDGE], [publication(8080)])
    assert not firewall.heed()
    assert asked(neighbour, slowness, 8080) == "2"


@pytest.mark.native
def test_traffic_goes_on_after_a_foreign_flush(
    host: Host, firewall: Firewall, neighbour: Host, members: list[Host], slowness: float
) -> None:
    """A flow that lasts, one that begins meanwhile, and connections; the agent's part a thread."""
    publications = [publication(53, protocol="udp"), publication(8080)]
    firewall.load([BRIDGE], publications)
    ended = threading.Event()

    def agent() -> None:
        while not ended.is_set():
            ready, _, _ = select.select([firewall.changes()], [], [], 0.1)
            if ready and firewall.heed():
                firewall.load([BRIDGE], publications)

    with ThreadPoolExecutor(1) as threads, neighbour.inside():
        agents = threads.submit(agent)
        try:
            assert asked(neighbour, slowness, 53, "udp") == "2"
            for _ in range(20):  # some come before the load has returned
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
                    flow.settimeout(_PATIENCE_S * slowness / 100)
                    flow.connect((HOST, 53))
                    assert _answers(flow)
                    host.run("nft", "flush", "ruleset")
                    assert _answers(flow)
                assert _until_answered(neighbour, slowness)
        finally:
            ended.set()
        agents.result()


def _answers(flow: socket.socket) -> bool:
    for _ in range(100):
        with suppress(TimeoutError, ConnectionRefusedError):
            flow.send(b"?")
            if flow.recv(100).startswith(b"2 "):
                return True
    return False


def _until_answered(neighbour: Host, slowness: float) -> bool:
    return any(asked(neighbour, slowness, 8080) == "2" for _ in range(1000))


@pytest.mark.parametrize(
    "command",
    [
        "flush table inet cgagent",
        "delete element inet cgagent port4 { tcp . 8080 }",
        "add element inet cgagent internal { cgt1 }",
        "delete table inet cgagent",
        "flush chain inet cgagent forward",
    ],
)
def test_every_foreign_change_of_our_table_is_noticed(
    host: Host, firewall: Firewall, slowness: float, command: str
) -> None:
    firewall.load([], [publication(8080)])
    firewall.publish([publication(8081)])
    assert not firewall.heed()
    host.run("nft", command)
    assert _changed(firewall, slowness)
    assert firewall.heed()  # until it is loaded
    firewall.load([], [publication(8080)])
    assert not firewall.heed()


def test_our_table_as_somebody_saved_it_is_a_change(
    host: Host, firewall: Firewall, slowness: float
) -> None:
    firewall.load([], [])
    saved = host.run("nft", "list", "ruleset")
    firewall.publish([publication(8080)])
    host.run("nft", "-f", "-", stdin=f"flush ruleset\n{saved}")
    assert _changed(firewall, slowness)


@pytest.mark.native
def test_changes_elsewhere_and_of_our_own_are_none(
    host: Host, firewall: Firewall, slowness: float
) -> None:
    firewall.load([], [publication(p) for p in range(1, 20001)])
    assert not firewall.heed()
    host.run("nft", "-f", "-", stdin=_FOREIGN)
    host.run("nft", "add", "table", "ip", "cgagent")
    assert not _changed(firewall, slowness)
    firewall.unpublish([publication(p) for p in range(1, 20001)])
    assert not firewall.heed()


def test_a_change_while_the_table_is_gone_makes_it_whole(host: Host, firewall: Firewall) -> None:
    firewall.load([], [publication(8080)])
    host.run("nft", "flush", "ruleset")
    firewall.publish([publication(8081)])
    assert "8080" in ruleset(host)
    assert not firewall.heed()
    host.run("nft", "delete element inet cgagent port4 { tcp . 8080 }")
    firewall.unpublish([publication(8080)])
    assert "8080" not in ruleset(host)
    assert "8081" in ruleset(host)


def test_a_port_that_another_container_has_is_refused(host: Host, firewall: Firewall) -> None:
    firewall.load([], [publication(8080)])
    before = ruleset(host)
    with pytest.raises(
        ConflictError, match=r"port 8080/tcp is published already, for 10\.88\.1\.2"
    ):
        firewall.publish([publication(8081), publication(8080, 3)])
    firewall.publish([publication(8080)])
    firewall.unpublish([publication(8080, 3), publication(9)])
    assert ruleset(host) == before


def test_ipv6_loopback_is_refused_with_what_to_do(firewall: Firewall) -> None:
    port = replace(publication(80), host=ip_address("::1"), container=ip_address("fd00::2"))
    firewall.load([], [])
    with pytest.raises(UnsupportedError, match=r"\[::1\]:80/tcp: .* publish it on 127\.0\.0\.1"):
        firewall.publish([port])


@pytest.mark.parametrize("name", ['a" }; flush ruleset', "br*", "", "a" * 16, "a b", "a\n"])
def test_a_bridge_name_that_nft_would_read_as_more_is_refused(
    firewall: Firewall, name: str
) -> None:
    with pytest.raises(InvalidInputError, match="at most 15 letters"):
        firewall.load([replace(BRIDGE, name=name)], [])


def test_a_bridge_that_is_not_there_leaves_nothing(host: Host, firewall: Firewall) -> None:
    firewall.load([BRIDGE], [])  # made later, as after a restart of the host
    before = ruleset(host)
    with pytest.raises(NotFoundError, match="no such interface"):
        firewall.add_bridge(replace(BRIDGE, name="cgt2"))
    assert ruleset(host) == before


def test_what_is_switched_on_is_said(host: Host, firewall: Firewall) -> None:
    both = replace(BRIDGE, addresses=(*BRIDGE.addresses, ip_interface("fd00:88::1/64")))
    lan.make_bridge(host, both)
    host.run("sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
    assert firewall.load([BRIDGE], []) == ("net.ipv4.ip_forward=1",)
    assert firewall.load([BRIDGE], []) == ()
    assert firewall.add_bridge(both) == ("net.ipv6.conf.all.forwarding=1",)
    assert host.run("sysctl", "-n", "net.ipv4.conf.cgt1.route_localnet") == "1\n"


def test_forwarding_ipv6_does_not_lose_the_route_that_a_router_announced(
    host: Host, neighbour: Host, firewall: Firewall, slowness: float
) -> None:
    both = replace(BRIDGE, addresses=(ip_interface("fd00:88::1/64"),))
    lan.make_bridge(host, both)
    _announce_until_heard(neighbour, host, slowness)
    assert "net.ipv6.conf.all.forwarding=1" in firewall.load([both], [])
    assert "default via" in host.run("ip", "-6", "route")
    assert host.run("sysctl", "-n", "net.ipv6.conf.cgt1.accept_ra") == "1\n"


def _announce_until_heard(router: Host, host: Host, slowness: float) -> None:
    advertisement = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    (link,) = (n for _, n in socket_interfaces(router) if n != "lo")
    with router.inside(), socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        for _ in range(int(100 * slowness)):
            with suppress(OSError):  # its link-local address is tentative
                sock.sendto(advertisement, ("ff02::1", 0, 0, socket.if_nametoindex(link)))
            if "default via" in host.run("ip", "-6", "route"):
                return
            select.select([], [], [], 0.1)
    raise AssertionError("the announcement was not heard")


def socket_interfaces(host: Host) -> list[tuple[int, str]]:
    with host.inside():
        return socket.if_nameindex()


def test_loopback_sources_do_not_come_from_containers(
    host: Host, firewall: Firewall, members: list[Host], slowness: float
) -> None:
    firewall.load([BRIDGE], [])
    with host.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("10.88.1.1", 9000))
        service.settimeout(_PATIENCE_S * slowness)
        with members[0].inside():
            members[0].run("ip", "-4", "address", "flush", "dev", "lo")
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as forger:
                for source in ("127.0.0.2", "10.88.1.2"):
                    forger.sendto(_udp(source, "10.88.1.1", 9000), ("10.88.1.1", 0))
        assert service.recvfrom(10)[1][0] == "10.88.1.2"


def _udp(source: str, destination: str, port: int) -> bytes:
    """A packet without checksums; the kernel fills in that of the IP header."""
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 29, 0, 0, 64, socket.IPPROTO_UDP, 0) + ends
    return head + struct.pack(">HHHH", 9, port, 9, 0) + b"x"


def test_invalid_packets_do_not_leave_with_the_address_of_a_container(
    neighbour: Host, firewall: Firewall, members: list[Host], slowness: float
) -> None:
    firewall.load([BRIDGE], [])
    with neighbour.inside():
        heard = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    with heard, members[0].inside():
        heard.settimeout(_PATIENCE_S * slowness)
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as sender:
            sender.sendto(struct.pack(">HHIIHHHH", 9, 9, 0, 0, 0x5002, 99, 0, 0), (NEIGHBOUR, 0))
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as valid:
            assert valid.connect_ex((NEIGHBOUR, 9))
        assert heard.recvfrom(100)[1][0] == HOST


def test_what_a_former_agent_left_is_not_lost_by_a_change_before_the_load(
    host: Host, firewall: Firewall
) -> None:
    firewall.load([], [publication(8080)])
    before = ruleset(host)
    successor = Firewall(host.fd)
    try:
        with pytest.raises(InternalError, match="loaded before"):
            successor.publish([publication(8080, 3)])
        assert ruleset(host) == before
        successor.load([], [publication(8080)])
        assert firewall.heed()  # it is the successor's now
    finally:
        successor.close()


def test_a_closed_firewall_says_so(host: Host) -> None:
    closed = Firewall(host.fd)
    closed.close()
    with pytest.raises(InternalError, match="closed"):
        closed.load([], [])


def test_a_refused_command_is_named_with_the_cause(host: Host) -> None:
    nft = Nftables(host.fd)
    try:
        with pytest.raises(InternalError, match=r"'delete set inet t s': no such file"):
            nft.run("add table inet t\ndelete set inet t s\n")
        with pytest.raises(InternalError, match="'add tabel inet t': syntax error"):
            nft.run("add tabel inet t")
        assert ruleset(host) == ""
    finally:
        nft.close()


def test_a_missing_library_says_which_package_to_install(host: Host) -> None:
    with pytest.raises(UnsupportedError, match="install the package libnftables1"):
        Nftables(host.fd, library="libnftables.so.0")


def test_sctp_ports_are_led_as_the_others(host: Host, firewall: Firewall) -> None:
    firewall.load([], [publication(3868, protocol="sctp")])
    assert re.search(r"sctp . 3868 (counter .*)?: 10.88.1.2 . 80", ruleset(host))


def test_priorities_are_of_addresses_and_survive_a_foreign_flush(
    host: Host, firewall: Firewall
) -> None:
    one, other = ip_address("10.88.1.2"), ip_address("fd88::2")
    firewall.load([BRIDGE], [])
    firewall.prioritize({one: 6, other: 0x10020})
    assert "10.88.1.2 : 0:6" in ruleset(host)
    assert "fd88::2 : 1:20" in ruleset(host)
    firewall.prioritize({one: 7})
    host.run("nft", "flush", "ruleset")
    firewall.load([BRIDGE], [])
    assert "10.88.1.2 : 0:7" in ruleset(host)
    assert (firewall.priority(one), firewall.priority(other)) == (7, 0x10020)
    firewall.prioritize({one: 0, other: 0})
    assert "elements" not in ruleset(host).partition("map priority4")[2].partition("counter")[0]
    assert firewall.priority(one) == 0


def test_what_a_container_sends_leaves_with_its_priority(
    host: Host, firewall: Firewall, neighbour: Host, members: list[Host], slowness: float
) -> None:
    firewall.load([BRIDGE], [])
    firewall.prioritize({ip_address("10.88.1.2"): 6})
    rules = "type filter hook postrouting priority 300; meta priority 0:6 counter;"
    host.run("nft", "-f", "-", stdin=f"table inet other {{\nchain last {{ {rules}\n}}\n}}")
    for member, packets in (members[1], 0), (members[0], 1):
        with neighbour.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind((NEIGHBOUR, 5000))
            receiver.settimeout(_PATIENCE_S * slowness)
            with member.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"?", (NEIGHBOUR, 5000))
            receiver.recv(10)
        assert f"counter packets {packets} " in host.run("nft", "list", "table", "inet", "other")


def test_what_is_dropped_and_what_ports_lead_on_is_counted(
    host: Host, firewall: Firewall, neighbour: Host, members: list[Host], slowness: float
) -> None:
    assert firewall.counts() == NONE
    assert members
    everywhere, here = publication(8080), publication(8081, host=ip_address(HOST))
    udp = publication(8080, protocol="udp")
    firewall.load([BRIDGE], [everywhere, here])
    firewall.publish([udp])
    counts = firewall.counts()
    assert dict.fromkeys(DROPS, Count(0, 0)) == counts.dropped
    assert counts.connections == {everywhere: 0, here: 0, udp: 0}
    for port, protocol in (8080, "tcp"), (8081, "tcp"), (8081, "tcp"), (8080, "udp"):
        assert asked(neighbour, slowness, port, protocol) == "2"
    assert firewall.counts().connections == {everywhere: 1, here: 2, udp: 1}
    neighbour.run("ip", "route", "add", "10.88.1.0/24", "via", HOST)
    with neighbour.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"12345678", ("10.88.1.2", 80))
    dropped = firewall.counts().dropped
    assert dropped["unasked"] == Count(1, 36)
    firewall.unpublish([here])
    assert firewall.counts().connections == {everywhere: 1, udp: 1}
