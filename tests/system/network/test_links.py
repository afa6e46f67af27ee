"""Links of containers: whole or not there, found after a crash, seen by nobody who should not."""

import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from cgagent.errors import ConflictError, DeadlineError, InvalidInputError, NotFoundError
from cgagent.network import interfaces
from cgagent.network import rtmessages as rt
from cgagent.network.links import Links, new_host_name
from cgagent.network.rtnetlink import Route
from tests.system.network.conftest import GATEWAYS, bridge_of, link_of

pytestmark = pytest.mark.system


def names(host):
    return {link["ifname"] for link in json.loads(host.run("ip", "-j", "link"))}


def inside(container):
    return {link["ifname"]: link for link in json.loads(container.run("ip", "-j", "-d", "address"))}


def test_a_link_has_all_that_was_asked_for(host, make_host, links):
    links.make_bridge(bridge_of(mtu=1450))
    container = make_host()
    container.run("ip", "link", "set", "lo", "down")
    link = link_of(2, mtu=1450, isolated=True)
    links.attach(link, container.fd)
    found = inside(container)
    assert "UP" in found["lo"]["flags"]
    eth0 = found["eth0"]
    assert (eth0["operstate"], eth0["mtu"]) == ("UP", 1450)
    assert eth0["address"] == link.mac == "02:42:0a:05:01:02"
    assert {f"{a['local']}/{a['prefixlen']}" for a in eth0["addr_info"]} == {
        *("10.5.1.2/16", "fd05::1:2/64", "fe80::42:aff:fe05:102/64"),
    }
    (default,) = json.loads(container.run("ip", "-j", "route", "show", "default"))
    assert (default["gateway"], default["dev"]) == ("10.5.0.1", "eth0")
    (default,) = json.loads(container.run("ip", "-6", "-j", "route", "show", "default"))
    assert default["gateway"] == "fd05::1"
    assert container.run("cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra").strip() == "0"
    (port,) = json.loads(host.run("ip", "-j", "-d", "link", "show", link.host_name))
    assert (port["master"], port["mtu"], port["ifalias"]) == ("br0", 1450, "cgagent:owner:net1")
    data = port["linkinfo"]["info_slave_data"]
    assert (data["state"], data["isolated"], data["hairpin"]) == ("forwarding", True, True)


def test_it_knows_where_its_bridge_is_and_the_kernel_does_not_count_that(make_host, links, bridge):
    container = make_host()
    links.attach(link_of(2), container.fd)
    known = [line.split() for line in container.run("ip", "neigh", "show").splitlines()]
    found = {words[0]: words for words in known if "extern_learn" in words}
    assert found.keys() == {"10.5.0.1", "fd05::1", "fe80::42:aff:fe05:1"}
    assert {words[words.index("lladdr") + 1] for words in found.values()} == {"02:42:0a:05:00:01"}


def test_the_host_forgets_where_the_addresses_of_a_link_were(host, make_host, links, bridge):
    container = make_host()
    link = link_of(2)
    links.attach(link, container.fd)

    def known():
        return {
            line.split()[0] for line in host.run("ip", "neigh", "show", "dev", "br0").splitlines()
        }

    assert known() >= {str(a.ip) for a in link.addresses}
    links.detach(link.host_name)
    assert not known() & {str(a.ip) for a in link.addresses}


def test_without_ipv6_addresses_a_container_has_no_ipv6_there(make_host, links, bridge):
    container = make_host()
    four = (ip_interface("10.5.1.2/16"),)
    links.attach(link_of(2, addresses=four, gateways=()), container.fd)
    assert container.run("ip", "-6", "address", "show", "eth0") == ""
    assert container.run("ip", "route", "show", "default") == ""


def test_a_gateway_outside_the_subnet_is_reached_all_the_same(make_host, links, bridge):
    container = make_host()
    alone = (ip_interface("10.5.1.2/32"), ip_interface("fd05::1:2/128"))
    links.attach(link_of(2, addresses=alone), container.fd)
    for gateway in GATEWAYS:
        assert reaches(container, gateway.ip)


def reaches(one, address, wait_s=0.5):
    """Whether a host answers with a reset, or is silent."""
    with one.inside():
        kind = socket.AF_INET if address.version == 4 else socket.AF_INET6
        sock = socket.socket(kind)
    with sock:
        sock.settimeout(wait_s)
        try:
            sock.connect((str(address), 9))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return True


def test_isolated_ones_reach_the_host_and_not_each_other(make_host, links, bridge, slowness):
    containers = [make_host() for _ in range(3)]
    for number, container in enumerate(containers):
        links.attach(link_of(number + 1, isolated=number < 2), container.fd)
    for version in (0, 1):
        others = [link_of(n + 1).addresses[version].ip for n in range(3)]
        assert reaches(containers[0], GATEWAYS[version].ip, slowness)
        assert reaches(containers[0], others[2], slowness)
        assert not reaches(containers[0], others[1])


def test_a_second_link_gets_another_name_in_the_same_container(make_host, links, bridge):
    container = make_host()
    links.make_bridge(bridge_of("br1", "net2", addresses=(ip_interface("10.6.0.1/24"),)))
    links.attach(link_of(2), container.fd)
    second = link_of(
        *(3, "br1", "net2"), name="eth1", addresses=(ip_interface("10.6.0.2/24"),), gateways=()
    )
    links.attach(second, container.fd, loopback=False)
    assert set(inside(container)) == {"lo", "eth0", "eth1"}
    assert reaches(container, ip_address("10.6.0.1"))
    assert {(f.name, f.network, f.bridge) for f in links.ours() if f.kind == "veth"} == {
        (second.host_name, "net2", "br1"),
        *((f.name, "net1", "br0") for f in links.ours() if f.bridge == "br0"),
    }


def test_detached_it_is_gone_at_both_ends(host, make_host, links, bridge):
    containers = [make_host() for _ in range(5)]
    made = [link_of(n + 1) for n in range(5)]
    before = names(host)
    for link, container in zip(made, containers, strict=True):
        links.attach(link, container.fd)
    links.detach(made[0].host_name)
    links.detach(made[0].host_name)
    assert set(inside(containers[0])) == {"lo"}
    links.detach(*(link.host_name for link in made))
    links.detach(*(link.host_name for link in made))
    links.detach()
    assert names(host) == before
    assert [set(inside(c)) for c in containers] == [{"lo"}] * 5


def test_an_address_that_moved_with_another_mac_is_found_at_once(host, make_host, links, bridge):
    client, old, new = (make_host() for _ in range(3))
    links.attach(link_of(9), client.fd)
    first = link_of(2)
    links.attach(first, old.fd)
    for address in first.addresses:
        assert reaches(client, address.ip)
        assert reaches(host, address.ip)
    links.detach(first.host_name)
    other = link_of(2, mac="02:00:00:00:00:99")
    links.attach(other, new.fd)
    for address in first.addresses:
        assert reaches(client, address.ip)
        assert reaches(host, address.ip)
    links.detach(other.host_name)
    links.attach(link_of(2), old.fd)
    for address in first.addresses:
        assert reaches(client, address.ip)
        assert reaches(host, address.ip)


def test_an_address_that_moved_with_its_mac_is_found_at_once(host, make_host, links, bridge):
    """While the old link is not gone yet, as after a container's end, and the new is silent."""
    old, new = make_host(), make_host()
    four = link_of(2).addresses[:1]
    links.attach(link_of(2, addresses=four, gateways=()), old.fd)
    assert reaches(old, GATEWAYS[0].ip)
    old.run("ip", "address", "flush", "dev", "eth0")
    links.attach(link_of(2, addresses=four, gateways=()), new.fd)
    assert reaches(host, four[0].ip)


def test_a_link_made_ahead_gets_other_addresses(host, make_host, links, bridge):
    container = make_host()
    first = link_of(2)
    links.attach(first, container.fd)
    other = link_of(7, host_name=first.host_name)
    links.readdress(other, container.fd)
    eth0 = inside(container)["eth0"]
    assert eth0["address"] == other.mac
    assert {a["local"] for a in eth0["addr_info"]} == {
        *("10.5.1.7", "fd05::1:7", "fe80::42:aff:fe05:107")
    }
    for address in other.addresses:
        assert reaches(host, address.ip)
    assert reaches(container, GATEWAYS[0].ip)
    assert len(container.run("ip", "route", "show", "default").strip().split("\n")) == 1


def test_a_link_with_ipv6_gets_none_and_has_it_again(host, make_host, links, bridge):
    container = make_host()
    link = link_of(2)
    links.attach(link, container.fd)
    four = link_of(3, host_name=link.host_name, addresses=(ip_interface("10.5.1.3/16"),))
    links.readdress(replace(four, gateways=four.gateways[:1]), container.fd)
    assert container.run("ip", "-6", "address", "show", "eth0") == ""
    links.readdress(link, container.fd)
    for address in link.addresses:
        assert reaches(host, address.ip)


def test_counters_are_those_of_the_container(make_host, links, bridge):
    container = make_host()
    link = link_of(2)
    links.attach(link, container.fd)
    before = links.counters(link.host_name)
    with container.inside():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.sendto(bytes(1000), ("10.5.0.1", 9))
    after = links.counters(link.host_name)
    assert after.sent_bytes - before.sent_bytes > 1000
    assert after.received_bytes - before.received_bytes < 1000  # ICMP's answer has a part of it
    assert links.counters("none") is None


# Errors, and that nothing is left after them.


@pytest.fixture
def spotless(host, make_host, bridge):
    """A container whose network, and the host's, are as before after the test."""
    container = make_host()
    before = host.run("ip", "link")
    yield container
    assert host.run("ip", "link") == before
    assert set(inside(container)) == {"lo"}


WRONG = [
    ({"bridge": "none"}, NotFoundError, "bridge none is not there"),
    ({"name": "eth%d"}, InvalidInputError, "invalid interface name 'eth%d'"),
    ({"name": "lo"}, ConflictError, "interface lo exists already in the container's network"),
    ({"mac": "01:00:00:00:00:01"}, InvalidInputError, "MAC address 01:00:00:00:00:01 cannot be"),
    ({"mtu": 10}, Exception, "cannot make the veth"),
    ({"gateways": (ip_address("10.5.255.255"),)}, Exception, "default route by 10.5.255.255"),
    ({"gateways": (ip_address("fd05::1"),), "addresses": (GATEWAYS[0],)}, Exception, "default"),
]


@pytest.mark.parametrize(("wrong", "error", "words"), WRONG, ids=lambda w: str(w)[:30])
def test_what_cannot_be_attached_leaves_nothing(links, spotless, wrong, error, words):
    with pytest.raises(error, match=words):
        links.attach(link_of(2, **wrong), spotless.fd)


def test_a_namespace_that_is_none_leaves_nothing(links, spotless):
    with open("/dev/null", "rb") as none, pytest.raises(Exception, match="cannot make the veth"):
        links.attach(link_of(2), none.fileno())


def test_a_bridge_that_is_down_leaves_nothing(host, links, spotless):
    host.run("ip", "link", "set", "br0", "down")
    try:
        with pytest.raises(ConflictError, match=r"bridge br0 is down: set it up \(ip link set"):
            links.attach(link_of(2), spotless.fd)
    finally:
        links.make_bridge(bridge_of())


def test_an_interface_without_a_carrier_is_named(host, monkeypatch):
    monkeypatch.setattr(interfaces, "_READY_S", 0.05)
    host.run("ip", "link", "add", "one", "type", "veth", "peer", "name", "two")
    route = Route.of(host.fd)
    try:
        with pytest.raises(DeadlineError, match=r"interface one passes no packets after"):
            interfaces.await_ready(route, "one")
    finally:
        route.close()


WITHOUT = """
import sys
from tests.system.network.conftest import bridge_of
from cgagent.network.links import Links
try:
    Links("owner").make_bridge(bridge_of())
except Exception as e:
    print(type(e).__name__, e)
"""


@pytest.mark.native
@pytest.mark.parametrize(
    ("before", "words"),
    [
        (
            "unshare -m sh -c 'mount -o bind,ro /proc/sys /proc/sys && exec \"$@\"' sh",
            "UnsupportedError cannot set IPv6 of br0: Read-only file system: the agent must",
        ),
        (
            "setpriv --bounding-set -net_admin --inh-caps -net_admin",
            "DeniedError cannot make the bridge br0: Operation not permitted: the agent needs CAP",
        ),
    ],
)
def test_what_an_agent_lacks_is_named(host, before, words):
    program = shlex.join([sys.executable, "-c", WITHOUT])
    assert host.run("sh", "-c", f"{before} {program}").startswith(words)
    assert names(host) == {"lo"}


def test_a_host_name_twice_is_a_conflict_and_the_first_link_stays(make_host, links, bridge):
    one, two = make_host(), make_host()
    link = link_of(2)
    links.attach(link, one.fd)
    with pytest.raises(ConflictError, match=f"{link.host_name} exists already in the host's"):
        links.attach(link_of(3, host_name=link.host_name), two.fd)
    assert reaches(one, GATEWAYS[0].ip)
    assert set(inside(two)) == {"lo"}


@pytest.mark.native
def test_a_full_bridge_is_a_conflict(host, make_host, links, bridge):
    route = Route.of(host.fd)
    master = route.index("br0")
    pairs = [(new_host_name(), new_host_name()) for _ in range(511)]
    try:  # both ends of each on it: 1,022, and the standing port
        route.batch(*(rt.make_veth(a, b, rt.master(master), peers=()) for a, b in pairs))
        route.batch(*(rt.change_link(b, rt.master(master)) for _, b in pairs))
        with pytest.raises(ConflictError, match="br0 has 1023 ports, as many as the kernel allows"):
            links.attach(link_of(2), make_host().fd)
        links.detach(*(a for a, _ in pairs))
    finally:
        route.close()
    links.attach(link_of(2), make_host().fd)


@pytest.mark.native
def test_many_threads_attach_and_detach(host, make_host, links, bridge):
    containers = [make_host() for _ in range(8)]
    before = names(host)

    def work(number):
        for n in range(10):
            link = link_of(1 + number * 10 + n)
            links.attach(link, containers[number].fd)
            assert reaches(containers[number], GATEWAYS[n % 2].ip, 5)
            links.detach(link.host_name)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert names(host) == before
    assert threading.active_count() < 8


ENDLESSLY = """
import itertools, sys
from tests.system.network.conftest import bridge_of, link_of
from cgagent.network.links import Links
host, container = map(int, sys.argv[1:])
links = Links("owner", host)
print("begun", flush=True)
for n in itertools.count(1):
    links.make_bridge(bridge_of())
    made = [link_of(n, name=f"eth{i}") for i in range(3)]
    for link in made:
        links.attach(link, container)
    links.detach(*(link.host_name for link in made))
    links.remove_bridge("br0")
"""


@pytest.mark.native
def test_a_death_at_any_instant_leaves_only_what_is_found(host, make_host, links):
    chance = random.Random(17)  # noqa: S311
    for _ in range(15):
        container = make_host()
        command = [sys.executable, "-c", ENDLESSLY, str(host.fd), str(container.fd)]
        agent = subprocess.Popen(
            command, pass_fds=(host.fd, container.fd), stdout=subprocess.PIPE, text=True
        )
        assert agent.stdout.readline() == "begun\n"
        time.sleep(chance.random() * 0.15)
        os.kill(agent.pid, signal.SIGKILL)
        agent.communicate()
        found = links.ours()
        links.detach(*(f.name for f in found if f.kind == "veth"))
        for bridge in (f for f in found if f.kind == "bridge"):
            links.remove_bridge(bridge.name)
        assert names(host) == {"lo"}
        assert set(inside(container)) == {"lo"}


def test_it_works_in_the_namespace_of_the_process_too(host, make_host):
    """As in the agent: no descriptor of the host's namespace."""
    container = make_host()

    def work():
        links = Links("owner")
        links.make_bridge(bridge_of())
        links.attach(link_of(2), container.fd)
        links.close()

    with host.inside():
        work()
    assert reaches(container, GATEWAYS[0].ip)
    assert reaches(container, GATEWAYS[1].ip)
