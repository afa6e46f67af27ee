"""Rates of links: held in both directions, changed while packets pass, gone without a trace."""

import json

import pytest

from cgagent.cgroups.amount import UNLIMITED
from cgagent.network.rates import Rates, ifb_of
from tests.system.network.conftest import link_of
from tests.world.agent import SLOWNESS
from tests.world.senders import assert_rates, wire_rate

pytestmark = pytest.mark.system

FREE = Rates(incoming=UNLIMITED, outgoing=UNLIMITED)
M = 10**6


@pytest.fixture
def pair(make_host, links, bridge):
    """Two containers on a bridge, and the link of the first one."""
    one, other = make_host(), make_host()
    link = link_of(2)
    links.attach(link, one.fd)
    links.attach(link_of(3), other.fd)
    return one, other, link


def qdiscs(host, name):
    return {q["kind"] for q in json.loads(host.run("tc", "-j", "qdisc", "show", "dev", name))}


def test_a_rate_holds_in_each_direction(pair, links):
    one, other, link = pair
    links.limit(link.host_name, Rates(incoming=20 * M, outgoing=50 * M))
    assert links.rates(link.host_name) == Rates(incoming=20 * M, outgoing=50 * M)
    assert_rates(other, one, "10.5.1.2", 20 * M)
    assert_rates(one, other, "10.5.1.3", 50 * M)
    assert_rates(one, other, "fd05::1:3", 50 * M)


@pytest.mark.native
@pytest.mark.parametrize("way", ["incoming", "outgoing"])
def test_a_rate_is_changed_while_packets_pass(pair, links, way):
    one, other, link = pair
    links.limit(link.host_name, Rates(**{way: 30 * M}))
    ends = (other, one, "10.5.1.2") if way == "incoming" else (one, other, "10.5.1.3")
    changes = iter((50 * M, 20 * M))

    def change():
        links.limit(link.host_name, Rates(**{way: next(changes)}))

    assert_rates(*ends, 30 * M, change, 50 * M, change, 20 * M)


def test_a_rate_is_taken_away(host, pair, links):
    one, other, link = pair
    assert links.rates(link.host_name) == FREE
    links.limit(link.host_name, Rates(incoming=M, outgoing=M))
    assert links.limited() == {link.host_name}
    links.limit(link.host_name, FREE)
    assert links.limited() == set()
    assert links.rates(link.host_name) == FREE
    assert qdiscs(host, link.host_name) == {"noqueue"}
    assert ifb_of(link.host_name) not in host.run("ip", "link")
    assert wire_rate(one, other, "10.5.1.3") > 100 * M / SLOWNESS
    links.limit(link.host_name, FREE)


def test_nothing_is_left_of_a_link_with_rates(host, pair, links):
    *_, link = pair
    links.limit(link.host_name, Rates(incoming=M, outgoing=M))
    assert {f.kind for f in links.ours()} == {"bridge", "veth", "ifb"}
    links.detach(link.host_name)
    assert ifb_of(link.host_name) not in host.run("ip", "link")
    links.limit(link.host_name, Rates(incoming=M, outgoing=M))
    assert links.rates(link.host_name) is None
    assert ifb_of(link.host_name) not in host.run("ip", "link")


@pytest.mark.native
@pytest.mark.parametrize(
    "harm",
    [
        ("tc", "qdisc", "del", "dev", "{link}", "root"),
        ("tc", "qdisc", "replace", "dev", "{link}", "root", "handle", "1:", "pfifo"),
        ("tc", "qdisc", "del", "dev", "{link}", "ingress"),
        ("tc", "filter", "del", "dev", "{link}", "ingress"),
        ("tc", "qdisc", "del", "dev", "{ifb}", "root"),
        ("ip", "link", "set", "{ifb}", "down"),
        ("ip", "link", "del", "{ifb}"),
    ],
)
def test_what_somebody_else_changes_is_seen_and_mended(host, pair, links, harm):
    one, _, link = pair
    wanted = Rates(incoming=20 * M, outgoing=20 * M)
    links.limit(link.host_name, wanted)
    names = {"link": link.host_name, "ifb": ifb_of(link.host_name)}
    host.run(*(word.format(**names) for word in harm))
    assert links.rates(link.host_name) != wanted
    links.limit(link.host_name, wanted)
    assert links.rates(link.host_name) == wanted
    one.run("busybox", "ping", "-c1", "-W5", "10.5.1.3")


def test_a_container_cannot_take_its_limit_away(pair, links):
    one, other, link = pair
    links.limit(link.host_name, Rates(incoming=20 * M, outgoing=20 * M))
    one.run("tc", "qdisc", "replace", "dev", "eth0", "root", "pfifo")
    one.run("ip", "link", "set", "eth0", "mtu", "1400")
    factor = (1514 / 1448) / (1414 / 1348)  # of frames with 1,500 bytes, which is reckoned with
    assert_rates(one, other, "10.5.1.3", factor * 20 * M)
    assert_rates(other, one, "10.5.1.2", factor * 20 * M)


@pytest.mark.native
def test_very_slow_and_very_fast(pair, links):
    one, other, link = pair
    for rate in (8_000, 10**12):
        links.limit(link.host_name, Rates(incoming=rate, outgoing=rate))
        assert links.rates(link.host_name) == Rates(incoming=rate, outgoing=rate)
    assert wire_rate(one, other, "10.5.1.3") > 100 * M / SLOWNESS
