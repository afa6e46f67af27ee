"""--network, --publish and the flags beside them, as docker spells them."""

import types

import pytest

from cgagent.cli import network_flags
from cgagent.errors import InvalidInputError

NOTHING = {
    **{key: [] for key in ("network", "publish", "expose", "network_alias", "link")},
    "link_local_ip": [],
    **dict.fromkeys(("ip", "ip6", "mac_address")),
    "publish_all": False,
}


def request(**given):
    return network_flags.request(types.SimpleNamespace(**{**NOTHING, **given}))


def port(container, host=0, address="", protocol="tcp", last=None):
    found = {"container_port": container, "host_port": host, "host_address": address}
    return {**found, "protocol": protocol, **({"host_port_last": last} if last else {})}


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [port(80)]),
        ("8080:80", [port(80, 8080)]),
        ("8080:80/UDP", [port(80, 8080, protocol="udp")]),
        ("127.0.0.1:8080:80", [port(80, 8080, "127.0.0.1")]),
        ("127.0.0.1::80", [port(80, 0, "127.0.0.1")]),
        ("[::1]:8080:80", [port(80, 8080, "[::1]")]),
        ("[fd00::1]::80", [port(80, 0, "[fd00::1]")]),
        ("8000-8001:90-91", [port(90, 8000), port(91, 8001)]),
        ("90-91", [port(90), port(91)]),
        ("8000-8010:90", [port(90, 8000, last=8010)]),
    ],
)
def test_publish(text, ports):
    assert network_flags.ports(text) == ports


@pytest.mark.parametrize(
    "text",
    ["", "x", "80:", "x:80", "80:90-89", "1-2:3-5", "80-", "-80", "8080:80:", "1-9999", "٨٠"],
)
def test_what_is_no_port(text):
    with pytest.raises(InvalidInputError, match="invalid"):
        network_flags.ports(text)


def test_nothing_is_asked_for_where_nothing_is_given():
    assert request() == {}


def test_networks_by_name_and_in_the_long_form():
    long = "name=blue,alias=db,alias=sql,ip=10.0.0.9,mac-address=02:42:0a:00:00:09"
    long += ",gw-priority=3,driver-opt=a=b"
    assert request(network=["red", long])["networks"] == [
        {"network": "red"},
        {
            "network": "blue",
            "aliases": ["db", "sql"],
            "address": "10.0.0.9",
            "mac": "02:42:0a:00:00:09",
            "gateway_priority": 3,
            "driver_options": {"a": "b"},
        },
    ]


def test_other_flags_are_about_the_first_network():
    given = {"network_alias": ["db"], "ip": "10.0.0.9", "link": ["other:o"]}
    first = {"aliases": ["db"], "address": "10.0.0.9", "links": ["other:o"]}
    assert request(network=["red", "blue"], **given)["networks"] == [
        {"network": "red", **first},
        {"network": "blue"},
    ]
    assert request(**given)["networks"] == [{"network": "bridge", **first}]


@pytest.mark.parametrize(
    "text", ["alias=x", "name=a,colour=red", "name=a,ip", "name=a,gw-priority=x"]
)
def test_a_long_form_that_is_none(text):
    with pytest.raises(InvalidInputError, match="--network"):
        request(network=[text])


def test_one_thing_said_twice():
    with pytest.raises(InvalidInputError, match="address is given by a flag of its own"):
        request(network=["name=a,ip=10.0.0.1"], ip="10.0.0.2")


def test_ports_without_effect_are_told(capsys):
    request(network=["host"], publish=["80:80"])
    assert "Published ports are discarded" in capsys.readouterr().err
    request(network=["host"])
    assert capsys.readouterr().err == ""
