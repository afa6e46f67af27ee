"""The first packet for a container is told; what only keeps a link known is not."""

import os
import select
import socket

import pytest

from cgagent.errors import NotFoundError
from cgagent.network import traffic
from tests.system.network.conftest import link_of
from tests.system.network.test_links import reaches
from tests.world.agent import SLOWNESS

pytestmark = pytest.mark.system

FOUR, SIX = "10.5.1.2", "fd05::1:2"


@pytest.fixture
def member(make_host, links, bridge):
    made = make_host()
    links.attach(link_of(2), made.fd)
    return made


@pytest.fixture
def signal(member):
    (armed,) = traffic.arm(["eth0"], f"/proc/{os.getpid()}/fd/{member.fd}")
    yield armed
    armed.close()


def readable(signal, patience_s):
    return bool(select.select([signal.descriptor], [], [], patience_s)[0])


def send(host, family, where, device="br0"):
    with host.inside(), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, 25, device.encode())  # SO_BINDTODEVICE
        sock.sendto(b"?", (where, 9))


@pytest.mark.parametrize(
    ("family", "where"), [(socket.AF_INET, FOUR), (socket.AF_INET6, SIX)], ids=["IPv4", "IPv6"]
)
def test_a_packet_of_either_family_is_told(host, signal, family, where):
    send(host, family, where)
    assert readable(signal, 5 * SLOWNESS)
    assert signal.has_come()


QUIET = [
    ("10.5.255.255", socket.AF_INET),
    ("224.0.0.251", socket.AF_INET),
    ("ff02::fb", socket.AF_INET6),
    ("10.5.1.3", socket.AF_INET),  # asked for by all, and not there
    ("fd05::1:3", socket.AF_INET6),
]


def test_what_keeps_a_link_known_is_no_traffic(host, member, signal):
    for where, family in QUIET:
        send(host, family, where)
    send(member, socket.AF_INET, "127.0.0.1", device="lo")
    assert not readable(signal, 0.3)
    known = ("lladdr", "02:42:0a:05:01:02", "dev", "br0", "nud", "probe")
    for address in (FOUR, SIX):  # asks the container itself, whose kernel answers
        host.run("ip", "neighbour", "replace", address, *known)
    assert not readable(signal, 1.5)


def test_an_interface_that_goes_is_no_packet(host, links, member, signal):
    member.run("ip", "link", "delete", "eth0")
    assert readable(signal, 5 * SLOWNESS)
    assert not signal.has_come()


def test_who_hides_one_interface_is_watched_at_the_others(host, member):
    (armed,) = traffic.arm(["eth1", "eth0"], f"/proc/{os.getpid()}/fd/{member.fd}")
    send(host, socket.AF_INET, FOUR)
    assert readable(armed, 5 * SLOWNESS)
    armed.close()


def test_where_no_interface_is_there(member):
    with pytest.raises(NotFoundError, match="interface eth7 is not in the container's network"):
        traffic.arm(["eth6", "eth7"], f"/proc/{os.getpid()}/fd/{member.fd}")
    assert reaches(member, link_of(2).gateways[0])
