"""Ports of a host that are kept for containers."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from cgagent.errors import ConflictError, UnsupportedError
from cgagent.network.ports import HostPorts
from cgagent.network.values import Publication
from tests.world import lan
from tests.world.hosts import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.system

TCP = Publication(
    protocol="tcp",
    host=None,
    host_port=8080,
    container=ip_address("10.88.1.2"),
    container_port=80,
    bridge="cgt1",
)
UDP = replace(TCP, protocol="udp")
TCP6 = replace(TCP, container=ip_address("fd00::2"))


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


@pytest.fixture
def ports(host: Host) -> Iterator[HostPorts]:
    made = HostPorts(host.fd)
    yield made
    made.close()


def serve(host: Host, address: str = "127.0.0.1", port: int = 8080, kind: int = 1) -> socket.socket:
    """As a server does it.

    Raises:
        OSError: the port is taken.
    """
    with host.inside():
        sock = socket.socket(lan.family(address), kind)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen()
    except BaseException:
        sock.close()
        raise
    return sock


@pytest.mark.parametrize(
    ("publication", "address", "kind"),
    [
        (TCP, "127.0.0.1", socket.SOCK_STREAM),
        (UDP, "127.0.0.1", socket.SOCK_DGRAM),
        (TCP6, "::1", socket.SOCK_STREAM),
    ],
)
def test_nobody_else_takes_a_port_that_is_kept(
    host: Host, ports: HostPorts, publication: Publication, address: str, kind: int
) -> None:
    ports.reserve([publication])
    with pytest.raises(OSError, match="in use"):
        serve(host, address, kind=kind)
    ports.release([publication])
    serve(host, address, kind=kind).close()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_who_has_a_port_is_named(host: Host, ports: HostPorts, kind: int) -> None:
    publication = TCP if kind == socket.SOCK_STREAM else UDP
    with serve(host, kind=kind):
        told = rf"port 0\.0\.0\.0:8080/{publication.protocol} .* \(process {os.getpid()}\); publish"
        with pytest.raises(ConflictError, match=told):
            ports.reserve([publication])


def test_all_are_kept_or_none(host: Host, ports: HostPorts) -> None:
    other = replace(TCP, host_port=8081)
    with serve(host), pytest.raises(ConflictError):
        ports.reserve([other, TCP])
    ports.reserve([other, TCP, TCP6, UDP])
    with pytest.raises(ConflictError, match="published already"):
        ports.reserve([replace(TCP, host_port=8082), other])
    ports.release([other])
    ports.reserve([other, replace(TCP, host_port=8082)])


def test_old_connections_of_a_server_are_no_reason_to_refuse(host: Host, ports: HostPorts) -> None:
    with serve(host) as server, host.inside():
        client = socket.create_connection(("127.0.0.1", 8080))
        server.accept()[0].close()  # first, so the server's end waits (TIME_WAIT)
        assert client.recv(1) == b""
        client.close()
    ports.reserve([TCP])


def test_one_address_leaves_the_port_of_others(host: Host, ports: HostPorts) -> None:
    ports.reserve([replace(TCP, host=ip_address("127.0.0.1"))])
    serve(host, "127.0.0.2").close()
    with pytest.raises(ConflictError):
        ports.reserve([TCP])
    ports.reserve([replace(TCP, host=ip_address("127.0.0.3"))])


@pytest.mark.parametrize("publication", [TCP, UDP])
def test_all_addresses_and_one_of_them_exclude_each_other(
    host: Host, ports: HostPorts, publication: Publication
) -> None:
    one = replace(publication, host=ip_address("127.0.0.1"))
    for first, second in ((one, publication), (publication, one)):
        ports.reserve([first])
        with pytest.raises(ConflictError):
            ports.reserve([second])
        ports.release([first])


def test_an_address_of_another_host_is_refused_with_what_to_do(ports: HostPorts) -> None:
    with pytest.raises(UnsupportedError, match=r"no address 192\.0\.2\.9; .*`ip address`"):
        ports.reserve([replace(TCP, host=ip_address("192.0.2.9"))])


def test_a_free_port_is_free_for_both_families(host: Host, ports: HostPorts) -> None:
    host.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40003")
    with serve(host, "::1", 40000), serve(host, "127.0.0.1", 40001):
        got = [ports.free([TCP, TCP6]) for _ in range(2)]
        assert {p.host_port for both in got for p in both} == {40002, 40003}
        assert all(len({p.host_port for p in both}) == 1 for both in got)
        with pytest.raises(ConflictError, match="no port of the host's ephemeral range is free"):
            ports.free([TCP, TCP6])
    ports.release(got[0])
    assert ports.free([TCP])[0].host_port in {40000, 40001, got[0][0].host_port}


def test_the_first_free_port_of_a_range(host: Host, ports: HostPorts) -> None:
    with serve(host, port=8000):
        assert ports.free([TCP], range(8000, 8003)) == (replace(TCP, host_port=8001),)
        assert ports.free([TCP], range(8000, 8003)) == (replace(TCP, host_port=8002),)
        with pytest.raises(ConflictError, match="no port of 8000 to 8002 is free for tcp"):
            ports.free([TCP], range(8000, 8003))


def test_a_port_that_is_kept_refuses_connections(host: Host, ports: HostPorts) -> None:
    ports.reserve([TCP, TCP6])
    assert lan.ask(host, "tcp", "::1", 8080, 10) == lan.REFUSED


def test_sctp_is_kept_as_far_as_the_kernel_has_it(ports: HostPorts) -> None:
    sctp = replace(TCP, protocol="sctp")
    ports.reserve([sctp])
    with pytest.raises(ConflictError):
        ports.reserve([sctp])
