"""What a network may be asked to be."""

import pytest

from cgagent.engine.networks.network import plan
from cgagent.engine.networks.spec import NetworkSpec, SubnetSpec
from cgagent.errors import CgagentError, ConflictError, InvalidInputError, UnsupportedError


def planned(*subnets, **more):
    spec = NetworkSpec(name="blue", subnets=subnets, **more)
    return plan(spec, "0" * 64, pools=(), others=(), host_subnets=tuple)


def test_one_subnet_of_each_family():
    found = planned(SubnetSpec(subnet="10.7.0.0/24"), SubnetSpec(subnet="fd07::/64"))
    assert [str(r.gateway) for r in found.ranges] == ["10.7.0.1", "fd07::1"]
    with pytest.raises(UnsupportedError, match="2 subnets of IPv4"):
        planned(SubnetSpec(subnet="10.7.0.0/24"), SubnetSpec(subnet="10.7.0.0/25"))


@pytest.mark.parametrize(
    "subnet",
    ["0.0.0.0/0", "127.0.0.0/16", "224.0.0.0/8", "::/0", "fe80::/64", "ff00::/8", "fd00::%1/64"],
)
def test_a_subnet_that_hosts_cannot_have(subnet):
    with pytest.raises(InvalidInputError, match=f"subnet '{subnet}' is not valid: "):
        planned(SubnetSpec(subnet=subnet))


@pytest.mark.parametrize("gateway", ["10.7.0.0", "10.7.0.255", "10.8.0.1", "fd07::1", "x"])
def test_a_gateway_that_no_host_can_be(gateway):
    with pytest.raises(InvalidInputError, match=gateway):
        planned(SubnetSpec(subnet="10.7.0.0/24", gateway=gateway))
    with pytest.raises(InvalidInputError, match="has a zone"):
        planned(SubnetSpec(subnet="fd07::/64", gateway="fd07::1%eth0"))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("mtu", "00001500999999"),
        ("mtu", "\uff11\uff15\uff10\uff10"),
        ("mtu", "67"),
        ("interface", "\xe9" * 15),
        ("interface", ".."),
        ("interface", "a%d"),
        ("interface", "all"),
        ("publish_on", "fe80::1%eth0"),
        ("icc", "perhaps"),
        ("vlan", "7"),
    ],
)
def test_an_option_that_could_not_be_met_is_refused_when_it_is_made(option, value):
    with pytest.raises(CgagentError, match=r"^(network option|publish_on|invalid interface)"):
        planned(SubnetSpec(subnet="10.7.0.0/24"), options={option: value})


def test_ipv6_needs_larger_packets():
    assert planned(SubnetSpec(subnet="10.7.0.0/24"), options={"mtu": "1279"})
    with pytest.raises(InvalidInputError, match="IPv6 needs 1280"):
        planned(
            SubnetSpec(subnet="10.7.0.0/24"),
            SubnetSpec(subnet="fd07::/64"),
            options={"mtu": "1279"},
        )


@pytest.mark.parametrize("name", ["host", "none", "default"])
def test_a_name_that_means_something_else(name):
    with pytest.raises(ConflictError, match="always there"):
        plan(NetworkSpec(name=name), "0" * 64, pools=(), others=(), host_subnets=tuple)
