"""Whoever has just been attached is reached, and reaches others, with his first packet."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.system.network.conftest import GATEWAYS, bridge_of, link_of

pytestmark = [pytest.mark.system, pytest.mark.native]  # nothing of it depends on cgroups

LOST_S = 0.9
"""The kernel sends a lost SYN, ARP request or neighbour solicitation again after 1 s."""
PORT = 4321


def listen(host):
    """A socket for both families in a host, whose kernel completes connections by itself."""
    with host.inside():
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", PORT))
        sock.listen(4096)
        return sock


def took(host, address):
    """Seconds of a connection from a host."""
    with host.inside():
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(10)
            began = time.monotonic()
            sock.connect((str(address), PORT))
            return time.monotonic() - began


@pytest.mark.parametrize(
    ("families", "at_once"),
    [*(pytest.param(n, 1, marks=pytest.mark.native) for n in (1, 2)),
     pytest.param(1, 8, marks=pytest.mark.native), (2, 8)],
)  # fmt: skip
def test_no_first_packet_is_lost(host, make_host, links, families, at_once):
    gateways = GATEWAYS[:families]
    links.make_bridge(bridge_of(addresses=gateways))
    containers = [make_host() for _ in range(101)]
    given = [
        replace(link, addresses=link.addresses[:families], gateways=link.gateways[:families])
        for link in (link_of(n + 1) for n in range(101))
    ]
    listeners = [listen(one) for one in (host, *containers)]
    links.attach(given[0], containers[0].fd)
    attached = [0]

    def connect(number):
        own, there = containers[number], given[attached[-1]]
        links.attach(given[number], own.fd)
        attached.append(number)
        paths = [(own, a.ip) for a in (*gateways, *there.addresses)]
        paths += [(host, a.ip) for a in given[number].addresses]
        first = number % len(paths)  # each is the first of some
        turned = paths[first:] + paths[:first]
        return [(took(one, address), str(address)) for one, address in turned]

    try:
        with ThreadPoolExecutor(at_once) as threads:
            rounds = list(threads.map(connect, range(1, 101)))
    finally:
        for sock in listeners:
            sock.close()
    slowest = sorted(path for one in rounds for path in one)[-3:]
    print("slowest:", slowest)
    assert slowest[-1][0] < LOST_S


def test_every_address_works_at_once(host, make_host, links, bridge):
    """None waits for others to object to it, on the bridge or inside."""
    container = make_host()
    links.attach(link_of(1), container.fd)
    for one in (host, container):
        assert "inet6" not in one.run("ip", "address", "show", "tentative")
