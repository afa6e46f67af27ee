"""Networks of the drivers macvlan and ipvlan: containers on the segment of a host's interface."""

import json
import os
import re
import subprocess

import pytest

from cgagent.errors import ConflictError, InvalidInputError, NotFoundError
from tests.system.agent.test_networks import SERVE, address, answer, asked, printed
from tests.world import lan
from tests.world.agent import SLOWNESS, eventually
from tests.world.hosts import Host

pytestmark = pytest.mark.system

PARENT, FAR = "cgtpar0", "cgtpar1"
SUBNET, ROUTER, OURS = "10.66.0.0/24", "10.66.0.1", "10.66.0.5"
SEGMENT = ("--subnet", SUBNET, "--gateway", ROUTER, "--ip-range", "10.66.0.128/25")
ON_PARENT = ("-d", "macvlan", *SEGMENT, "-o", f"parent={PARENT}")


@pytest.fixture
def router():
    """Another host, on a cable to an interface of this one's, the parent."""
    other = Host()
    there = f"/proc/{os.getpid()}/fd/{other.fd}"
    printed(
        *("ip", "link", "add", PARENT, "type", "veth", "peer", "name", FAR, "netns", there),
    )
    for command in (
        ("ip", "address", "add", f"{ROUTER}/24", "dev", FAR),
        ("ip", "address", "add", "fd66::1/64", "dev", FAR, "nodad"),
        ("ip", "link", "set", FAR, "up"),
    ):
        other.run(*command)
    printed("ip", "address", "add", f"{OURS}/24", "dev", PARENT)
    printed("ip", "link", "set", PARENT, "up")
    server = lan.Server(other, "router", ("0.0.0.0", 80), ("::", 80))  # noqa: S104
    yield other
    server.close()
    other.close()
    subprocess.run(["ip", "link", "delete", PARENT], check=False, capture_output=True)


def asks(host, where, port=80):
    """What another host hears at an address."""
    done = host.popen(
        *("busybox", "nc", "-w", str(5 * int(SLOWNESS)), where, str(port)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    return done.communicate()[0]


# (who asks, whom, the answer; None: nobody answers)
PATHS = [
    ("container", "router", "router 10.66.0.128"),
    ("container", "other container", "hello\n"),
    ("router", "other container", "hello\n"),
    ("host", "other container", None),
    ("other network", "other container", None),
    ("container", "name of the other", "hello\n"),
]


@pytest.mark.native
def test_who_reaches_whom_on_a_macvlan_network(agent, network, container, router):
    network("segment", *ON_PARENT)
    one = container("sleep", "1000", **asked("segment"))
    other = container(*SERVE, name="other", **asked("segment"))
    third = container("sleep", "1000")
    there = address(agent, other, "segment")
    eventually(lambda: asks(router, there) == "hello\n")
    targets = {"router": ROUTER, "other container": there, "name of the other": "other"}
    found = []
    for who, whom, _ in PATHS:
        target = targets[whom]
        if who == "router":
            heard_there = asks(router, target)
        elif who == "host":
            ran = subprocess.run(
                ["busybox", "nc", "-w", "1", target, "80"],
                check=False,
                capture_output=True,
                text=True,
            )
            heard_there = ran.stdout
        else:
            patience = "1" if who == "other network" else "5"
            asker = one if who == "container" else third
            heard_there = agent.exec(asker, "nc", "-w", patience, target, "80").stdout
        found.append((who, whom, heard_there or None))
    assert found == PATHS
    assert f"default via {ROUTER} dev eth0" in agent.exec(one, "ip", "route").stdout


@pytest.mark.native
def test_what_inspect_shows_of_a_macvlan_network(agent, network, container, router):
    network("segment", *ON_PARENT, "--aux-address", "printer=10.66.0.128")
    one = container("sleep", "9", ports=[{"container_port": 80}], **asked("segment"))
    (seen,) = json.loads(agent.cli("network", "inspect", "segment").stdout)
    assert (seen["Driver"], seen["Options"]) == ("macvlan", {"parent": PARENT})
    assert seen["IPAM"]["Config"][0]["AuxiliaryAddresses"] == {"printer": "10.66.0.128"}
    assert seen["Containers"][one]["MacAddress"] == "02:42:0a:42:00:81"
    assert seen["Containers"][one]["IPv4Address"] == "10.66.0.129/24"
    assert "macvlan" in agent.cli("network", "ls", "-f", "driver=macvlan").stdout
    assert agent.cli("port", one).stdout == "", "as with docker, nothing is published there"


@pytest.mark.native
def test_in_and_out_of_a_macvlan_network_while_it_runs(agent, network, container, router):
    network("segment", *ON_PARENT)
    one = container("sleep", "1000")
    for _ in range(2):
        assert agent.cli("network", "connect", "--ip", "10.66.0.9", "segment", one).returncode == 0
        assert answer(agent, one, ROUTER) == "router 10.66.0.9"
        assert agent.cli("network", "disconnect", "segment", one).returncode == 0
        assert "eth1" not in agent.exec(one, "ip", "link").stdout
    assert agent.cli("network", "connect", "segment", one).returncode == 0
    assert agent.cli("network", "disconnect", "bridge", one).returncode == 0
    assert f"default via {ROUTER} dev eth1" in agent.exec(one, "ip", "route").stdout


@pytest.mark.native
def test_an_address_of_a_macvlan_network_goes_on_to_the_next_run(agent, network, container, router):
    network("segment", *ON_PARENT)
    one = container(*SERVE, **asked("segment", address="10.66.0.7"))
    for _ in range(5):
        agent.post(one, "restart?timeout_s=0")
    eventually(lambda: asks(router, "10.66.0.7") == "hello\n")


@pytest.mark.native
def test_without_a_parent_members_have_each_other(agent, network, container):
    network("alone", "-d", "macvlan", "--subnet", SUBNET)
    one, other = (container("sleep", "1000", **asked("alone")) for _ in range(2))
    assert agent.exec(one, "ping", "-c1", "-W5", address(agent, other, "alone")).exit_code == 0
    assert "default" not in agent.exec(one, "ip", "route").stdout
    assert agent.exec(one, "ping", "-c1", "-W1", ROUTER).exit_code != 0, "the host is not in it"
    interface = agent.client.request("GET", "/v1/networks/alone")["interface"]
    for each in (one, other):
        agent.remove(each)
    assert agent.cli("network", "rm", "alone").returncode == 0
    assert interface not in printed("ip", "-o", "link")
    network("alone", "-d", "macvlan", "--internal")


@pytest.mark.native
def test_ipv6_of_a_macvlan_network(agent, network, container, router):
    network("segment", *ON_PARENT, "--subnet", "fd66::/64", "--ipv6")
    one = container("sleep", "1000", **asked("segment"))
    assert answer(agent, one, "fd66::1").startswith("router fd66::")


WRONG = [
    (["-o", "parent=cgtnone0"], NotFoundError, "parent interface cgtnone0 is not there"),
    (["-o", "parent=cgtnone0.7"], NotFoundError, "parent interface cgtnone0.7 is not there"),
    (["-o", "parent=lo"], InvalidInputError, "loopback interface is not a valid macvlan parent"),
    (["-o", "macvlan_mode=l2"], InvalidInputError, "requested macvlan mode 'l2' is not valid"),
    (["-o", "icc=true"], InvalidInputError, "network option 'icc' is not known"),
    (["-o", f"parent={PARENT}", "-o", "mtu=9000"], InvalidInputError, "more than the 1500 of"),
]


@pytest.mark.parametrize(("flags", "error", "words"), WRONG, ids=lambda v: str(v)[:40])
@pytest.mark.native
def test_macvlan_networks_that_cannot_be(agent, router, flags, error, words):
    before = agent.cli("network", "ls", "-q").stdout
    done = agent.cli("network", "create", "-d", "macvlan", *flags, "wrong")
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    options = dict(f.split("=") for f in flags if f != "-o")
    body = {"name": "wrong", "driver": "macvlan", "options": options}
    with pytest.raises(error):
        agent.client.request("POST", "/v1/networks", body)
    assert agent.cli("network", "ls", "-q").stdout == before


@pytest.mark.native
def test_which_networks_share_a_parent(agent, network, router):
    network("one", "-d", "macvlan", "-o", f"parent={PARENT}")
    network("two", "-d", "macvlan", "-o", f"parent={PARENT}")
    for more in (("-d", "macvlan", "-o", "macvlan_mode=passthru"), ("-d", "ipvlan")):
        done = agent.cli("network", "create", *more, "-o", f"parent={PARENT}", "three")
        assert f"network one is already using interface {PARENT}" in done.stderr


@pytest.mark.native
def test_a_parent_that_goes_away(agent, network, container, router):
    network("segment", *ON_PARENT)
    one = container("sleep", "1000", **asked("segment"))
    subprocess.run(["ip", "link", "delete", PARENT], check=True)
    assert "eth0" not in agent.exec(one, "ip", "link").stdout
    assert agent.state(one)["status"] == "running"
    done = agent.cli("run", "--rm", "--network", "segment", "alpine", "true")
    assert done.returncode == 125
    assert f"parent interface {PARENT} is not there: " in done.stderr
    agent.remove(one)


@pytest.mark.native
def test_a_vlan_is_made_and_goes_or_is_refused_by_name(agent, network, container, router):
    vlan = f"{PARENT}.10"
    done = agent.cli("network", "create", "-d", "macvlan", "-o", f"parent={vlan}", "tagged")
    if done.returncode:
        assert "this kernel cannot make interfaces of kind vlan: load its module" in done.stderr
        return
    network("again", "-d", "macvlan", "-o", f"parent={vlan}")
    one = container("sleep", "1000", **asked("tagged"))
    other = container("sleep", "1000", **asked("again"))
    assert f"{vlan}@{PARENT}" in printed("ip", "-o", "link")
    agent.remove(one)
    assert agent.cli("network", "rm", "tagged").returncode == 0
    assert f"{vlan}@{PARENT}" in printed("ip", "-o", "link"), "another network has it"
    agent.remove(other)
    assert agent.cli("network", "rm", "again").returncode == 0
    assert f"{vlan}@{PARENT}" not in printed("ip", "-o", "link")


@pytest.mark.parametrize(
    "mode", ["l2", *(pytest.param(mode, marks=pytest.mark.native) for mode in ("l3", "l3s"))]
)
def test_an_ipvlan_network_works_or_is_refused_by_name(agent, network, container, router, mode):
    flags = ("-d", "ipvlan", *SEGMENT, "-o", f"parent={PARENT}", "-o", f"ipvlan_mode={mode}")
    done = agent.cli("network", "create", *flags, "shared")
    if done.returncode:
        assert "this kernel cannot make interfaces of kind ipvlan: load its module" in done.stderr
        return
    assert agent.cli("network", "rm", "shared").returncode == 0
    network("shared", *flags)
    one = container("sleep", "1000", **asked("shared"))
    other = container(*SERVE, name="other", **asked("shared"))
    eventually(lambda: answer(agent, one, "other") == "hello\n")
    route = agent.exec(one, "ip", "route").stdout
    if mode == "l2":
        assert answer(agent, one, ROUTER).startswith("router 10.66.0.")
        assert f"default via {ROUTER} dev eth0" in route
    else:
        assert "default dev eth0 scope link" in route
    (seen,) = json.loads(agent.cli("network", "inspect", "shared").stdout)
    assert seen["Containers"][other]["MacAddress"] == ""
    with pytest.raises(InvalidInputError, match="have the MAC address of their parent"):
        container("true", **asked("shared", mac="02:11:22:33:44:55"))


@pytest.mark.native
def test_a_macvlan_network_without_the_agent(own_agent, router):
    body = {
        "name": "segment",
        "driver": "macvlan",
        "subnets": [{"subnet": SUBNET, "gateway": ROUTER}],
        "options": {"parent": PARENT},
    }
    own_agent.client.request("POST", "/v1/networks", body)
    own_agent.client.request("POST", "/v1/networks", {"name": "alone", "driver": "macvlan"})
    web = own_agent.launch(*SERVE, **asked("segment"))
    pair = [own_agent.launch("sleep", "1000", **asked("alone")) for _ in range(2)]
    where = address(own_agent, web, "segment")
    eventually(lambda: asks(router, where) == "hello\n")
    own_agent.kill9()
    assert asks(router, where) == "hello\n"
    own_agent.start()
    assert asks(router, where) == "hello\n"
    assert address(own_agent, web, "segment") == where
    peer = address(own_agent, pair[1], "alone")
    assert own_agent.exec(pair[0], "ping", "-c1", "-W5", peer).exit_code == 0
    third = own_agent.launch("sleep", "1000", **asked("alone"))
    assert own_agent.exec(third, "ping", "-c1", "-W5", peer).exit_code == 0
    with pytest.raises(ConflictError):
        own_agent.launch("sleep", "9", **asked("segment", address=where))
    own_agent.remove_all()
    own_agent.stop()
    assert re.findall(r"macvlan|cg-", printed("ip", "-o", "-d", "link")) == []
