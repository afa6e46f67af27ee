"""A host of its own for each test, with the links of one owner, and containers' namespaces."""

from __future__ import annotations

from contextlib import ExitStack
from ipaddress import ip_address, ip_interface

import pytest

from cgagent.network.links import Links, mac_of, new_host_name
from cgagent.network.values import Bridge, Link
from tests.world.hosts import Host

GATEWAYS = (ip_interface("10.5.0.1/16"), ip_interface("fd05::1/64"))


@pytest.fixture
def make_host():
    """Makes one more network namespace; all go after the test."""
    with ExitStack() as stack:

        def make():
            host = Host()
            stack.callback(host.close)
            return host

        yield make


@pytest.fixture
def host(make_host):
    return make_host()


@pytest.fixture
def links(host):
    found = Links("owner", host.fd)
    yield found
    found.close()


def bridge_of(name="br0", network="net1", **more):
    return Bridge(**{"network": network, "name": name, "addresses": GATEWAYS, **more})


def link_of(number, bridge="br0", network="net1", **more):
    """The link of the container with this number: 10.5.1.NUMBER and fd05::1:NUMBER."""
    four = ip_interface(f"10.5.{1 + number // 256}.{number % 256}/16")
    six = ip_interface(f"fd05::1:{number:x}/64")
    link = {
        "bridge": bridge,
        "network": network,
        "host_name": new_host_name(),
        "name": "eth0",
        "mac": mac_of(four.ip),
        "addresses": (four, six),
        "gateways": tuple(ip_address(g.ip) for g in GATEWAYS),
    }
    return Link(**{**link, **more})


@pytest.fixture
def bridge(links):
    made = bridge_of()
    links.make_bridge(made)
    return made
