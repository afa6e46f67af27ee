"""``history``: how an image was made, the newest layer first."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.agent import connect
from cgagent.cli.filters import add_table_format
from cgagent.cli.formats import print_listed
from cgagent.cli.output import short_id
from cgagent.client.http import quote
from cgagent.standard import printable
from cgagent.units import show_age, show_size

if TYPE_CHECKING:
    from cgagent.cli.main import Context

_HEADINGS: Final = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
_MISSING: Final = "<missing>"
_SHOWN: Final = 45


def history(context: Context) -> int:
    parser = context.parser("[-q] [--no-trunc] [--format FORMAT] IMAGE", "Show how it was made.")
    add = parser.add_argument
    add("-q", "--quiet", action="store_true", help="only ids")
    add("-H", "--human", action="store_true", default=True, help="sizes and times for people")
    add("--no-trunc", action="store_true", help="all of each command")
    add_table_format(parser, "CreatedBy")
    add("image", metavar="IMAGE")
    args = parser.parse_args(context.args)
    client = connect(context)
    image = client.request("GET", f"/v1/images/{quote(args.image)}")["id"]
    found = client.request("GET", f"/images/{quote(image)}/history")
    rows = [_shape(r, trim=not args.no_trunc, human=args.human) for r in found]
    if args.quiet:
        print("\n".join(row["ID"] for row in rows))
    else:
        print_listed(rows, args.format, _HEADINGS)
    return 0


def _shape(entry: dict[str, Any], *, trim: bool, human: bool) -> dict[str, str]:
    created = entry["Created"]
    command = printable(entry["CreatedBy"])
    if trim and len(command) > _SHOWN:
        command = command[: _SHOWN - 1] + "…"
    age = f"{show_age(time.time() - created)} ago" if created > 0 else "N/A"
    made = datetime.fromtimestamp(created, UTC).isoformat() if created > 0 else "N/A"
    return {
        "ID": short_id(entry["Id"]) if trim and entry["Id"] != _MISSING else entry["Id"],
        "CreatedSince": age if human else made,
        "CreatedAt": made,
        "CreatedBy": command,
        "Size": show_size(entry["Size"]) if human else str(entry["Size"]),
        "Comment": entry["Comment"],
    }
