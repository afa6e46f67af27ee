"""Containers in networks: addresses, links and ports, from the command line to a packet."""

import json
import os
import re
import select
import signal
import subprocess

import pytest

from cgagent.errors import ConflictError, NotFoundError
from tests.world import hosts
from tests.world.agent import SLOWNESS, eventually

pytestmark = pytest.mark.system

EVERY = "0.0.0.0"  # noqa: S104
LOOPBACK6 = "::1"
SERVE = ("nc", "-lk", "-p", "80", "-e", "echo", "hello")


def asked(network, **more):
    return {"networks": [{"network": network, **more}]}


def place(agent, container, network="bridge"):
    """A container's place in a network, as the API shows it."""
    return next(n for n in agent.detail(container)["networks"] if n["network"] == network)


def address(agent, container, network="bridge"):
    return place(agent, container, network)["addresses"][0]["address"]


def answer(agent, container, host, port=80):
    """What a container hears at a port of a host."""
    return agent.exec(container, "nc", "-w", "5", host, str(port)).stdout


def heard(host, port):
    """What this host hears there; None: nobody listens."""
    ran = subprocess.run(
        ["busybox", "nc", "-w", str(5 * int(SLOWNESS)), host, str(port)],
        check=False,
        capture_output=True,
        text=True,
    )
    return ran.stdout or None


@pytest.fixture
def served(container):
    """Launch a container that says hello at port 80."""

    def serve(**options):
        return container(*SERVE, **options)

    return serve


def test_the_default_network(agent, container):
    one, two = container("sleep", "1000"), container("sleep", "1000")
    own, other = address(agent, one), address(agent, two)
    assert own != other
    assert f"inet {own}/20" in agent.exec(one, "ip", "address", "show", "eth0").stdout
    assert f"{own}\t{one[:12]}\n" in agent.exec(one, "cat", "/etc/hosts").stdout
    assert agent.exec(one, "ping", "-c1", "-W5", other).exit_code == 0
    gateway = place(agent, one)["addresses"][0]["gateway"]
    assert f"default via {gateway}" in agent.exec(one, "ip", "route").stdout
    assert agent.exec(one, "ping", "-c1", "-W5", gateway).exit_code == 0
    mac = "02:42:" + ":".join(f"{int(part):02x}" for part in own.split("."))
    assert agent.exec(one, "cat", "/sys/class/net/eth0/address").stdout.strip() == mac


@pytest.mark.native
def test_what_inspect_shows(agent, container):
    one = container("sleep", "1000", ports=[{"container_port": 80, "host_port": 8088}])
    (found,) = json.loads(agent.cli("inspect", one).stdout)
    settings = found["NetworkSettings"]
    assert settings["Ports"] == {"80/tcp": [{"HostIp": EVERY, "HostPort": "8088"}]}
    own = address(agent, one)
    assert settings["Networks"]["bridge"]["IPAddress"] == own
    assert found["HostConfig"]["NetworkMode"] == "bridge"
    (seen,) = json.loads(agent.cli("network", "inspect", "bridge").stdout)
    assert seen["Containers"][one]["IPv4Address"] == f"{address(agent, one)}/20"
    agent.post(one, "kill")
    agent.wait(one)
    (found,) = json.loads(agent.cli("inspect", one).stdout)
    assert found["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == ""
    assert found["NetworkSettings"]["Ports"] == {}


def test_a_published_port(agent, served, container):
    one = served(name="web", ports=[{"container_port": 80, "host_port": 8081}])
    assert agent.cli("port", "web").stdout == "80/tcp -> 0.0.0.0:8081\n"
    assert agent.cli("port", "web", "80").stdout == "0.0.0.0:8081\n"
    assert "0.0.0.0:8081->80/tcp" in agent.cli("ps").stdout
    eventually(lambda: heard("127.0.0.1", 8081) == "hello\n")
    gateway = place(agent, one)["addresses"][0]["gateway"]
    assert heard(gateway, 8081) == "hello\n"
    other = container("sleep", "1000")
    assert answer(agent, other, gateway, 8081) == "hello\n"
    assert answer(agent, one, gateway, 8081) == "hello\n", "by the host's address to itself"
    agent.remove(one)
    assert heard("127.0.0.1", 8081) is None


@pytest.mark.native
def test_a_port_that_is_taken(agent, container, nothing_made):
    container("sleep", "1000", name="first", ports=[{"container_port": 80, "host_port": 8082}])
    for _ in range(2):
        done = agent.cli("run", "--rm", "-p", "8082:80", "alpine", "true")
        assert done.returncode == 125
        assert "8082" in done.stderr
        assert done.stderr.count("\n") == 1
    agent.remove("first")
    assert agent.cli("run", "--rm", "-p", "8082:80", "alpine", "true").returncode == 0


@pytest.mark.native
def test_ports_that_are_chosen(agent, container):
    one = container("sleep", "1000", publish_all=True, exposed_ports=["80", "53/udp"])
    lines = agent.cli("port", one).stdout.split("\n")
    assert {line.partition(" ")[0] for line in lines if line} == {"80/tcp", "53/udp"}
    ranged = [{"container_port": 80, "host_port": 8090, "host_port_last": 8091}]
    ports = {
        agent.detail(container("sleep", "9", ports=ranged))["published_ports"][0]["host_port"]
        for _ in "12"
    }
    assert ports == {8090, 8091}
    with pytest.raises(ConflictError, match="no port of 8090 to 8091 is free"):
        container("sleep", "9", ports=ranged)


@pytest.mark.native
def test_networks_are_apart_until_a_container_is_in_both(agent, served, container, network):
    network("blue")
    web = served(**asked("blue"))
    one = container("sleep", "1000")
    there = address(agent, web, "blue")
    assert agent.exec(one, "nc", "-w", "1", there, "80").exit_code != 0
    assert agent.cli("network", "connect", "blue", one).returncode == 0
    eventually(lambda: answer(agent, one, there) == "hello\n")
    assert "eth1" in agent.exec(one, "ip", "address").stdout
    assert address(agent, one, "blue") in agent.exec(one, "cat", "/etc/hosts").stdout
    again = agent.cli("network", "connect", "blue", one)
    assert again.stderr == "cgagent: the container is in network blue already\n"
    assert agent.cli("network", "disconnect", "blue", one).returncode == 0
    assert "eth1" not in agent.exec(one, "ip", "address").stdout
    assert agent.exec(one, "nc", "-w", "1", there, "80").exit_code != 0
    assert agent.cli("network", "disconnect", "blue", one).returncode == 1
    assert agent.cli("network", "disconnect", "-f", "blue", one).returncode == 0


@pytest.mark.native
def test_the_way_out_moves_to_a_network_that_is_left(agent, served, container, network):
    network("blue")
    both = {"networks": [{"network": "bridge"}, {"network": "blue"}]}
    one = served(ports=[{"container_port": 80, "host_port": 8095}], **both)
    eventually(lambda: heard("127.0.0.1", 8095) == "hello\n")
    assert agent.cli("network", "disconnect", "bridge", one).returncode == 0
    gateway = place(agent, one, "blue")["addresses"][0]["gateway"]
    assert f"default via {gateway} dev eth1" in agent.exec(one, "ip", "route").stdout
    assert heard("127.0.0.1", 8095) == "hello\n"


@pytest.mark.native
def test_ports_go_with_the_default_route(agent, served, network):
    """Docker's gw-priority: the network that has the default route has the ports as well."""
    network("blue")
    network("red", "--internal")
    one = served(ports=[{"container_port": 80, "host_port": 8096}])
    eventually(lambda: heard("127.0.0.1", 8096) == "hello\n")
    for name, flags in (("red", ()), ("blue", ("--gw-priority", "1"))):
        assert agent.cli("network", "connect", *flags, name, one).returncode == 0
        assert heard("127.0.0.1", 8096) == "hello\n"
        assert heard(LOOPBACK6, 8096) == "hello\n"
    gateway = place(agent, one, "blue")["addresses"][0]["gateway"]
    assert f"default via {gateway} dev eth2" in agent.exec(one, "ip", "route").stdout
    agent.exec(one, "ip", "link", "set", "eth0", "down")
    assert heard("127.0.0.1", 8096) == "hello\n", "by the other network"
    assert agent.cli("network", "disconnect", "blue", one).returncode == 0


@pytest.mark.native
def test_a_network_in_use_stays(agent, container, network):
    network("blue", "--label", "a=b")
    one = container("sleep", "1000", **asked("blue"))
    done = agent.cli("network", "rm", "blue")
    assert done.returncode == 1
    assert "network blue has 1 container in it" in done.stderr
    assert agent.cli("network", "prune", "-f").stdout == ""
    agent.remove(one)
    assert agent.cli("network", "ls", "-q", "-f", "label=a=b").stdout.count("\n") == 1
    assert agent.cli("network", "prune", "-f").stdout == "Deleted Networks:\nblue\n\n"
    with pytest.raises(NotFoundError, match="network blue not found"):
        agent.client.request("GET", "/v1/networks/blue")


@pytest.mark.native
def test_addresses_that_were_asked_for(agent, container, network):
    network(
        "blue",
        "--subnet",
        "10.77.0.0/24",
        "--gateway",
        "10.77.0.254",
        "--ip-range",
        "10.77.0.128/25",
    )
    mac = "02:11:22:33:44:55"
    one = container("sleep", "1000", **asked("blue", address="10.77.0.9", mac=mac))
    assert address(agent, one, "blue") == "10.77.0.9"
    assert agent.exec(one, "cat", "/sys/class/net/eth0/address").stdout.strip() == mac
    assert "default via 10.77.0.254" in agent.exec(one, "ip", "route").stdout
    two = container("sleep", "1000", **asked("blue"))
    assert address(agent, two, "blue") == "10.77.0.128"
    for taken in ("10.77.0.9", "10.77.0.254"):
        with pytest.raises(ConflictError, match=f"address {re.escape(taken)} of network blue is"):
            container("sleep", "1000", **asked("blue", address=taken))
    agent.post(one, "kill")
    agent.wait(one)
    other = container("sleep", "1000", **asked("blue", address="10.77.0.9"))
    with pytest.raises(ConflictError, match=r"address 10\.77\.0\.9 of network blue is already in"):
        agent.post(one, "start")  # it is its own while it runs
    agent.remove(other)
    agent.post(one, "start")
    assert address(agent, one, "blue") == "10.77.0.9"


@pytest.mark.native
def test_ipv6(agent, served, container, network):
    network("six", "--ipv6")
    web = served(**asked("six"), ports=[{"container_port": 80, "host_port": 8083}])
    one = container("sleep", "1000", **asked("six"))
    six = place(agent, web, "six")["addresses"][1]["address"]
    assert agent.exec(one, "ping", "-6", "-c1", "-W5", six).exit_code == 0
    assert "[::]:8083->80/tcp" in agent.cli("ps").stdout
    gateway = place(agent, web, "six")["addresses"][1]["gateway"]
    eventually(lambda: heard(gateway, 8083) == "hello\n")


def test_an_internal_network_has_no_way_out(agent, container, network):
    network("inside", "--internal")
    one = container("sleep", "1000", **asked("inside"))
    assert "default" not in agent.exec(one, "ip", "route").stdout
    both = container("sleep", "1000", networks=[{"network": "inside"}, {"network": "bridge"}])
    gateway = place(agent, both)["addresses"][0]["gateway"]
    assert f"default via {gateway} dev eth1" in agent.exec(both, "ip", "route").stdout


@pytest.mark.native
def test_anothers_network(agent, served, container):
    web = served(name="web", hostname="box")
    one = container("sleep", "1000", **asked("container:web"))
    assert answer(agent, one, "127.0.0.1") == "hello\n"
    assert (
        agent.exec(one, "cat", "/etc/hosts").stdout == agent.exec(web, "cat", "/etc/hosts").stdout
    )
    done = agent.cli("network", "connect", "bridge", one)
    assert f"has the network of container:{web}" in done.stderr


@pytest.mark.native
def test_links_and_the_host_by_name(agent, served, container):
    db = served(name="db")
    one = container(
        "sleep",
        "1000",
        extra_hosts=["gate:host-gateway"],
        **asked("bridge", links=["db:store"]),
    )
    gateway = place(agent, one)["addresses"][0]["gateway"]
    text = agent.exec(one, "cat", "/etc/hosts").stdout
    assert f"{address(agent, db)}\tstore db\n" in text
    assert f"{gateway}\tgate\n" in text
    eventually(lambda: answer(agent, one, "store") == "hello\n")
    agent.post(one, "kill")
    agent.wait(one)
    agent.remove(db)
    with pytest.raises(NotFoundError, match="db"):
        agent.post(one, "start")


def test_no_network_and_the_hosts(agent, container):
    alone = container("sleep", "1000", **asked("none"))
    assert agent.exec(alone, "ls", "/sys/class/net").stdout == "lo\n"
    shared = container("sleep", "1000", **asked("host"))
    assert "cgagent0" in agent.exec(shared, "ip", "link").stdout
    assert agent.detail(shared)["networks"] == []


def test_another_runtime(agent, container):
    one = container("sleep", "1000", runtime="crun")
    two = container("sleep", "1000")
    assert f"inet {address(agent, one)}/20" in agent.exec(one, "ip", "address").stdout
    assert agent.exec(one, "ping", "-c1", "-W5", address(agent, two)).exit_code == 0


@pytest.mark.native
def test_a_command_without_a_verb_shows_its_help(agent):
    for command in ("network", "volume", "system"):
        done = agent.cli(command)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"usage: cgagent {command}" in done.stdout.lower()


@pytest.mark.native
def test_lists(agent, network):
    network("blue")
    rows = [line.split() for line in agent.cli("network", "ls").stdout.split("\n") if line]
    assert rows[0] == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
    assert {tuple(row[1:]) for row in rows[1:]} >= {
        ("blue", "bridge", "local"),
        ("bridge", "bridge", "local"),
        ("host", "host", "local"),
        ("none", "null", "local"),
    }
    only = agent.cli("network", "ls", "-f", "type=custom", "--format", "{{.Name}}").stdout
    assert only == "blue\n"


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["bridge"], "network with name bridge already exists"),
        (["host"], "network with name host already exists"),
        (["x/y"], "network name 'x/y' is not valid"),
        (["--subnet", "10.0.0.1/24", "n"], "has host bits set"),
        (["--subnet", "10.0.0.0/31", "n"], "has no room for a gateway and a container"),
        (["--gateway", "10.0.0.1", "n"], "no matching subnet for 10.0.0.1"),
        (["-o", "colour=red", "n"], "network option 'colour' is not known"),
        (["-o", "mtu=7", "n"], "'7' is not 68 to 65535"),
        (["-d", "overlay", "n"], "network driver 'overlay' is not known here"),
    ],
)
@pytest.mark.native
def test_networks_that_cannot_be(agent, flags, complaint):
    before = agent.cli("network", "ls", "-q").stdout
    done = agent.cli("network", "create", *flags)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert agent.cli("network", "ls", "-q").stdout == before


@pytest.mark.native
def test_the_predefined_stay(agent):
    for name in ("bridge", "host", "none"):
        done = agent.cli("network", "rm", name)
        assert "is a pre-defined network and cannot be removed" in done.stderr
    (bridge,) = agent.client.request("GET", "/v1/networks?filter=name%3Dbridge")
    for id_ in (bridge["id"], bridge["id"][:12]):
        assert "is a pre-defined network" in agent.cli("network", "rm", id_).stderr


def test_rules_that_another_program_flushes(agent, served):
    served(ports=[{"container_port": 80, "host_port": 8084}])
    eventually(lambda: heard("127.0.0.1", 8084) == "hello\n")
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    eventually(lambda: heard("127.0.0.1", 8084) == "hello\n")


@pytest.mark.native
def test_a_container_goes_on_without_the_agent(own_agent):
    ports = [{"container_port": 80, "host_port": 8085}]
    web = own_agent.launch(*SERVE, ports=ports)
    gone = own_agent.launch("sleep", "1000", ports=[{"container_port": 80, "host_port": 8086}])
    before = address(own_agent, web)
    eventually(lambda: heard("127.0.0.1", 8085) == "hello\n")
    gone_pid = own_agent.state(gone)["pid"]
    own_agent.kill9()
    assert heard("127.0.0.1", 8085) == "hello\n"
    subprocess.run(["kill", "-9", str(gone_pid)], check=True)
    own_agent.start()
    assert heard("127.0.0.1", 8085) == "hello\n"
    assert address(own_agent, web) == before
    assert own_agent.detail(gone)["networks"][0]["addresses"] == []
    again = own_agent.launch("sleep", "1000", ports=[{"container_port": 80, "host_port": 8086}])
    assert address(own_agent, again) != before
    with pytest.raises(ConflictError):
        own_agent.launch("sleep", "1000", ports=ports)


def printed(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.native
def test_nothing_is_left_of_a_network(own_agent):
    def state():
        links = re.findall(r"^\d+: ([^:@]+)", printed("ip", "-o", "link"), re.MULTILINE)
        return sorted(links), printed("nft", "list", "tables")

    before = state()
    own_agent.client.request("POST", "/v1/networks", {"name": "blue"})
    port = {"container_port": 80, "host_port": 8087}
    for number in range(3):
        own_agent.launch("sleep", "1000", ports=[{**port, "host_port": 8087 + number}])
        own_agent.launch("sleep", "1000", networks=[{"network": "blue"}])
    assert state() != before
    own_agent.remove_all()
    own_agent.client.request("DELETE", "/v1/networks/blue")
    own_agent.stop()
    assert state() == before


@pytest.mark.native
def test_the_fetch_of_packages_is_not_in_the_tests_network():
    """The agents' bridges are in a namespace of the tests' own, and never on the machine."""
    with hosts.in_the_machines_network():
        assert "cgagent" not in printed("ip", "-o", "link")


@pytest.mark.native
def test_a_bridge_that_somebody_deletes_is_made_anew(agent, network, served, container):
    network("blue")
    web = served(**asked("blue"))
    other = container("sleep", "1000", **asked("blue"))
    interface = agent.client.request("GET", "/v1/networks/blue")["interface"]
    subprocess.run(["ip", "link", "delete", interface], check=True)
    third = container("sleep", "1000", **asked("blue"))
    for one in (third, other):
        assert answer(agent, one, address(agent, web, "blue")) == "hello\n"


@pytest.mark.native
def test_one_that_ends_while_it_is_brought_elsewhere(agent, network, container):
    network("blue")
    for number in range(5):
        one = container("sleep", "0.05", name=f"brief{number}", **asked("blue"))
        for action in ("connect", "disconnect") * 4:
            try:
                agent.client.request("POST", f"/v1/networks/bridge/{action}", {"container": one})
            except (ConflictError, NotFoundError) as e:
                assert "/proc" not in str(e)  # noqa: PT017 - it may have just ended, or not


@pytest.mark.native
def test_one_that_has_ended_unnoticed_is_named(agent, network, container):
    """Its supervisor tells of an end later than the kernel does: here it is stopped meanwhile."""
    network("blue")
    one = container("sleep", "1000", name="gone")
    supervisor = agent.client.request("GET", "/v1/info")["supervisor_pid"]
    try:
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(agent.state(one)["pid"], signal.SIGKILL)
        done = agent.cli("network", "connect", "blue", one)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert done.returncode == 1
    assert "container gone has ended meanwhile and is not in network blue" in done.stderr
    eventually(lambda: agent.state(one)["status"] != "running")
    assert [n["network"] for n in agent.detail(one)["networks"]] == ["bridge"]


@pytest.mark.native
def test_an_address_with_a_zone_reaches_nobody(agent, network, container):
    """It ended the process that answers everybody's names."""
    network("blue", "--subnet", "10.7.0.0/24", "--subnet", "fd07::/64")
    done = agent.cli("run", "--rm", "--network", "blue", "--ip6", "fd07::9%x", "alpine", "true")
    assert done.returncode == 125
    assert "invalid IPv6 address: 'fd07::9%x'" in done.stderr


def test_a_network_whose_interface_is_somebody_elses(agent, network, container):
    network("blue", "--opt", "interface=lo", "--subnet", "10.7.0.0/24")
    done = agent.cli("run", "--rm", "--network", "blue", "alpine", "true")
    assert done.returncode == 125
    assert "interface lo is in use on this host by something else" in done.stderr
    done = agent.cli("network", "rm", "blue")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.native
def test_a_published_port_at_the_hosts_ipv6_loopback(agent, served, container, network):
    """The firewall cannot lead it there: it is relayed, to a container that has only IPv4 too."""
    network("six", "--ipv6")
    four = served(ports=[{"container_port": 80, "host_port": 8101}])
    served(ports=[{"container_port": 80, "host_port": 8102}], **asked("six"))
    only = {"container_port": 80, "host_port": 8103, "host_address": "::1"}
    alone = served(ports=[only])
    for port in (8101, 8102, 8103):
        eventually(lambda port=port: heard(LOOPBACK6, port) == "hello\n")
    assert heard("127.0.0.1", 8103) is None
    assert agent.cli("port", four).stdout == "80/tcp -> 0.0.0.0:8101\n"
    assert agent.cli("port", alone).stdout == "80/tcp -> [::1]:8103\n"
    served(ports=[{"container_port": 80, "host_port": 8104, "host_address": EVERY}])
    eventually(lambda: heard("127.0.0.1", 8104) == "hello\n")
    assert heard(LOOPBACK6, 8104) is None, "that is all of IPv4"
    with pytest.raises(ConflictError, match="8101"):
        served(ports=[{"container_port": 80, "host_port": 8101, "host_address": "::1"}])
    agent.remove(four)
    assert heard(LOOPBACK6, 8101) is None


@pytest.mark.native
def test_a_relayed_port_outlives_the_agent_and_the_relay(own_agent):
    ports = [
        {"container_port": 80, "host_port": 8105},
        {"container_port": 81, "host_port": 8105, "protocol": "udp"},
    ]
    web = own_agent.launch(*SERVE, ports=ports)
    eventually(lambda: heard(LOOPBACK6, 8105) == "hello\n")
    names_pid = own_agent.client.request("GET", "/v1/info")["names_pid"]
    subprocess.run(["kill", "-9", str(names_pid)], check=True)
    eventually(lambda: heard(LOOPBACK6, 8105) == "hello\n")
    own_agent.kill9()
    assert heard(LOOPBACK6, 8105) == "hello\n"
    own_agent.start()
    assert heard(LOOPBACK6, 8105) == "hello\n"
    with pytest.raises(ConflictError):
        own_agent.launch("sleep", "9", ports=ports[:1])
    pid = own_agent.state(web)["pid"]
    names_pid = own_agent.client.request("GET", "/v1/info")["names_pid"]
    own_agent.kill9()
    subprocess.run(["kill", "-9", str(pid), str(names_pid)], check=True)
    own_agent.start()
    assert heard(LOOPBACK6, 8105) is None
    again = own_agent.launch(*SERVE, ports=ports)
    eventually(lambda: heard(LOOPBACK6, 8105) == "hello\n")
    own_agent.remove(again)


@pytest.mark.native
def test_the_names_process_ends_with_the_last_container_where_no_agent_is(own_agent):
    own_agent.client.request("POST", "/v1/networks", {"name": "blue"})
    named = own_agent.launch("sleep", "1000", **asked("blue"))
    published = own_agent.launch(*SERVE, ports=[{"container_port": 80, "host_port": 8107}])
    eventually(lambda: heard(LOOPBACK6, 8107) == "hello\n")
    names = os.pidfd_open(own_agent.client.request("GET", "/v1/info")["names_pid"])
    pids = [own_agent.state(one)["pid"] for one in (named, published)]
    own_agent.kill9()
    os.kill(pids[0], signal.SIGKILL)
    assert heard(LOOPBACK6, 8107) == "hello\n"
    assert not select.select([names], [], [], 0.2)[0]
    os.kill(pids[1], signal.SIGKILL)
    assert select.select([names], [], [], 10 * SLOWNESS)[0]
    os.close(names)
    own_agent.start()
