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
_USAGE_HEADINGS: Final = {
    "Wall": "TIME",
    "CPU": "CPU",
    "PeakMemory": "PEAK MEMORY",
    "IORead": "READ",
    "IOWritten": "WRITTEN",
}
_MARK: Final = "cgagent.build"
"""The member of an entry that the builder has written."""
_MISSING: Final = "<missing>"
_SHOWN: Final = 45


def history(context: Context) -> int:
    parser = context.parser("[-q] [--no-trunc] [--format FORMAT] IMAGE", "Show how it was made.")
    add = parser.add_argument
    add("-q", "--quiet", action="store_true", help="only ids")
    add("-H", "--human", action="store_true", default=True, help="sizes and times for people")
    add("--no-trunc", action="store_true", help="all of each command")
    add("--usage", action="store_true", help="what each step of a build of ours has used")
    add_table_format(parser, "CreatedBy")
    add("image", metavar="IMAGE")
    args = parser.parse_args(context.args)
    client = connect(context)
    image = client.request("GET", f"/v1/images/{quote(args.image)}")
    found = client.request("GET", f"/images/{quote(image['id'])}/history")
    rows = [_shape(r, trim=not args.no_trunc, human=args.human) for r in found]
    headings = _HEADINGS
    if args.usage:
        headings = {**_HEADINGS, **_USAGE_HEADINGS}
        used = [*_usage(image["document"]), *({} for _ in rows)]
        rows = [
            {**dict.fromkeys(_USAGE_HEADINGS, ""), **row, **one}
            for row, one in zip(rows, used, strict=False)
        ]
    if args.quiet:
        print("\n".join(row["ID"] for row in rows))
    else:
        print_listed(rows, args.format, headings)
    return 0


def _usage(document: dict[str, Any]) -> list[dict[str, str]]:
    """Of each entry, the newest first; empty texts where nothing is known."""
    listed = document.get("history")
    found = []
    for entry in reversed(listed if isinstance(listed, list) else []):
        mark = entry.get(_MARK)
        used = (mark.get("usage") or {}) if isinstance(mark, dict) else {}
        wall_s, cpu_ns = used.get("wall_s"), used.get("cpu_ns")
        sizes = ("memory_peak_bytes", "io_read_bytes", "io_write_bytes")
        peak, read, written = (
            "" if used.get(name) is None else show_size(used[name]) for name in sizes
        )
        found.append(
            {
                "Wall": "" if wall_s is None else f"{wall_s:.2f}s",
                "CPU": "" if cpu_ns is None else f"{cpu_ns / 1e9:.2f}s",
                "PeakMemory": peak,
                "IORead": read,
                "IOWritten": written,
            }
        )
    return found


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
