"""Subnets for networks, and addresses in them."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import ConflictError, InvalidInputError
from cgagent.network import ipam

net = ipaddress.ip_network
addr = ipaddress.ip_address


def test_the_first_subnet_that_overlaps_with_nothing():
    pools = (ipam.Pool.parse("172.28.0.0/14:20"), ipam.Pool.parse("10.201.0.0/16:24"))
    assert ipam.free_subnet(pools, []) == net("172.28.0.0/20")
    assert ipam.free_subnet(pools, [net("172.28.5.0/24"), net("fd00::/8")]) == net("172.28.16.0/20")
    assert ipam.free_subnet(pools, [net("172.16.0.0/12")]) == net("10.201.0.0/24")
    with pytest.raises(ConflictError, match=r"no IPv4 subnet.*--subnet"):
        ipam.free_subnet(pools, [net("172.16.0.0/12"), net("10.0.0.0/8")])


def test_subnets_of_ipv6_come_from_their_own_pools():
    pools = (ipam.Pool.parse("172.28.0.0/14:20"), ipam.Pool.parse("fd63::/48:64"))
    assert ipam.free_subnet(pools, [], 6) == net("fd63::/64")
    with pytest.raises(ConflictError, match="IPv6"):
        ipam.free_subnet(pools[:1], [], 6)


@pytest.mark.parametrize(
    "text", ["", "172.28.0.0/14", "172.28.0.1/14:20", "172.28.0.0/14:12", "10.0.0.0/8:31", "x:24"]
)
def test_what_is_no_pool(text):
    with pytest.raises(InvalidInputError, match="address pool"):
        ipam.Pool.parse(text)


def test_an_address_that_was_given_back_is_the_last_to_be_given_again():
    subnet, taken, last = net("10.0.0.0/29"), {addr("10.0.0.1")}, None
    given_ = []
    for _ in range(5):
        last = ipam.next_address(subnet, taken, last)
        taken.add(last)
        given_.append(str(last))
    assert given_ == [f"10.0.0.{n}" for n in range(2, 7)]
    with pytest.raises(ConflictError, match=r"no address of 10\.0\.0\.0/29 is free"):
        ipam.next_address(subnet, taken, last)
    taken -= {addr("10.0.0.2"), addr("10.0.0.5")}
    assert ipam.next_address(subnet, taken, addr("10.0.0.4")) == addr("10.0.0.5")
    assert ipam.next_address(subnet, taken, addr("10.0.0.5")) == addr("10.0.0.2")


@given(
    st.integers(22, 29).flatmap(
        lambda p: st.tuples(st.just(p), st.sets(st.integers(1, 2 ** (32 - p) - 2)))
    ),
    st.integers(0, 2**10),
)
def test_an_address_is_of_the_subnet_and_free(shape, after):
    prefix, numbers = shape
    subnet = net(f"10.1.0.0/{prefix}")
    taken = {subnet[n] for n in numbers}
    hosts = set(subnet.hosts())
    last = subnet[after] if after < subnet.num_addresses else None
    if hosts <= taken:
        with pytest.raises(ConflictError):
            ipam.next_address(subnet, taken, last)
    else:
        assert ipam.next_address(subnet, taken, last) in hosts - taken


def test_a_part_of_the_subnet():
    subnet, part = net("10.0.0.0/24"), net("10.0.0.128/30")
    taken = set()
    for _ in range(4):
        taken.add(ipam.next_address(subnet, taken, None, part))
    assert taken == set(part)
    with pytest.raises(ConflictError, match=r"10\.0\.0\.128/30"):
        ipam.next_address(subnet, taken, None, part)
    top = net("10.0.0.252/30")  # its last one is the subnet's broadcast address
    assert ipam.next_address(subnet, {top[0], top[1], top[2]} - {top[1]}, None, top) == top[1]
    with pytest.raises(ConflictError):
        ipam.next_address(subnet, {top[0], top[1], top[2]}, None, top)


def test_ipv6_has_no_broadcast_address():
    subnet = net("fd00::/126")
    assert ipam.next_address(subnet, {subnet[1], subnet[2]}, None) == subnet[3]
