"""``fits`` and ``capacity``: whether one more container fits, and what there is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli import limits
from cgagent.cli.agent import connect
from cgagent.cli.filters import add_table_format
from cgagent.cli.formats import WHOLE, print_listed
from cgagent.client.http import query
from cgagent.standard import printable
from cgagent.units import parse_size, show_size

if TYPE_CHECKING:
    from cgagent.cli.main import Context

_HEADINGS: Final = {
    "Group": "GROUP",
    "Resource": "RESOURCE",
    "Total": "TOTAL",
    "Promised": "PROMISED",
    "Held": "HELD",
    "Used": "USED",
    "P50": "P50",
    "P95": "P95",
    "Max": "MAX",
    "Containers": "CONTAINERS",
}


def fits(context: Context) -> int:
    """Exit status 1 where it does not."""
    parser = context.parser(
        "[--memory SIZE] [--cpus N] [--group GROUP | --cgroup-parent PATH] [--by promise|use] "
        "[--format FORMAT]",
        "Say whether one more container with these limits fits, by what is promised to others and "
        "by what they use. The exit code is 1 where it does not.",
    )
    add = parser.add_argument
    add("-m", "--memory", metavar="SIZE", help="memory limit, such as 2g")
    add("--cpus", metavar="N", help="CPUs' worth of time, such as 0.5")
    add("--group", metavar="GROUP", help="the group of containers that it would be in")
    add("--cgroup-parent", metavar="PATH", help="the cgroup it would be below")
    add("--by", metavar="promise|use", help="ask for one of them alone")
    add("--format", metavar="FORMAT", help="json, or text with fields such as {{.Says}}")
    args = parser.parse_args(context.args)
    if args.memory is None and args.cpus is None:
        parser.error("give --memory, --cpus or both")
    if args.by not in {None, "promise", "use"}:
        parser.error(f"--by {args.by!r} is neither promise nor use")
    memory = None if args.memory is None else parse_size(args.memory, "--memory")
    asked = query(
        memory_bytes=memory,
        cpus=limits.cpus(args.cpus),
        parent=args.cgroup_parent,
        group=args.group,
    )
    found = connect(context).request("GET", f"/v1/capacity{asked}")
    findings = [one for one in found["findings"] if args.by in {None, one["by"]}]
    code = int(not all(one["fits"] for one in findings))
    if args.format in WHOLE:
        print(json.dumps({"fits": not code, "findings": findings}, separators=(",", ":")))
    elif args.format:
        print_listed([_finding(one) for one in findings], args.format, {})
    else:
        for one in findings:
            verdict = "fits" if one["fits"] else "does NOT fit"
            print(printable(f"{one['resource']}, by {one['by']}: {verdict}; {one['says']}"))
    return code


def _finding(one: dict[str, Any]) -> dict[str, str]:
    return {
        "Group": one["scope"],
        "Resource": one["resource"],
        "By": one["by"],
        "Fits": "yes" if one["fits"] else "no",
        "Says": one["says"],
    }


def capacity(context: Context) -> int:
    parser = context.parser(
        "[--format FORMAT]",
        "Show what the host and the groups above containers have, promise, hold and use.",
    )
    add_table_format(parser, "Promised")
    args = parser.parse_args(context.args)
    found = connect(context).request("GET", "/v1/capacity")
    rows = [_row(scope["path"], room) for scope in found["scopes"] for room in scope["rooms"]]
    print_listed(rows, args.format, _HEADINGS)
    return 0


def _row(path: str, room: dict[str, Any]) -> dict[str, str]:
    def shown(value: float | None) -> str:
        if value is None:
            return "--"
        return show_size(value) if room["resource"] == "memory" else f"{value:.2f}"

    used, unlimited = room["used"], room["unlimited"]
    count = str(room["limited"] + unlimited)
    return {
        "Group": path,
        "Resource": room["resource"],
        "Total": shown(room["total"]),
        "Promised": shown(room["promised"]),
        "Held": shown(room["held"]),
        "Used": shown(used["now"]),
        "P50": shown(used["p50"]),
        "P95": shown(used["p95"]),
        "Max": shown(used["most"]),
        "Containers": f"{count} ({unlimited} unlimited)" if unlimited else count,
    }


_ADVICE: Final = {
    "Name": "NAME",
    "Resource": "RESOURCE",
    "Asked": "ASKED",
    "P50": "P50",
    "P95": "P95",
    "Max": "MAX",
    "Advised": "ADVISED",
    "Confidence": "CONFIDENCE",
    "Why": "WHY",
}
_FURTHER: Final = {"Flags": "FLAGS", "Command": "COMMAND"}


def advise(context: Context) -> int:
    parser = context.parser(
        "[--groups] [--format FORMAT] [CONTAINER|GROUP...]",
        "Show limits that what containers, or groups of them, have used makes advisable, and why. "
        "Usage is kept over restarts, and over a removal where name and image stay.",
    )
    parser.add_argument("--groups", action="store_true", help="of groups, not of containers")
    add_table_format(parser, "Advised")
    parser.add_argument("names", nargs="*", metavar="CONTAINER|GROUP")
    args = parser.parse_args(context.args)
    asked = query(name=args.names or None, groups=args.groups or None)
    found = connect(context).request("GET", f"/v1/advice{asked}")
    rows = [_advice(of, one) for of in found for one in of["advice"]]
    print_listed(rows, args.format, {**_ADVICE, **_FURTHER} if args.format != "table" else _ADVICE)
    if args.format == "table":
        for of in found:
            name = of["container"] or of["group"]
            line = f"$ {of['command']}" if of["command"] else f"{name}: {_UNKNOWN}"
            print("\n" * (of is found[0]) + printable(line))
    return 0


_UNKNOWN: Final = "nothing is known of it so far; it has to run for a minute"


def _advice(of: dict[str, Any], one: dict[str, Any]) -> dict[str, str]:
    def shown(value: float | None) -> str:
        if value is None:
            return "--"
        if one["resource"] == "memory":
            return show_size(value)
        if one["resource"] in {"reads", "writes"}:
            return f"{show_size(value)}/s"
        return f"{value:.2f}" if one["resource"] == "cpus" else f"{value:.0f}"

    return {
        "Name": of["container"] or of["group"],
        "Resource": one["resource"],
        "Asked": shown(one["asked"]),
        "P50": shown(one["p50"]),
        "P95": shown(one["p95"]),
        "Max": shown(one["most"]),
        "Advised": shown(one["advised"]),
        "Confidence": f"{100 * one['confidence']:.0f}%",
        "Why": one["why"],
        "Flags": " ".join(one["flags"]),
        "Command": of["command"],
    }
