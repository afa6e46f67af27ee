"""``stats``: live resource usage."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

from cgagent import standard
from cgagent.cli.agent import connect
from cgagent.cli.filters import add_table_format
from cgagent.cli.formats import print_listed
from cgagent.cli.output import short_id
from cgagent.client.http import Client, quote
from cgagent.errors import ConflictError
from cgagent.standard import printable
from cgagent.units import show_size

if TYPE_CHECKING:
    from cgagent.cli.main import Context

_HEADINGS: Final = {
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
    "Throttled": "THROTTLED",
    "State": "STATE",
}
HEADINGS: Final = {name: _HEADINGS[name] for name in _HEADINGS if name not in {"ID", "State"}}
"""Of what is no container."""
_FURTHER: Final = {"Container": "CONTAINER", "NetIO": "NET I/O"}
_TABLE: Final = "table " + "\t".join(f"{{{{.{name}}}}}" for name in _HEADINGS)
_CLEAR: Final = b"\x1b[H\x1b[J"


def stats(context: Context) -> int:
    parser = context.parser(
        "[-a] [--no-stream] [--no-trunc] [--format FORMAT] [CONTAINER...]",
        "Show live resource usage.",
    )
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="those that do not run, too")
    add("--no-stream", action="store_true", help="once, then end")
    add("--no-trunc", action="store_true", help="whole ids")
    add_table_format(parser, "CPUPerc")
    add("containers", nargs="*", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    form = _TABLE if args.format.strip() == "table" else args.format
    client = connect(context)
    while True:
        found = _figures(client, args.containers, all_=args.all)
        if sys.stdout.isatty() and not args.no_stream:
            standard.write(1, _CLEAR)
        shown = [_shape(one, trim=not args.no_trunc) for one in found]
        print_listed(shown, form, {**_HEADINGS, **_FURTHER})
        sys.stdout.flush()
        if args.no_stream:
            return 0
        time.sleep(1)


def _figures(client: Client, wanted: list[str], *, all_: bool) -> list[dict[str, Any]]:
    if wanted:
        return [_one(client, name, all_=all_) for name in wanted]
    found: list[dict[str, Any]] = client.request("GET", "/v1/stats")
    if all_:
        known = {one["id"] for one in found}
        listed = client.request("GET", "/v1/containers?all=true")
        found += [_without(c) for c in listed if c["id"] not in known]
    return found


def _one(client: Client, name: str, *, all_: bool) -> dict[str, Any]:
    path = f"/v1/containers/{quote(name)}"
    try:
        found: dict[str, Any] = client.request("GET", f"{path}/stats")
    except ConflictError:
        if not all_:
            raise
        return _without(client.request("GET", path))
    return found


def _without(container: dict[str, Any]) -> dict[str, Any]:
    """One that has no figures."""
    return {
        "id": container["id"],
        "name": container["name"],
        "status": container["state"]["status"],
        "usage": None,
    }


def _shape(s: dict[str, Any], *, trim: bool) -> dict[str, str]:
    """Docker's names."""
    id_ = s["id"].removeprefix("cgroup:")
    return {
        "Container": short_id(id_) if trim else id_,
        "ID": short_id(id_) if trim else id_,
        "Name": printable(s["name"]),
        **(dict.fromkeys(_FIGURES, "--") if s["usage"] is None else shown(s)),
        "State": s["status"],
    }


_FIGURES: Final = ("CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs", "Throttled")


def shown(s: dict[str, Any]) -> dict[str, str]:
    """The figures of one that has any, by docker's names."""
    usage, rates, limit = s["usage"], s["rates"] or {}, s["memory_limit_bytes"]
    memory = usage["memory"]["working_set_bytes"] or 0
    return {
        "CPUPerc": _percent(rates.get("cpu_percent"), ".2f"),
        "MemUsage": f"{show_size(memory)} / {show_size(limit) if limit else 'max'}",
        "MemPerc": f"{100 * memory / limit:.2f}%" if limit else "--",
        "NetIO": _sums(s.get("network"), "receive_bytes", "transmit_bytes"),
        "BlockIO": _sums(usage["io"], "rbytes", "wbytes"),
        "PIDs": str(usage["pids"]["current"]),
        "Throttled": _percent(rates.get("throttled_percent"), ".0f"),
    }


def _sums(devices: list[dict[str, Any]] | None, *ways: str) -> str:
    return " / ".join(show_size(sum(d[way] or 0 for d in devices or ())) for way in ways)


def _percent(value: float | None, form: str) -> str:
    return "--" if value is None else f"{value:{form}}%"
