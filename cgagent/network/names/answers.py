"""What a container's query is answered with."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from cgagent.network.names import packets
from cgagent.network.names.packets import AAAA, ANY, INTERNET, PTR, A, MalformedError, Query

if TYPE_CHECKING:
    from cgagent.network.names.book import Book, Viewer

_KINDS: Final = {4: A, 16: AAAA}
"""By the number of an address's bytes."""


def answer(data: bytes, book: Book, viewer: Viewer, *, udp: bool) -> bytes | Query | None:
    """The bytes to answer with; the query, if others are to be asked; None: nothing is said."""
    try:
        query = packets.parse(data)
    except MalformedError as e:
        return e.answer
    if query.klass != INTERNET or (query.edns is not None and query.edns[0]):
        return packets.answer(query, packets.REFUSED, udp=udp)
    addresses = book.addresses(viewer, query.key)
    if addresses is not None:
        return _addresses(query, addresses, udp=udp)
    names = book.names(viewer, query.key)
    if names is not None:
        records = [(PTR, name) for name in names if query.kind in (PTR, ANY)]
        return packets.answer(query, packets.NOERROR, records, udp=udp)
    if not viewer.member.forwards:
        return packets.answer(query, packets.REFUSED, udp=udp)
    return query


def _addresses(query: Query, addresses: list[bytes], *, udp: bool) -> bytes:
    """A name without any is that of a link whose other end is not there."""
    if not addresses:
        return packets.answer(query, packets.NXDOMAIN, [], udp=udp)
    records = [(_KINDS[len(address)], address) for address in addresses]
    records = [record for record in records if query.kind in (record[0], ANY)]
    if len(records) > 1:
        # A counter would give one that asks for A and AAAA in turn the same order each time.
        first = random.randrange(len(records))  # noqa: S311 - it keeps no secret
        records = records[first:] + records[:first]
    return packets.answer(query, packets.NOERROR, records, udp=udp)
