"""What the kernel counts for our table of nf_tables, as it lists it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.network import netfilter, ruleset
from cgagent.network.netlink import NLM_F_DUMP, attributes, text, values, words_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from cgagent.network.values import Publication

_GET_ELEMENTS, _GET_OBJECTS = 13, 19
_OBJECT_TABLE, _OBJECT_NAME, _OBJECT_DATA = 1, 2, 4
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_ELEMENT_KEY, _ELEMENT_EXPRESSION, _DATA_VALUE, _EXPRESSION_DATA = 1, 7, 1, 2
_BYTES, _PACKETS = 1, 2


@dataclass(frozen=True, slots=True)
class Count:
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class TableCounts:
    """Since the table was made, or made anew because somebody else had changed it."""

    dropped: Mapping[str, Count]
    """By one of `ruleset.DROPS`."""
    connections: Mapping[Publication, int]
    """That a published port has led to its container."""


NONE: Final = TableCounts({}, {})


def read(netns_fd: int | None, table: str, publications: Collection[Publication]) -> TableCounts:
    """Those of the table, and of these of its ports. 2,000 ports take about 10 ms.

    Raises:
        NetlinkError: the table is gone.
    """
    asker = netfilter.Socket(netns_fd)
    try:
        keys = {publication: ruleset.raw_key(publication) for publication in publications}
        found: dict[tuple[str, bytes], int] = {}
        for name in {name for name, _ in keys.values()}:
            found.update(_elements(asker, table, name))
        connections = {p: found[key] for p, key in keys.items() if key in found}
        return TableCounts(dict(_objects(asker, table)), connections)
    finally:
        asker.close()


def _objects(asker: netfilter.Socket, table: str) -> Iterator[tuple[str, Count]]:
    what = f"list the counters of table {table}"
    body = text(_OBJECT_TABLE, table)
    answers = asker.ask(
        netfilter.NFTABLES, _GET_OBJECTS, netfilter.INET, body, flags=NLM_F_DUMP, what=what
    )
    for answer in answers:
        found = answer.attributes()
        if words_of(found[_OBJECT_TABLE]) == table:
            yield words_of(found[_OBJECT_NAME]), _count(found[_OBJECT_DATA])


def _count(data: bytes) -> Count:
    found = attributes(data)
    return Count(int.from_bytes(found[_PACKETS]), int.from_bytes(found[_BYTES]))


def _elements(
    asker: netfilter.Socket, table: str, name: str
) -> Iterator[tuple[tuple[str, bytes], int]]:
    """NAT sees a connection's first packet alone, so that packets are connections."""
    what = f"list map {name} of table {table}"
    body = text(_LIST_TABLE, table) + text(_LIST_SET, name)
    answers = asker.ask(
        netfilter.NFTABLES, _GET_ELEMENTS, netfilter.INET, body, flags=NLM_F_DUMP, what=what
    )
    for answer in answers:
        for element in values(answer.attributes().get(_LIST_ELEMENTS, b"")):
            its = attributes(element)
            key = attributes(its[_ELEMENT_KEY])[_DATA_VALUE]
            expression = attributes(its.get(_ELEMENT_EXPRESSION, b""))
            if _EXPRESSION_DATA in expression:
                yield (name, key), _count(expression[_EXPRESSION_DATA]).packets
