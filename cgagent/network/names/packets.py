"""DNS's bytes (RFC 1035, RFC 6891): what of a query matters here, and answers of our own.

Names are parsed by dnspython, which knows compression and its traps. An answer repeats the bytes of
the question, and its records point to the name there.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import dns.exception
import dns.name
import dns.wire

Key = tuple[bytes, ...]
"""A name's labels in lower case, the root's at the end."""

A: Final = 1
PTR: Final = 12
AAAA: Final = 28
ANY: Final = 255
INTERNET: Final = 1
"""The class."""

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
_BADVERS: Final = 16

QUERY_MAX: Final = 4096
"""Bytes of a query; longer ones are not answered."""
_RECORDS_MAX: Final = 4
"""Beside the question: OPT, a signature."""
_UDP_BYTES: Final = 512
_EDNS_BYTES: Final = 1232

_HEADER: Final = struct.Struct("!6H")
_RECORD: Final = struct.Struct("!HHIH")
_POINTER: Final = struct.Struct("!HHHIH")
_TO_QUESTION: Final = 0xC000 | _HEADER.size
_OPT: Final = 41
_IS_ANSWER: Final = 0x8000
_OPCODE: Final = 0x7800
_AUTHORITATIVE: Final = 0x0400
_TRUNCATED: Final = 0x0200
_RECURSION_DESIRED: Final = 0x0100
_RECURSION: Final = 0x0080
_RCODE: Final = 0xF
_DNSSEC_OK: Final = 0x8000


class Query(NamedTuple):
    data: bytes
    key: Key
    kind: int
    """A, AAAA, ..."""
    klass: int
    end: int
    """Of the question in `data`."""
    edns: tuple[int, int] | None
    """Version and flags; None: without EDNS."""
    room: int
    """Bytes of an answer by UDP."""

    @property
    def question(self) -> bytes:
        return self.data[_HEADER.size : self.end]


class MalformedError(Exception):
    """A packet that is no query of one question. `answer` says so to its sender, if any does."""

    def __init__(self, answer: bytes | None) -> None:
        super().__init__()
        self.answer = answer


def key_of(name: str) -> Key | None:
    """None: DNS cannot have such a name."""
    try:
        return _key(dns.name.from_text(name))
    except (dns.exception.DNSException, UnicodeError):
        return None


def wire_of(key: Key) -> bytes:
    """A name without compression."""
    return b"".join(bytes((len(label),)) + label for label in key)


def parse(data: bytes) -> Query:
    """Raises MalformedError."""
    if len(data) < _HEADER.size:
        raise MalformedError(None)
    _, flags, questions, answers, *others = _HEADER.unpack_from(data)
    if flags & _IS_ANSWER:
        raise MalformedError(None)  # two servers would answer each other without end
    if flags & _OPCODE:
        raise MalformedError(_bare(data, NOTIMP))
    if len(data) > QUERY_MAX or questions != 1 or answers or sum(others) > _RECORDS_MAX:
        raise MalformedError(_bare(data, FORMERR))
    try:
        return _parsed(data, sum(others))
    except dns.exception.DNSException:
        raise MalformedError(_bare(data, FORMERR)) from None


def _parsed(data: bytes, records: int) -> Query:
    parser = dns.wire.Parser(data, _HEADER.size)
    key = _key(parser.get_name())
    kind, klass = parser.get_struct("!HH")
    end, edns, room = parser.current, None, _UDP_BYTES
    for _ in range(records):
        parser.get_name()
        its_kind, size, options, length = parser.get_struct(_RECORD.format)
        parser.get_bytes(length)
        if its_kind == _OPT:
            edns = (options >> 16 & 0xFF, options & 0xFFFF)
            room = min(max(size, _UDP_BYTES), _EDNS_BYTES)
    return Query(data, key, kind, klass, end, edns, room)


def _key(name: dns.name.Name) -> Key:
    return tuple(map(bytes.lower, name.labels))


def _bare(data: bytes, rcode: int) -> bytes:
    """The answer to what was not understood: a header."""
    number, flags = struct.unpack_from("!HH", data)
    kept = flags & (_OPCODE | _RECURSION_DESIRED)
    return _HEADER.pack(number, _IS_ANSWER | kept | _RECURSION | rcode, 0, 0, 0, 0)


def answer(
    query: Query, rcode: int, records: list[tuple[int, bytes]] | None = None, *, udp: bool
) -> bytes:
    """Records are a type and the data each; a time to live is 0. What has no room is left out.

    With `records`, no matter if there are any, the answer is authoritative.
    """
    if query.edns is not None and query.edns[0] > 0:
        rcode, records = _BADVERS, None
    body = query.question
    option = _option(query, rcode)
    room = query.room if udp else 0xFFFF
    count, truncated = 0, 0
    for kind, content in records or ():
        record = _POINTER.pack(_TO_QUESTION, kind, INTERNET, 0, len(content)) + content
        if _HEADER.size + len(body) + len(record) + len(option) > room:
            truncated = _TRUNCATED
            break
        body += record
        count += 1
    number, flags = struct.unpack_from("!HH", query.data)
    flags = flags & _RECURSION_DESIRED | _IS_ANSWER | _RECURSION | truncated | rcode & _RCODE
    if records is not None:
        flags |= _AUTHORITATIVE
    return _HEADER.pack(number, flags, 1, count, 0, bool(option)) + body + option


def _option(query: Query, rcode: int) -> bytes:
    if query.edns is None:
        return b""
    flags = query.edns[1] & _DNSSEC_OK
    return b"\0" + _RECORD.pack(_OPT, _EDNS_BYTES, rcode >> 4 << 24 | flags, 0)


def renumbered(data: bytes, number: bytes) -> bytes:
    """The message with another id."""
    return number + data[2:]


def rcode_if_answers(data: bytes, query: Query, number: bytes) -> int | None:
    """The code of a server's answer; None: this is no answer to the query with this id."""
    if len(data) < query.end or data[:2] != number:
        return None
    _, flags, questions, *_ = _HEADER.unpack_from(data)
    if not flags & _IS_ANSWER or flags & _OPCODE or questions != 1:
        return None
    name, rest = slice(_HEADER.size, query.end - 4), slice(query.end - 4, query.end)
    # The length of a label is below 64, so it is no letter.
    if data[name].lower() != query.data[name].lower() or data[rest] != query.data[rest]:
        return None
    rcode: int = flags & _RCODE
    return rcode
