"""Tables for people: columns as wide as their contents, three blanks between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.standard import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The lines of a table, without a newline at the end; every cell made printable."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )


def host_port(published: dict[str, Any]) -> str:
    """``ADDRESS:PORT`` of the host, for a published port; an IPv6 address is in brackets."""
    address = published["host_address"]
    return f"{f'[{address}]' if ':' in address else address}:{published['host_port']}"


def short_id(identifier: str) -> str:
    return identifier.removeprefix("sha256:")[:12]
