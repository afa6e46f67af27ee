"""Limits and figures of containers' networks, from the command line to packets and back."""

import json
import re
import subprocess

import pytest

from tests.system.agent.test_metrics import get
from tests.system.agent.test_networks import EVERY, heard, place
from tests.world.agent import SLOWNESS, eventually
from tests.world.hosts import NetworkOf
from tests.world.senders import assert_rates, wire_rate

pytestmark = pytest.mark.system

M = 10**6


def inside(agent, container):
    """The network namespace of a container that runs."""
    return NetworkOf(agent.detail(container)["state"]["pid"])


def links_of(agent, container, *command):
    """What ``ip link`` prints in its network, as a container with CAP_NET_ADMIN runs it."""
    with inside(agent, container).inside():
        done = subprocess.run(["ip", "link", *command], check=True, capture_output=True, text=True)
    return done.stdout


def address(agent, container):
    return place(agent, container)["addresses"][0]["address"]


def limits(agent, container):
    shown = agent.detail(container)
    return shown["limits"], shown["limits_held"], shown["drift"]


def link(agent, container):
    """The name of the host's end of its link."""
    number = agent.exec(container, "cat", "/sys/class/net/eth0/iflink").stdout.strip()
    shown = subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout
    return re.search(rf"^{number}: ([^:@]+)", shown, re.MULTILINE)[1]


def test_rates_of_a_container(agent, container):
    """50 Mbit/s within 5 %, in both directions, also changed while it runs."""
    gateway = place(agent, container("sleep", "1000"))["addresses"][0]["gateway"]
    done = agent.cli(
        *("run", "-d", "--name", "slow", "--net-rate-in", "50m", "--net-rate-out", "20mbit"),
        *("alpine", "sleep", "1000"),
    )
    one = done.stdout.strip()
    try:
        here, there = NetworkOf(), inside(agent, one)
        own = address(agent, one)
        assert_rates(here, there, own, 50 * M)
        assert_rates(there, here, gateway, 20 * M)
        changed = agent.cli("update", "--net-rate-in", "0", "--net-rate-out", "50mbit", "slow")
        assert changed.returncode == 0, changed.stderr
        assert_rates(there, here, gateway, 50 * M)
        assert wire_rate(here, there, own) > 100 * M / SLOWNESS
        asked, held, drift = limits(agent, one)
        assert asked == {"net_rate_in_bits": "max", "net_rate_out_bits": 50 * M}
        assert (held["net_rate_in_bits"], held["net_rate_out_bits"]) == ("max", 50 * M)
        assert drift == []
        (shown,) = json.loads(agent.cli("inspect", "slow").stdout)
        assert shown["LimitsHeld"]["net_rate_out_bits"] == 50 * M
    finally:
        agent.remove(one)


def test_a_rate_survives_a_restart_and_is_that_of_a_prewarmed_link(agent, container):
    one = container("sleep", "1000", limits={"net_rate_in_bits": 5 * M, "net_rate_out_bits": M})
    for _ in range(2):
        shown = subprocess.run(
            ["tc", "qdisc", "show", "dev", link(agent, one)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert "tbf" in shown
        assert "rate 5Mbit" in shown
        assert limits(agent, one)[2] == []
        agent.post(one, "kill")
        agent.wait(one)
        agent.post(one, "start")
    names = subprocess.run(["ip", "link"], check=True, capture_output=True, text=True).stdout
    ifb = f"cgr{link(agent, one).removeprefix('cg')}"
    assert ifb in names
    agent.remove(one)

    def gone():
        shown = subprocess.run(["ip", "link"], check=True, capture_output=True, text=True).stdout
        return ifb not in shown

    eventually(gone, "the ifb of a link that is gone is left")


@pytest.mark.native
def test_what_somebody_changes_is_drift_and_mended_by_the_next_agent(own_agent):
    agent = own_agent
    one = agent.launch("sleep", "1000", limits={"net_rate_in_bits": 5 * M, "net_priority": 7})
    other = agent.launch("sleep", "1000")
    assert limits(agent, one)[2] == []
    third = agent.launch("sleep", "1000")
    rate = ("tbf", "burst", "20k", "latency", "50ms", "rate")
    for container, handle, value in (
        (one, "1", "9mbit"),
        (other, "f", "8mbit"),
        (third, "1", "7mbit"),
    ):
        place = ("dev", link(agent, container), "root", "handle", f"{handle}:")
        subprocess.run(["tc", "qdisc", "replace", *place, *rate, value], check=True)
    (drift,) = limits(agent, one)[2]
    assert drift == {"name": "net_rate_in_bits", "asked": 5 * M, "held": 9 * M}
    agent.kill9()
    agent.start()
    eventually(lambda: limits(agent, one)[2] == [])
    assert limits(agent, one)[1]["net_priority"] == 7
    shown = subprocess.run(["tc", "qdisc"], check=True, capture_output=True, text=True).stdout
    assert "9Mbit" not in shown
    assert "8Mbit" not in shown, "a rest of a change that was cut short"
    assert "7Mbit" in shown, "somebody else's, on a link that has no limit"


@pytest.mark.native
@pytest.mark.parametrize("network", ["host", "none"])
@pytest.mark.parametrize("flag", ["--net-rate-in", "--net-rate-out", "--net-priority"])
def test_refused_where_there_is_no_interface(agent, nothing_made, network, flag):
    value = "5" if flag == "--net-priority" else "5m"
    done = agent.cli("run", "--rm", "--network", network, flag, value, "alpine", "true")
    assert done.returncode == 125
    assert done.stderr.count("\n") == 1
    assert flag.removeprefix("--").replace("-", "_") in done.stderr


@pytest.mark.native
@pytest.mark.parametrize("text", ["fast", "5x", "-3", "1_0m", "100", "2000g"])
def test_what_is_no_rate(agent, nothing_made, text):
    done = agent.cli("run", "--rm", f"--net-rate-in={text}", "alpine", "true")
    assert done.returncode == 125
    assert "rate" in done.stderr


@pytest.mark.native
def test_a_cgroup_by_itself_has_no_rate(agent, running):
    path = agent.detail(running)["cgroup_path"]
    done = agent.cli("cgroup", "set", "--net-rate-in", "5m", path)
    assert done.returncode == 1
    assert done.stderr == (
        "cgagent: limit net_rate_in_bits: no cgroup has it; it is one of containers in networks of "
        "the agent\n"
    )


@pytest.mark.native
def test_who_deletes_one_of_its_interfaces_does_not_save_the_others(agent, container, network):
    """Neither from their limits nor from being disconnected."""
    network("blue")
    one = container("sleep", "1000", networks=[{"network": "bridge"}, {"network": "blue"}])
    links_of(agent, one, "delete", "eth0")
    changed = agent.cli("update", "--net-rate-out", "5m", one)
    assert changed.returncode == 0, changed.stderr
    assert agent.detail(one)["limits_held"]["net_rate_out_bits"] == 5 * M
    for name in ("bridge", "blue"):
        assert agent.cli("network", "disconnect", name, one).returncode == 0
    assert "eth" not in links_of(agent, one)


@pytest.mark.parametrize("harm", ["deleted", "renamed"])
def test_who_hides_an_interface_leaves_a_network_all_the_same(agent, container, network, harm):
    """The default route and the ports cannot go there, as far as that is its own doing."""
    network("blue")
    ports = [{"container_port": 80, "host_port": 8097}]
    both = [{"network": "bridge"}, {"network": "blue"}]
    one = container("sleep", "1000", ports=ports, networks=both)
    links_of(agent, one, "set", "eth1", "down")
    hide = ("delete", "eth1") if harm == "deleted" else ("set", "eth1", "name", "mine")
    links_of(agent, one, *hide)
    done = agent.cli("network", "disconnect", "bridge", one)
    assert (done.returncode, done.stderr) == (0, "")
    assert "eth0" not in links_of(agent, one)
    assert [p["network"] for p in agent.detail(one)["networks"]] == ["blue"]


def test_figures_of_networks(agent, container):
    port = {"container_port": 80, "host_port": 8097}
    one = container(
        *("nc", "-lk", "-p", "80", "-e", "echo", "hello"),
        name="counted",
        ports=[port],
        limits={"net_rate_in_bits": 5 * M},
    )
    for _ in range(2):
        eventually(lambda: heard("127.0.0.1", 8097) == "hello\n")

    def figures():
        return agent.client.request("GET", f"/v1/containers/{one}/stats")

    def ports():
        return figures()["ports"]

    eventually(lambda: ports()[0]["connections"] >= 2)
    (shown,) = ports()
    assert (shown["host"], shown["host_port"], shown["container_port"]) == (EVERY, 8097, 80)
    eventually(lambda: figures()["connections"], timeout_s=30)
    assert sum(family["listen"] for family in figures()["connections"].values()) == 1
    text = get(agent)[2]
    for series in (
        r'cgagent_container_port_connections_total{.*name="counted".*port="8097".*} [2-9]',
        r'cgagent_container_network_rate_limit_bytes{.*name="counted".*direction="in"} 625000',
        r'container_network_receive_bytes_total{.*name="counted".*"eth0",network="bridge"} \d+',
        r'container_network_tcp6?_usage_total{.*name="counted".*tcp_state="listen"} 1',
        r'cgagent_network_dropped_packets_total{rule="unasked"} \d+',
    ):
        assert re.search(series, text), series
