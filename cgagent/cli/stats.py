"""``stats``: live resource usage."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from cgagent import standard
from cgagent.cli.agent import connect
from cgagent.cli.client import Client, quote
from cgagent.cli.output import short_id, table
from cgagent.cli.units import show_size

if TYPE_CHECKING:
    from cgagent.cli.main import Context

_HEADER = (
    *("CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "BLOCK I/O", "PIDS"),
    *("THROTTLED", "STATE"),
)
_CLEAR = b"\x1b[H\x1b[J"


def stats(context: Context) -> int:
    parser = context.parser("[--no-stream] [CONTAINER...]", "Show live resource usage.")
    parser.add_argument("--no-stream", action="store_true", help="once, then end")
    parser.add_argument("containers", nargs="*", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    client = connect(context)
    while True:
        text = table(_HEADER, _rows(client, args.containers))
        if args.no_stream:
            print(text)
            return 0
        if sys.stdout.isatty():
            standard.write(1, _CLEAR)
        print(text, flush=True)
        time.sleep(1)


def _rows(client: Client, wanted: list[str]) -> list[tuple[str, ...]]:
    if wanted:
        paths = (f"/v1/containers/{quote(name)}/stats" for name in wanted)
        return [_row(client.request("GET", path)) for path in paths]
    return [_row(one) for one in client.request("GET", "/v1/stats")]


def _row(s: dict[str, Any]) -> tuple[str, ...]:
    usage, rates, limit = s["usage"], s["rates"] or {}, s["memory_limit_bytes"]
    memory = usage["memory"]["working_set_bytes"] or 0
    devices = usage["io"] or []
    return (
        short_id(s["id"].removeprefix("cgroup:")),
        s["name"],
        _percent(rates.get("cpu_percent"), ".2f"),
        f"{show_size(memory)} / {show_size(limit) if limit else 'max'}",
        f"{100 * memory / limit:.2f}%" if limit else "--",
        " / ".join(show_size(sum(d[way] or 0 for d in devices)) for way in ("rbytes", "wbytes")),
        str(usage["pids"]["current"]),
        _percent(rates.get("throttled_percent"), ".0f"),
        s["status"],
    )


def _percent(value: float | None, form: str) -> str:
    return "--" if value is None else f"{value:{form}}%"
