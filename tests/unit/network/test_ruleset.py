"""Bridges and publications as elements of sets, and settings as sysctl spells them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from cgagent.network import ruleset, sysctl
from cgagent.network.values import Bridge, Publication

BRIDGE = Bridge(network="1", name="br-1.2", addresses=())
PORT = Publication(
    protocol="udp",
    host=None,
    host_port=53,
    container=ip_address("172.17.0.2"),
    container_port=5353,
    bridge="br-1.2",
)


@pytest.mark.parametrize(
    ("host", "container", "text"),
    [
        (None, "172.17.0.2", "port4 { 17 . 53 : 172.17.0.2 . 5353 }"),
        ("0.0.0.0", "172.17.0.2", "port4 { 17 . 53 : 172.17.0.2 . 5353 }"),  # noqa: S104
        ("127.0.0.1", "172.17.0.2", "addrport4 { 127.0.0.1 . 17 . 53 : 172.17.0.2 . 5353 }"),
        (None, "fd00::2", "port6 { 17 . 53 : fd00::2 . 5353 }"),
        ("::", "fd00::2", "port6 { 17 . 53 : fd00::2 . 5353 }"),
        ("2001:db8::1", "fd00::2", "addrport6 { 2001:db8::1 . 17 . 53 : fd00::2 . 5353 }"),
    ],
)
def test_a_port_is_one_element(host: str | None, container: str, text: str) -> None:
    port = replace(PORT, host=host and ip_address(host), container=ip_address(container))
    added = ruleset.added("t", [ruleset.of_publication(port)])
    assert added == f"add element inet t {text}\n"
    key = text.partition(" : ")[0]
    assert (
        ruleset.deleted("t", [ruleset.of_publication(port)]) == f"delete element inet t {key} }}\n"
    )


@pytest.mark.parametrize(
    ("bridge", "sets"),
    [
        (BRIDGE, {"bridges", "same", "masquerading"}),
        (replace(BRIDGE, masquerade=False), {"bridges", "same"}),
        (replace(BRIDGE, internal=True), {"bridges", "same", "internal"}),
    ],
)
def test_a_bridge_is_in_the_sets_of_what_it_may(bridge: Bridge, sets: set[str]) -> None:
    assert {element.set for element in ruleset.of_bridge(bridge)} == sets


def test_a_dot_in_an_interfaces_name_is_a_slash_for_sysctl() -> None:
    spelled = sysctl.spelled("ipv4/conf/br-1.2/rp_filter")
    assert spelled == "net.ipv4.conf.br-1/2.rp_filter"
