"""The flags of several listings: ``--filter``, and ``--format`` of a table."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.cli.flags import Flags


def add_filter(parser: Flags, names: Iterable[str]) -> None:
    parser.add_argument(
        *("-f", "--filter"),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=", ".join(names),
    )


def add_table_format(parser: Flags, field: str) -> None:
    """`field` is the example in the help."""
    parser.add_argument(
        "--format",
        default="table",
        metavar="FORMAT",
        help=f"json, or text with fields such as {{{{.{field}}}}}, table before it for headings",
    )
