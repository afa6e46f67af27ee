"""Names come and go with their containers, and nothing is left of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.network.names.book import Book
from cgagent.network.names.packets import key_of
from cgagent.network.names.values import Member, Place

NETWORKS = st.sampled_from(["n1", "n2"])
NAMES = st.sampled_from(["a", "b", "A.b", "", "x" * 64, "ü", "..", "\0"])
ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"])
PLACES = st.builds(
    Place,
    network=NETWORKS,
    names=st.lists(NAMES, max_size=3).map(tuple),
    addresses=st.lists(ADDRESSES, max_size=2).map(tuple),
)
MEMBERS = st.builds(
    Member,
    container=st.sampled_from(["one", "two", "three"]),
    name=NAMES,
    places=st.lists(PLACES, max_size=3).map(tuple),
)


@given(puts=st.lists(MEMBERS, max_size=8))
def test_a_book_is_what_was_put_last(puts):
    book = Book()
    viewers = {member.container: book.put(member) for member in puts}
    for viewer in viewers.values():
        for name in ("a", "b", "a.b"):
            found = book.addresses(viewer, key_of(name))
            expected = {
                address
                for other in viewers.values()
                for place in other.member.places
                if place.network in viewer.networks and key_of(name) in map(key_of, place.names)
                for address in place.addresses
            }
            assert len(found or ()) == len(expected)
    for container in viewers:
        book.remove(container)
        book.remove(container)
    assert not book._networks


@pytest.mark.parametrize("name", ["x" * 64, "..", "a" * 63 + ".", "é" * 300, "\ud800"])
def test_a_name_that_dns_cannot_have_is_nobodys(name):
    key = key_of(name)
    assert key is None or max(map(len, key)) <= 63
