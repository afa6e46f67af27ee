"""Netlink in bytes: what is packed is unpacked as it was, and broken bytes are refused."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.network import netlink as nl

KINDS = st.integers(0, 0x3FFF)
VALUES = st.binary(max_size=70)


@given(st.dictionaries(KINDS, VALUES))
def test_attributes_come_back_as_they_went(members):
    data = b"".join(nl.attribute(kind, value) for kind, value in members.items())
    assert len(data) % 4 == 0
    assert nl.attributes(data) == members


@given(KINDS, st.dictionaries(KINDS, VALUES))
def test_so_do_nested_ones(kind, members):
    data = nl.nest(kind, *(nl.attribute(k, v) for k, v in members.items()))
    assert nl.attributes(nl.attributes(data)[kind]) == members


def test_a_value_that_no_length_can_tell_is_refused():
    assert nl.attributes(nl.attribute(3, bytes(65531))) == {3: bytes(65531)}
    with pytest.raises(ValueError, match="more than 65531"):
        nl.attribute(3, bytes(65532))


@given(
    st.lists(st.tuples(st.integers(16, 0xFFFF), VALUES, st.integers(0, 0xFFFF))),
    st.integers(0, 0xFFFFFF00),
)
def test_messages_of_odd_lengths_stay_apart(messages, first):
    batch = b"".join(
        nl.packed(nl.Message(kind, body, flags), first + n)
        for n, (kind, body, flags) in enumerate(messages)
    )
    assert [(r.kind, r.body, r.flags, r.sequence) for r in nl.received(batch)] == [
        (kind, body, flags | nl.NLM_F_REQUEST, first + n)
        for n, (kind, body, flags) in enumerate(messages)
    ]


@given(st.binary(max_size=80))
def test_random_bytes_are_read_or_refused_and_nothing_else(data):
    for read in (nl.attributes, lambda packet: list(nl.received(packet))):
        try:
            read(data)
        except ValueError as e:
            assert "netlink" in str(e)  # noqa: PT017


@given(st.dictionaries(KINDS, VALUES, min_size=1), st.data())
def test_a_cut_is_noticed_unless_it_is_between_two(members, data):
    packed = [nl.attribute(kind, value) for kind, value in members.items()]
    whole = b"".join(packed)
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    try:
        assert nl.attributes(cut).items() <= members.items()
    except ValueError:
        assert len(cut) not in {sum(map(len, packed[:n])) for n in range(len(packed) + 1)}


@pytest.mark.parametrize("capped", [True, False])
def test_the_kernels_words_are_read_behind_the_refused_message(capped):
    refused = nl.packed(nl.Message(16, b"odd"), 7)
    body = struct.pack("=i", -17) + (refused[:16] if capped else refused)
    answer = nl.Received(nl.NLMSG_ERROR, 0x200 | (0x100 if capped else 0), 7, body)
    words = nl.text(1, "there is one")
    assert nl.refusal(nl.Received(2, answer.flags, 7, body + words)) == (17, "there is one")
    assert nl.refusal(nl.Received(2, 0, 7, body)) == (17, "")


def test_a_refusal_says_what_was_to_be_done_and_the_kernels_words():
    error = nl.NetlinkError("make the bridge br0", 95, "Unknown device type")
    assert str(error) == (
        "cannot make the bridge br0: Operation not supported (Unknown device type)"
    )
    assert (error.kind, error.errno) == ("internal", 95)
