"""What a packet is answered with: nothing a client can send breaks it or gets a wrong answer."""

import struct

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cgagent.network.names.answers import answer
from cgagent.network.names.book import Book
from cgagent.network.names.packets import Query, rcode_if_answers
from cgagent.network.names.values import LinkedName, Member, Place


def place(network, names, *addresses):
    return Place(network=network, names=tuple(names.split()), addresses=addresses)


BOOK = Book()
ME = BOOK.put(
    Member(
        container="me",
        name="me",
        places=(place("n1", "me", "10.1.0.2"), place("n2", "me", "10.2.0.2")),
        links=(
            LinkedName(alias="friend", target="db-id"),
            LinkedName(alias="pal", target="web"),
            LinkedName(alias="gone", target="nobody"),
            LinkedName(alias="stranger", target="far-id"),
            LinkedName(alias="cache", target="db-id"),
        ),
    )
)
BOOK.put(
    Member(
        container="db-id",
        name="db",
        places=(
            place("n1", "db 0123456789ab all db.prod", "10.1.0.3", "fd01::3"),
            place("n3", "db", "10.3.0.3"),
        ),
    )
)
BOOK.put(Member(container="web-id", name="web", places=(place("n2", "web all", "10.2.0.4"),)))
BOOK.put(Member(container="cache-id", name="cache", places=(place("n1", "cache", "10.1.0.9"),)))
BOOK.put(Member(container="far-id", name="far", places=(place("n3", "far all", "10.3.0.5"),)))
INSIDE = BOOK.put(
    Member(container="in", name="in", places=(place("n1", "in", "10.1.0.6"),), forwards=False)
)


def asked(name, kind="A", viewer=ME, *, udp=True, **more):
    """The answer as dnspython reads it; None: others are asked."""
    query = dns.message.make_query(name, kind, **more)
    found = answer(query.to_wire(), BOOK, viewer, udp=udp)
    if isinstance(found, Query):
        return None
    read = dns.message.from_wire(found)
    assert query.is_response(read)
    return read


def texts(message):
    return sorted(record.to_text() for rrset in message.answer for record in rrset)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("db", "A", ["10.1.0.3"]),
        ("DB.", "A", ["10.1.0.3"]),
        ("db", "AAAA", ["fd01::3"]),
        ("db", "ANY", ["10.1.0.3", "fd01::3"]),
        ("db.prod", "A", ["10.1.0.3"]),
        ("0123456789ab", "A", ["10.1.0.3"]),
        ("me", "A", ["10.1.0.2", "10.2.0.2"]),
        ("all", "A", ["10.1.0.3", "10.2.0.4"]),
        ("web", "AAAA", []),
        ("db", "MX", []),
        ("friend", "A", ["10.1.0.3"]),
        ("pal", "A", ["10.2.0.4"]),
        ("cache", "A", ["10.1.0.3"]),
        ("3.0.1.10.in-addr.arpa", "PTR", ["db."]),
        ("3.0.1.10.in-addr.arpa", "A", []),
        (dns.reversename.from_address("fd01::3"), "PTR", ["db."]),
    ],
)
def test_own_names(name, kind, expected):
    read = asked(name, kind)
    assert texts(read) == expected
    assert read.rcode() == dns.rcode.NOERROR
    assert read.flags & dns.flags.AA
    assert all(rrset.ttl == 0 for rrset in read.answer)


@pytest.mark.parametrize("name", ["gone", "stranger"])
def test_a_link_to_nobody_stays_here(name):
    assert asked(name).rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("name", ["far", "example.org", "x.db", "5.0.3.10.in-addr.arpa", "."])
def test_other_names_are_others_business(name):
    assert asked(name) is None
    assert asked(name, viewer=INSIDE).rcode() == dns.rcode.REFUSED


def test_links_are_of_one_alone():
    assert asked("friend", viewer=INSIDE).rcode() == dns.rcode.REFUSED
    assert texts(asked("cache", viewer=INSIDE)) == ["10.1.0.9"]


def test_the_order_is_another_one_now_and_then():
    first = {asked("all").answer[0][0].to_text() for _ in range(200)}
    assert first == {"10.1.0.3", "10.2.0.4"}


def test_edns():
    read = asked("db", use_edns=0, want_dnssec=True, payload=4000)
    assert read.edns == 0
    assert read.ednsflags & dns.flags.DO
    assert texts(read) == ["10.1.0.3"]
    assert asked("db").edns == -1
    for name in ("db", "example.org"):
        assert asked(name, use_edns=1).rcode() == dns.rcode.BADVERS


@pytest.mark.parametrize(("room", "fit"), [(None, 30), (1232, 74), (9000, 74)])
def test_what_has_no_room_is_left_out_and_said_so(room, fit):
    book = Book()
    addresses = [f"10.9.{n}.1" for n in range(200)]
    viewer = book.put(Member(container="x", name="x", places=(place("n", "abcdef", *addresses),)))
    edns = {} if room is None else {"use_edns": 0, "payload": room}
    query = dns.message.make_query("abcdef", "A", **edns).to_wire()
    short = dns.message.from_wire(answer(query, book, viewer, udp=True))
    assert short.flags & dns.flags.TC
    assert len(texts(short)) == fit
    long = dns.message.from_wire(answer(query, book, viewer, udp=False))
    assert not long.flags & dns.flags.TC
    assert texts(long) == sorted(addresses)


def rcode_of(data):
    return dns.message.from_wire(answer(data, BOOK, ME, udp=True)).rcode()


def test_other_classes_and_operations():
    query = dns.message.make_query("db", "TXT", rdclass="CH").to_wire()
    assert rcode_of(query) == dns.rcode.REFUSED
    update = dns.message.make_query("db", "A")
    update.set_opcode(dns.opcode.STATUS)
    assert rcode_of(update.to_wire()) == dns.rcode.NOTIMP


HEADER = struct.Struct("!6H")


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"\xc0\x0c\0\1\0\1",  # the name is where it stands itself
        b"\1a\xc0\x0c\0\1\0\1",
        b"\1a\xc0\x0e\0\1\0\1",
        b"\xff\xff\0\1\0\1",
        b"\x40a\0\0\1\0\1",  # a kind of label that there is none of
        b"\2a\0\0\1\0\1",
        b"\3www" * 70 + b"\0\0\1\0\1",  # longer than 255 bytes
        b"\1a\0\0\1\0",
    ],
)
def test_a_question_that_is_none(rest):
    assert rcode_of(HEADER.pack(7, 0x100, 1, 0, 0, 0) + rest) == dns.rcode.FORMERR


def test_too_much_in_one_query():
    query = dns.message.make_query("db", "A").to_wire()
    for counts in ((0, 0, 0, 0), (2, 0, 0, 0), (1, 1, 0, 0), (1, 0, 3, 2), (1, 0, 0, 0xFFFF)):
        assert rcode_of(HEADER.pack(7, 0x100, *counts) + query[12:]) == dns.rcode.FORMERR
    assert rcode_of(query + bytes(4096)) == dns.rcode.FORMERR


def test_answers_are_not_answered():
    query = dns.message.make_query("db", "A")
    assert answer(dns.message.make_response(query).to_wire(), BOOK, ME, udp=True) is None
    assert answer(b"", BOOK, ME, udp=True) is None
    assert answer(query.to_wire()[:11], BOOK, ME, udp=True) is None


LABELS = st.sampled_from([b"db", b"DB", b"all", b"me", b"far", b"prod", b"a.b", b"", b"\xff"])
NAMES = st.lists(LABELS | st.binary(min_size=1, max_size=63), max_size=6).map(
    lambda labels: b"".join(bytes((len(x),)) + x for x in labels if x) + b"\0"
)
FIELDS = st.sampled_from([0, 1, 12, 28, 41, 255]) | st.integers(0, 0xFFFF)
FLAGS = st.sampled_from([0, 0x100, 0x120]) | FIELDS
COUNTS = (st.sampled_from([1, 0, 2]), st.sampled_from([0, 1]), st.integers(0, 3), st.integers(0, 3))
OPTIONS = st.builds(
    lambda size, ttl, data: b"\0" + struct.pack("!HHIH", 41, size, ttl, len(data)) + data,
    FIELDS,
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=20),
)
QUERIES = st.builds(
    lambda head, name, kind, klass, rest: head + name + struct.pack("!HH", kind, klass) + rest,
    st.builds(HEADER.pack, FIELDS, FLAGS, *COUNTS),
    NAMES | st.binary(max_size=40),
    FIELDS,
    FIELDS,
    st.just(b"") | st.binary(max_size=40) | OPTIONS,
)
OWN = {
    b"db": {"10.1.0.3", "fd01::3"},
    b"all": {"10.1.0.3", "10.2.0.4"},
    b"me": {"10.1.0.2", "10.2.0.2"},
    b"db.prod": {"10.1.0.3", "fd01::3"},
}
"""As ME sees them."""


@given(data=QUERIES | st.binary(max_size=600), udp=st.booleans())
@example(data=HEADER.pack(1, 0x100, 1, 0, 0, 0) + b"\2db\0\0\1\0\1", udp=True)
@example(data=HEADER.pack(1, 0x100, 1, 0, 0, 0) + b"\7db.prod\0\0\1\0\1", udp=True)
def test_whatever_comes(data, udp):
    found = answer(data, BOOK, ME, udp=udp)
    if found is None:
        assert len(data) < 12 or data[2] & 0x80
        return
    if isinstance(found, Query):
        (question,) = dns.message.from_wire(data, question_only=True).question
        assert question.name.to_text(omit_final_dot=True).lower().encode() not in OWN
        return
    assert not udp or len(found) <= 1232
    read = dns.message.from_wire(found)
    assert read.id == int.from_bytes(data[:2], "big")
    assert read.flags & dns.flags.QR
    if read.answer:
        (question,) = read.question
        assert data[12:].startswith(question.name.to_wire())
        own = OWN[question.name.to_text(omit_final_dot=True).lower().encode()]
        of_kind = {a for a in own if question.rdtype == (28 if ":" in a else 1)}
        assert set(texts(read)) == (own if question.rdtype == dns.rdatatype.ANY else of_kind)


@given(data=st.binary(max_size=100), at=st.integers(0, 40), byte=st.binary(max_size=2))
def test_only_an_answer_to_the_query_is_one(data, at, byte):
    message = dns.message.make_query("Www.Example.org", "A")
    query = answer(message.to_wire(), BOOK, ME, udp=True)
    assert rcode_if_answers(data, query, b"\1\2") is None or data[:2] == b"\1\2"
    response = dns.message.make_response(message)
    response.set_rcode(dns.rcode.NXDOMAIN)
    response.id = 0x0102
    wire = response.to_wire()
    assert rcode_if_answers(wire, query, b"\1\2") == dns.rcode.NXDOMAIN
    assert rcode_if_answers(wire.replace(b"Www", b"wWW"), query, b"\1\2") == dns.rcode.NXDOMAIN
    for other in (wire[:-1], wire.replace(b"Www", b"Wwx"), wire[:-4] + b"\0\x1c\0\1", wire[:20]):
        assert rcode_if_answers(other, query, b"\1\2") is None
    assert rcode_if_answers(wire, query, b"\1\3") is None
    assert rcode_if_answers(message.to_wire(), query, message.to_wire()[:2]) is None
    changed = wire[:at] + byte + wire[at + len(byte) :]
    rcode_if_answers(changed, query, b"\1\2")
