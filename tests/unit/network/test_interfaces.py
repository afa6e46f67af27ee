"""Names, MACs and announcements, which need no kernel."""

import struct
from ipaddress import IPv4Address, IPv6Address, IPv6Interface, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.network.announce import advertisement, arp
from cgagent.network.interfaces import (
    checked_name,
    mac_of,
    new_host_name,
    with_link_local,
)

MAC = "02:42:0a:05:01:02"


def test_the_mac_of_an_ipv4_address_has_the_address_in_it():
    assert mac_of(IPv4Address("172.17.0.2")) == "02:42:ac:11:00:02"


@given(st.integers(0, 2**128 - 2**32), st.integers(1, 2**32 - 1))
def test_neighbours_in_an_ipv6_subnet_have_other_macs(number, distance):
    one = number >> 32 << 32
    assert mac_of(IPv6Address(one)) != mac_of(IPv6Address(one + distance))
    assert mac_of(IPv6Address(one)).startswith("02:42:")


def test_a_host_name_fits_and_is_another_each_time():
    names = {new_host_name() for _ in range(1000)}
    assert len(names) == 1000
    assert {len(name) for name in names} == {13}
    assert all(checked_name(name) == name for name in names)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "all", "default", "a/b", "a b", "br%d", "a:1", "sixteen-letters-", "é" * 8],
)
def test_a_name_that_no_interface_can_have_is_refused(name):
    with pytest.raises(InvalidInputError, match="invalid interface name"):
        checked_name(name)


def test_the_link_local_address_is_the_one_of_the_mac():
    six, four = ip_interface("fd00::2/64"), ip_interface("10.5.1.2/16")
    assert with_link_local((four,), MAC) == (four,)
    assert with_link_local((four, six), MAC) == (
        four,
        six,
        IPv6Interface("fe80::42:aff:fe05:102/64"),
    )


def test_a_gratuitous_arp_asks_everybody_for_its_own_address():
    frame = arp(MAC, IPv4Address("10.5.1.2"))
    own = bytes.fromhex("02420a050102")
    assert frame[:14] == b"\xff" * 6 + own + b"\x08\x06"
    assert frame[14:] == (
        bytes.fromhex("0001080006040001") + own + bytes([10, 5, 1, 2]) + bytes(6)
        + bytes([10, 5, 1, 2])
    )  # fmt: skip


@given(st.integers(0, 2**128 - 1))
def test_an_advertisement_has_a_right_checksum(number):
    frame = advertisement(MAC, IPv6Address(number))
    packet = frame[14:]
    length, following, hops = struct.unpack("!HBB", packet[4:8])
    assert (length, following, hops) == (len(packet) - 40, 58, 255)
    pseudo = packet[8:40] + struct.pack("!II", length, following) + packet[40:]
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    assert total % 0xFFFF == 0
    assert frame[:6] == bytes.fromhex("333300000001")
    assert packet[8:24] == packet[48:64] == IPv6Address(number).packed
