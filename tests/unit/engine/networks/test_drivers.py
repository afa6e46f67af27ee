"""In what the drivers of networks differ."""

import pytest

from cgagent.engine.networks.network import Network, plan
from cgagent.engine.networks.spec import NetworkSpec, SubnetSpec
from cgagent.errors import CgagentError, ConflictError
from cgagent.network.values import Bridge, Child, Parent


def made(driver, name="blue", others=(), **options):
    subnet = SubnetSpec(subnet=f"10.{len(name)}.0.0/24")
    spec = NetworkSpec(name=name, driver=driver, subnets=(subnet,), options=options)
    found = plan(spec, "1" * 64, pools=(), others=others, host_subnets=tuple)
    return Network(id=name, created_ns=0, plan=found)


def test_the_hosts_part():
    bridge = made("bridge").side(1400)
    assert isinstance(bridge, Bridge)
    assert (bridge.name, bridge.mtu, bridge.child) == ("cg-111111111111", 1400, None)
    parent = made("macvlan", parent="eth0", mtu="1300").side(1400)
    assert parent == Parent(network="blue", name="eth0", child=Child("macvlan", "bridge"), mtu=1300)
    alone = made("ipvlan", ipvlan_mode="l3", ipvlan_flag="vepa").side(1400)
    assert isinstance(alone, Bridge)
    assert (alone.addresses, alone.internal) == ((), True)
    assert alone.child == Child("ipvlan", "l3", "vepa")


def test_default_routes():
    assert [str(g) for g in made("macvlan", parent="eth0").gateways] == ["10.4.0.1"]
    assert [str(g) for g in made("ipvlan", parent="eth0").gateways] == ["10.4.0.1"]
    assert [str(g) for g in made("ipvlan", parent="eth0", ipvlan_mode="l3s").gateways] == [
        "0.0.0.0"  # noqa: S104
    ]
    assert [made(d).is_internal for d in ("bridge", "macvlan", "ipvlan")] == [False, True, True]


@pytest.mark.parametrize(
    ("driver", "options", "there", "its_options"),
    [
        ("macvlan", {"macvlan_mode": "passthru"}, "macvlan", {}),
        ("macvlan", {}, "macvlan", {"macvlan_mode": "passthru"}),
        ("macvlan", {}, "ipvlan", {}),
        ("ipvlan", {}, "ipvlan", {}),
        ("ipvlan", {}, "macvlan", {}),
    ],
)
def test_who_cannot_share_a_parent(driver, options, there, its_options):
    first = made(there, parent="eth0", **its_options)
    assert made("macvlan", "other", [made("macvlan", parent="eth0")], parent="eth0")
    assert made(driver, "other", [first], parent="eth1", **options)
    with pytest.raises(ConflictError, match="network blue is already using interface eth0"):
        made(driver, "other", [first], parent="eth0", **options)


@pytest.mark.parametrize(
    ("driver", "option", "value"),
    [
        ("macvlan", "macvlan_mode", "l2"),
        ("macvlan", "ipvlan_mode", "l2"),
        ("macvlan", "publish_on", "127.0.0.1"),
        ("ipvlan", "ipvlan_mode", "bridge"),
        ("ipvlan", "ipvlan_flag", "l3"),
        ("ipvlan", "parent", "lo"),
        ("ipvlan", "parent", "../eth0"),
        ("bridge", "parent", "eth0"),
    ],
)
def test_options_that_are_none(driver, option, value):
    with pytest.raises(CgagentError, match=r"^(network option|requested|loopback|invalid)"):
        made(driver, **{option: value})
