"""Interfaces that share one of the host's: macvlan in all its modes, ipvlan where there is any."""

import json
from ipaddress import ip_interface

import pytest

from cgagent.errors import ConflictError, InvalidInputError, NotFoundError, UnsupportedError
from cgagent.network.interfaces import await_ready
from cgagent.network.netlink import NetlinkError
from cgagent.network.rtnetlink import Route
from cgagent.network.values import Child
from tests.system.network.conftest import GATEWAYS, link_of
from tests.system.network.test_links import inside, reaches
from tests.world.hosts import cable

pytestmark = pytest.mark.system

BRIDGED = Child("macvlan", "bridge")
OUTSIDE = tuple(gateway.ip for gateway in GATEWAYS)


@pytest.fixture
def parent(host, make_host):
    """The host's interface on a cable to another host, which has the gateways' addresses."""
    other = make_host()
    near, far = cable(host, (), other, ("10.5.0.1/16", "fd05::1/64"))
    for end, name, addresses in ((host, near, ()), (other, far, GATEWAYS)):
        route = Route.of(end.fd)
        await_ready(route, name, addresses)
        route.close()
    return near


@pytest.mark.parametrize("mode", ["bridge", "private", "vepa", "passthru"])
def test_a_macvlan_reaches_who_is_on_the_parents_cable_at_once(make_host, links, parent, mode):
    container = make_host()
    link = link_of(2, parent, child=Child("macvlan", mode))
    links.attach(link, container.fd)
    for address in OUTSIDE:
        assert reaches(container, address)
    told = inside(container)["eth0"]
    assert told["linkinfo"]["info_data"]["mode"] == mode
    if mode != "passthru":  # which has the parent's
        assert told["address"] == "02:42:0a:05:01:02"
    links.detach_child(link.host_name, container.fd)
    links.detach_child(link.host_name, container.fd)
    assert set(inside(container)) == {"lo"}


def test_who_renames_an_interface_is_cut_off_all_the_same(make_host, links, parent):
    container = make_host()
    one, other = (link_of(n, parent, child=BRIDGED, name=f"eth{n}") for n in (0, 1))
    for link in (one, other):
        links.attach(link, container.fd)
    for old, new in (("eth0", "spare"), ("eth1", "eth0")):
        container.run("ip", "link", "set", old, "down")
        container.run("ip", "link", "set", old, "name", new)
    links.detach_child(one.host_name, container.fd)
    assert set(inside(container)) == {"lo", "eth0"}
    links.detach_child(other.host_name, container.fd)
    assert set(inside(container)) == {"lo"}


@pytest.mark.parametrize(("mode", "reached"), [("bridge", True), ("private", False)])
def test_two_reach_each_other_as_the_mode_says(make_host, links, parent, mode, reached):
    containers = [make_host(), make_host()]
    for number, container in enumerate(containers):
        links.attach(link_of(number + 1, parent, child=Child("macvlan", mode)), container.fd)
    assert reaches(containers[0], link_of(2).addresses[0].ip) is reached


def test_without_a_carrier_it_is_made_all_the_same(host, make_host, links, parent):
    host.run("ip", "link", "set", parent, "down")
    container = make_host()
    links.attach(link_of(2, parent, gateways=(), child=BRIDGED), container.fd)
    host.run("ip", "link", "set", parent, "up")
    assert "eth0" in inside(container)


def test_ipvlan_works_or_is_refused_by_name(make_host, links, parent):
    container = make_host()
    try:
        links.attach(link_of(2, parent, child=Child("ipvlan", "l2")), container.fd)
    except UnsupportedError as e:
        assert "cannot make the ipvlan eth0: load its module (modprobe ipvlan)" in str(e)  # noqa: PT017
        assert set(inside(container)) == {"lo"}
    else:
        assert reaches(container, OUTSIDE[0])


WRONG = [
    ({"bridge": "none"}, "bridge", NotFoundError, "parent interface none is not there"),
    ({}, "l2", InvalidInputError, "invalid macvlan mode 'l2': one of private, vepa"),
    ({"name": "lo"}, "bridge", ConflictError, "interface lo exists already"),
    ({"addresses": (ip_interface("ff02::7/64"),)}, "bridge", NetlinkError, "address ff02::7/64"),
]


@pytest.mark.native
@pytest.mark.parametrize("case", WRONG, ids=lambda case: case[3])
def test_what_cannot_be_made_leaves_nothing(make_host, links, parent, case):
    more, mode, error, words = case
    container = make_host()
    link = link_of(2, **{"bridge": parent, "child": Child("macvlan", mode), **more})
    with pytest.raises(error, match=words):
        links.attach(link, container.fd)
    assert set(inside(container)) == {"lo"}


def test_a_parent_that_is_on_a_bridge_is_a_conflict(host, make_host, links, parent, bridge):
    host.run("ip", "link", "set", parent, "master", "br0")
    with pytest.raises(ConflictError, match=f"{parent} cannot be the parent of a macvlan"):
        links.attach(link_of(2, parent, child=BRIDGED), make_host().fd)
    assert json.loads(host.run("ip", "-j", "link", "show", "type", "macvlan")) == []
