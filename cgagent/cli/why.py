"""``why`` and ``cgroup why``: what holds a container or a group back, and what would help."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.agent import connect
from cgagent.cli.formats import WHOLE, print_listed
from cgagent.cli.output import table
from cgagent.client.http import query, quote
from cgagent.moments import moment
from cgagent.standard import printable
from cgagent.units import parse_duration, show_age, show_size

if TYPE_CHECKING:
    from cgagent.cli.flags import Flags, Namespace
    from cgagent.cli.main import Context

_HEADINGS: Final = {"Lost": "LOST", "Kind": "CAUSE", "Of": "OF", "Says": "WHAT"}
_FURTHER: Final = {"CGroup": "CGROUP", "Command": "COMMAND"}
_LONG_S: Final = 120


def why(context: Context) -> int:
    parser = context.parser(
        "[--window TIME | --since TIME] [--format FORMAT] CONTAINER",
        "Show what holds a container back, the worst first, and what would help.",
    )
    add_flags(parser)
    parser.add_argument("container", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    return show(context, f"/v1/containers/{quote(args.container)}/why", args)


def add_flags(parser: Flags) -> None:
    add = parser.add_argument
    add("--window", metavar="TIME", help="look at it for so long; default 1s, at most 60s")
    add("--since", metavar="TIME", help="what is kept of it since then: 1h, or a date")
    add(
        "--format",
        metavar="FORMAT",
        help="json, or text with fields such as {{.Command}}, table before it for headings",
    )


def show(context: Context, resource: str, args: Namespace, **asked: Any) -> int:
    """Ask for an explanation and print it."""
    window = None if args.window is None else parse_duration(args.window, "--window")
    since_ns = moment(args.since, "--since")
    since = None if since_ns is None else since_ns / 1e9
    asked = {**asked, "window_s": window, "since": since}
    found = connect(context).request("GET", resource + query(**asked))
    if args.format in WHOLE:
        print(json.dumps(found, separators=(",", ":")))
    elif args.format:
        print_listed([_shape(c) for c in found["causes"]], args.format, {**_HEADINGS, **_FURTHER})
    else:
        _print(found)
    return 0


def _shape(cause: dict[str, Any]) -> dict[str, str]:
    return {
        "Lost": _lost(cause),
        "Kind": cause["kind"],
        "Of": cause["container"] or cause["group"],
        "CGroup": cause["group"],
        "Says": cause["says"],
        "Command": next(iter(cause["commands"]), ""),
    }


def _lost(cause: dict[str, Any]) -> str:
    if cause["share"] is None:
        return "fails" if cause["fails"] else "--"
    return f"{100 * cause['share']:.0f}%"


def _print(found: dict[str, Any]) -> None:
    name = found["container"] or found["cgroup"]
    print(printable(f"{name}: {_looked_at(found)}"))
    if not found["causes"]:
        print("\n" + printable(found["verdict"]))
    for number, cause in enumerate(found["causes"], 1):
        lost = _lost(cause)
        print("\n" + printable(f"{number}. {lost}  {cause['kind']}: {cause['says']}"))
        rows = [(e["what"], _figure(e), e["file"]) for e in cause["evidence"]]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        for what, figure, file in rows:
            print(printable(f"   {what:{widths[0]}}  {figure:{widths[1]}}  {file}".rstrip()))
        for command in cause["commands"]:
            print(printable(f"   $ {command}"))
    if found["causes"] and found["neighbours"]:
        headings = ("NEIGHBOUR", "CPUS", "LATELY", "MEMORY", "IO")
        print("\n" + table(headings, [_neighbour(n) for n in found["neighbours"]]))


def _looked_at(found: dict[str, Any]) -> str:
    if found["span_s"] == 0:
        return str(found["status"])
    span = found["span_s"]
    length = f"{span:.1f} s" if span < _LONG_S else show_age(span).lower()
    when = f"the last {length}" if found["since"] else f"looked at for {length}"
    shares = [
        f"{resource} {'--' if share is None else f'{100 * share:.0f}%'}"
        for resource, share in found["lost"].items()
    ]
    return f"{when}; its tasks waited for {', '.join(shares)} of it"


def _figure(evidence: dict[str, Any]) -> str:
    value = evidence["value"]
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{shown} {evidence['unit']}".rstrip()


def _neighbour(found: dict[str, Any]) -> tuple[str, ...]:
    cores = (found["cpu_cores"], found["cpu_cores_lately"])
    memory = found["memory_bytes"]
    return (
        found["container"] or found["cgroup"],
        *("--" if value is None else f"{value:.2f}" for value in cores),
        "--" if memory is None else show_size(memory),
        f"{show_size(found['io_bytes_per_s'])}/s",
    )
