"""Bridges: made whole, mended, removed; what is not ours is left alone."""

import json
from ipaddress import ip_address, ip_interface

import pytest

from cgagent.errors import ConflictError, InvalidInputError, UnsupportedError
from cgagent.network import bridges as module
from cgagent.network.links import Links
from tests.system.network.conftest import bridge_of, link_of

pytestmark = pytest.mark.system


def shown(host, name="br0"):
    (told,) = json.loads(host.run("ip", "-j", "-d", "address", "show", name))
    return told


def addresses(host, name="br0"):
    return {
        f"{a['local']}/{a['prefixlen']}"
        for a in shown(host, name)["addr_info"]
        if a["scope"] == "global"
    }


def names(host):
    return {link["ifname"] for link in json.loads(host.run("ip", "-j", "link"))}


def setting(host, path):
    return host.run("cat", f"/proc/sys/net/{path}").strip()


def test_a_bridge_is_up_with_a_carrier_and_without_spanning_tree(host, links):
    links.make_bridge(bridge_of(mtu=1400))
    told = shown(host)
    assert (told["operstate"], told["mtu"]) == ("UP", 1400)
    assert told["address"] == "02:42:0a:05:00:01"
    data = told["linkinfo"]["info_data"]
    assert (data["stp_state"], data["forward_delay"], data["mcast_snooping"]) == (0, 0, 0)
    assert addresses(host) == {"10.5.0.1/16", "fd05::1/64"}
    assert setting(host, "ipv6/conf/br0/accept_ra") == "0"
    assert setting(host, "ipv6/conf/br0/disable_ipv6") == "0"
    assert setting(host, "ipv4/conf/br0/rp_filter") == "2"
    assert "fe80::" not in host.run("ip", "address", "show", "type", "veth")


def test_without_ipv6_addresses_it_has_no_ipv6_at_all(host, links):
    links.make_bridge(bridge_of(addresses=(ip_interface("10.5.0.1/16"),)))
    assert setting(host, "ipv6/conf/br0/disable_ipv6") == "1"
    assert host.run("ip", "-6", "address", "show", "br0") == ""


def test_one_without_an_address_keeps_its_mac_when_ports_come(host, make_host, links):
    links.make_bridge(bridge_of(addresses=(), internal=True))
    mac = shown(host)["address"]
    links.attach(link_of(1, gateways=(), mac="02:00:00:00:00:01"), make_host().fd)
    assert shown(host)["address"] == mac


def test_made_again_it_is_mended_and_its_links_go_on(host, make_host, links, bridge):
    container = make_host()
    links.attach(link_of(1), container.fd)
    host.run("ip", "link", "set", "br0", "down", "mtu", "1280")
    host.run("ip", "address", "del", "10.5.0.1/16", "dev", "br0")
    host.run("ip", "address", "add", "10.99.0.1/24", "dev", "br0")
    (standing,) = (n for n in names(host) if n.startswith(module.STANDING))
    host.run("ip", "link", "del", standing)
    links.make_bridge(bridge)
    assert (shown(host)["mtu"], shown(host)["operstate"]) == (1500, "UP")
    assert addresses(host) == {"10.5.0.1/16", "fd05::1/64"}
    assert standing in names(host)
    assert links.ours()[0].name == "br0"
    container.run("ip", "route", "get", "10.5.0.1")
    before = json.loads(host.run("ip", "-j", "address"))
    links.make_bridge(bridge)  # nothing to mend
    assert json.loads(host.run("ip", "-j", "address")) == before


def test_other_gateways_replace_the_old_ones(host, links, bridge):
    links.make_bridge(bridge_of(addresses=(ip_interface("10.6.0.1/24"),)))
    assert addresses(host) == {"10.6.0.1/24"}
    assert shown(host)["address"] == "02:42:0a:06:00:01"


@pytest.mark.parametrize("kind", [("bridge",), ("veth", "peer", "name", "other")])
def test_an_interface_that_is_not_ours_is_a_conflict_and_stays_as_it_is(host, links, kind):
    host.run("ip", "link", "add", "br0", "type", *kind)
    before = host.run("ip", "-d", "address")
    with pytest.raises(ConflictError, match="interface br0 exists and is not of this network"):
        links.make_bridge(bridge_of())
    with pytest.raises(ConflictError, match="interface br0 is not ours"):
        links.remove_bridge("br0")
    assert host.run("ip", "-d", "address") == before


def test_so_is_another_agents_and_another_networks(host, links, bridge):
    other = Links("other", host.fd)
    try:
        with pytest.raises(ConflictError):
            other.make_bridge(bridge)
        with pytest.raises(ConflictError):
            other.remove_bridge("br0")
        with pytest.raises(ConflictError):
            links.make_bridge(bridge_of(network="net2"))
        assert other.ours() == []
    finally:
        other.close()
    assert [(f.name, f.kind, f.network, f.up) for f in links.ours()] == [
        ("br0", "bridge", "net1", True)
    ]


def test_removed_it_leaves_nothing_and_may_be_made_at_once_again(host, links, bridge):
    for _ in range(3):
        links.remove_bridge("br0")
        assert names(host) == {"lo"}
        links.make_bridge(bridge)
    links.remove_bridge("br0")
    links.remove_bridge("br0")
    assert names(host) == {"lo"}


def test_what_somebody_left_of_one_is_found_and_removed(host, links, bridge):
    host.run("ip", "link", "del", "br0")
    (left,) = links.ours()
    assert (left.kind, left.network, left.bridge) == ("veth", "net1", None)
    links.remove_bridge("br0")
    assert names(host) == {"lo"}


@pytest.mark.parametrize("name", ["br%d", "..", "all", "a/b", "sixteen-letters-"])
def test_a_name_that_means_something_else_is_refused(host, links, name):
    with pytest.raises(InvalidInputError, match="invalid interface name"):
        links.make_bridge(bridge_of(name))
    assert names(host) == {"lo"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"mtu": 67}, "cannot change the interface br0: Invalid argument"),
        ({"addresses": (ip_interface("ff02::7/64"),)}, "cannot add the address ff02::7/64: "),
    ],
)
def test_one_that_cannot_be_made_whole_is_not_left(host, links, wrong, words):
    with pytest.raises(Exception, match=words):
        links.make_bridge(bridge_of(**wrong))
    assert names(host) == {"lo"}


def test_a_kernel_without_bridges_is_named_with_what_to_do(host, links, monkeypatch):
    make_link = module.rt.make_link
    monkeypatch.setattr(
        module.rt, "make_link", lambda name, _, mac: make_link(name, "bridge9", mac)
    )
    with pytest.raises(UnsupportedError, match=r"modprobe bridge.*--network host and none"):
        links.make_bridge(bridge_of())
    assert names(host) == {"lo"}


def test_subnets_of_the_host_are_those_of_addresses_and_routes(host, links, bridge):
    host.run("ip", "link", "add", "vpn", "type", "veth", "peer", "name", "far")
    host.run("ip", "link", "set", "vpn", "up")
    host.run("ip", "address", "add", "192.168.7.9/24", "dev", "vpn")
    host.run("ip", "route", "add", "default", "via", "192.168.7.1")
    host.run("ip", "route", "add", "0.0.0.0/1", "via", "192.168.7.1")
    host.run("ip", "route", "add", "172.20.0.0/14", "via", "192.168.7.1", "table", "51820")
    host.run("ip", "route", "add", "blackhole", "10.200.0.0/16")
    host.run("ip", "-6", "route", "add", "fd77::/48", "dev", "vpn")
    found = {str(subnet) for subnet in links.host_subnets()}
    assert {
        *("127.0.0.0/8", "10.5.0.0/16", "fd05::/64", "192.168.7.0/24"),
        *("172.20.0.0/14", "10.200.0.0/16", "fd77::/48"),
    } <= found
    assert not {"0.0.0.0/0", "0.0.0.0/1", "::/0", "224.0.0.0/4", "ff00::/8"} & found
    assert all(ip_address(s.network_address) for s in links.host_subnets())
