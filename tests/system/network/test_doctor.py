"""What the doctor finds on a host, and that its commands mend it."""

from __future__ import annotations

import shlex
import shutil
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING

import pytest

from cgagent.network import doctor
from cgagent.network.firewall import Firewall
from cgagent.network.values import Bridge, Publication
from tests.world import debian, lan
from tests.world.hostfirewalls import Docker, Firewalld, Ufw
from tests.world.hosts import Host, cable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.system

HOST, HOST6 = "192.0.2.1", "2001:db8::1"
BRIDGE = Bridge(
    network="1",
    name="cgt1",
    addresses=(ip_interface("10.88.1.1/24"), ip_interface("fd00:88:1::1/64")),
)
_PATIENCE_S, _SILENCE_S = 10, 0.3


class Site:
    """A host with a bridge, a container that a port leads to, and a neighbour."""

    def __init__(self, slowness: float) -> None:
        self._slowness = slowness
        self.host, self.neighbour = Host(), Host()
        cable(
            *(self.host, (f"{HOST}/24", f"{HOST6}/64")),
            *(self.neighbour, ("192.0.2.2/24", "2001:db8::2/64")),
        )
        lan.make_bridge(self.host, BRIDGE)
        self.container = lan.container(self.host, BRIDGE, 2)
        everywhere = (("0.0.0.0", 80), ("::", 80))  # noqa: S104
        self._server = lan.Server(self.container, "there", *everywhere)
        self.firewall = Firewall(self.host.fd)
        self.firewall.load(
            [BRIDGE],
            [
                Publication(
                    protocol="tcp",
                    host=None,
                    host_port=8080,
                    container=ip_address(address),
                    container_port=80,
                    bridge=BRIDGE.name,
                )
                for address in ("10.88.1.2", "fd00:88:1::2")
            ],
        )
        for address in ("10.88.1.2", "fd00:88:1::2"):
            lan.await_server(self.host, address)
        lan.bridge_netfilter(self.host, on=False)
        self.host.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
        self.host.run("sysctl", "-qw", f"net.ipv4.conf.{BRIDGE.name}.rp_filter=0")

    def close(self) -> None:
        self.firewall.close()
        lan.close((self._server, self.container, self.neighbour, self.host))

    def findings(self) -> list[doctor.Finding]:
        return doctor.findings([BRIDGE], self.host.fd)

    def mend(self) -> None:
        """Run what the doctor says."""
        for finding in self.findings():
            for command in finding.commands:
                self.host.run(*shlex.split(command))

    def answers(self, address: str, *, expected: bool) -> bool:
        patience_s = self._slowness * (_PATIENCE_S if expected else _SILENCE_S)
        said = lan.ask(self.neighbour, "tcp", address, 8080, patience_s)
        return said not in {None, lan.REFUSED}


@pytest.fixture
def site(slowness: float) -> Iterator[Site]:
    debian.install("libnftables1", "nftables", "iptables", "iproute2", "procps")
    made = Site(slowness)
    yield made
    made.close()


def test_a_healthy_host_has_no_findings(site: Site) -> None:
    assert site.findings() == []
    assert site.answers(HOST, expected=True)


def _needs(program: str, site: Site, *arguments: str) -> None:
    """Skip where the kernel has not this interface of iptables."""
    done = site.host.popen(program, *arguments, stdout=-1, stderr=-1)
    done.communicate()
    if done.returncode:
        pytest.skip(f"the kernel has nothing for {program}")


@pytest.mark.native
@pytest.mark.parametrize(
    ("program", "address"),
    [
        ("iptables-nft", HOST),
        ("ip6tables-nft", HOST6),
        ("iptables-legacy", HOST),
        ("ip6tables-legacy", HOST6),
    ],
)
def test_a_forward_policy_that_drops_is_named_and_mended(
    site: Site, program: str, address: str
) -> None:
    _needs(program, site, "-P", "FORWARD", "DROP")
    assert not site.answers(address, expected=False)
    (finding,) = site.findings()
    assert "FORWARD" in finding.object
    assert "no published port is reachable" in finding.cause
    assert finding.commands == (
        f"{program} -I FORWARD -i cgt1 -j ACCEPT",
        f"{program} -I FORWARD -o cgt1 -j ACCEPT",
    )
    site.mend()
    assert site.answers(address, expected=True)
    assert site.findings() == []


@pytest.mark.native
def test_beside_docker_the_chain_for_its_users_is_named(
    site: Site, data_root: Path, slowness: float
) -> None:
    site.host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")  # docker drops what it makes possible
    docker = Docker(site.host, data_root, slowness)
    try:
        assert not site.answers(HOST, expected=False)
        (finding,) = site.findings()
        assert finding.object == "chain FORWARD of table ip filter"
        assert finding.commands[0] == "iptables-nft -I DOCKER-USER -i cgt1 -j ACCEPT"
        site.mend()
        assert site.answers(HOST, expected=True)
        docker.restart()
        assert site.answers(HOST, expected=True)
        assert site.findings() == []
        assert not site.firewall.heed()
    finally:
        docker.close()


@pytest.mark.native
def test_a_table_of_the_operators_own_is_named_and_mended(site: Site) -> None:
    site.host.run("nft", "add table inet mine")
    site.host.run(
        "nft", "add chain inet mine through { type filter hook forward priority 5; policy drop; }"
    )
    assert not site.answers(HOST, expected=False)
    (finding,) = site.findings()
    assert finding.object == "chain through of table inet mine"
    site.mend()
    assert site.answers(HOST, expected=True)
    assert site.findings() == []


@pytest.mark.native
def test_ufw_is_named_and_mended_by_its_own_commands(site: Site, data_root: Path) -> None:
    ufw = Ufw(site.host, data_root)
    try:
        assert not site.answers(HOST, expected=False)
        for finding in site.findings():
            for command in finding.commands:
                ufw.run(command)
        assert site.answers(HOST, expected=True)
        assert site.answers(HOST6, expected=True)
        assert site.findings() == []
        ufw.run("ufw reload")
        assert site.answers(HOST, expected=True)
    finally:
        ufw.close()


def test_an_input_policy_that_drops_is_named_and_mended(site: Site) -> None:
    site.host.run("iptables-nft", "-P", "INPUT", "DROP")
    assert site.answers(HOST, expected=True)
    (finding,) = site.findings()
    assert "do not reach services of the host itself" in finding.cause
    server = lan.Server(site.host, "host", ("10.88.1.1", 9000))
    try:
        site.mend()
        assert lan.ask(site.container, "tcp", "10.88.1.1", 9000, _PATIENCE_S) == "host 10.88.1.2"
    finally:
        server.close()
    assert site.findings() == []


@pytest.mark.native
@pytest.mark.parametrize(
    ("setting", "bad", "good"),
    [
        ("net.ipv4.ip_forward", "0", "1"),
        ("net.ipv6.conf.all.forwarding", "0", "1"),
        ("net.ipv4.conf.all.rp_filter", "1", None),
        ("net.ipv4.conf.cgt1.rp_filter", "1", "2"),
        ("net.bridge.bridge-nf-call-iptables", "1", "0"),
        ("net.bridge.bridge-nf-call-ip6tables", "1", "0"),
    ],
)
def test_a_setting_is_named_and_mended(
    site: Site, setting: str, bad: str, good: str | None
) -> None:
    site.host.run("sysctl", "-qw", f"{setting}={bad}")
    (finding,) = site.findings()
    if good is not None:
        assert finding.commands == (f"sysctl -w {setting}={good}",)
    site.mend()
    assert site.findings() == []


@pytest.mark.native
def test_firewalld_without_a_zone_for_the_bridge_is_named_and_mended(
    site: Site, data_root: Path, slowness: float
) -> None:
    server = lan.Server(site.neighbour, "out there", ("192.0.2.2", 80))
    firewalld = Firewalld(site.host, data_root, slowness)
    try:
        assert site.answers(HOST, expected=True)
        assert lan.ask(site.container, "tcp", "192.0.2.2", 80, _SILENCE_S) is None
        (finding,) = site.findings()
        assert finding.object == "firewalld"
        for command in finding.commands:
            firewalld.run(command)
        for reload in ("--reload", "--complete-reload"):
            assert site.findings() == []
            assert lan.ask(site.container, "tcp", "192.0.2.2", 80, _PATIENCE_S) is not None
            assert site.answers(HOST, expected=True)
            assert firewalld.run(f"firewall-cmd {reload}") == "success"
            assert not site.firewall.heed()
    finally:
        firewalld.close()
        server.close()


@pytest.mark.native
def test_a_missing_library_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.Nftables.__init__, "__defaults__", (None, "libnftables.so.0"))
    (finding,) = site.findings()
    assert "libnftables.so.0 cannot be loaded" in finding.object
    assert finding.commands == ("apt-get install libnftables1",)


@pytest.mark.native
def test_nothing_is_changed(site: Site) -> None:
    assert shutil.which("nft")
    site.host.run("iptables-nft", "-P", "FORWARD", "DROP")
    before = site.host.run("nft", "list", "ruleset")
    assert site.findings()
    assert site.host.run("nft", "list", "ruleset") == before
