"""``cgroup``: look at and control any group of the host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cgagent.cli import limits
from cgagent.cli.agent import connect
from cgagent.cli.client import query, quote
from cgagent.cli.output import table
from cgagent.cli.units import parse_duration, show_size

if TYPE_CHECKING:
    import argparse

    from cgagent.cli.main import Context

_USAGE = "{ls,tree,show,set,freeze,thaw,kill} [flags] [PATH]"
_DESCRIPTION = (
    "Look at any cgroup of the host, and control it. Groups that are not cgagent's are read "
    "freely and changed only with --force."
)


def cgroup(context: Context) -> int:
    parser = context.parser(_USAGE, _DESCRIPTION)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, text in (("ls", "the groups right below one"), ("tree", "all below one")):
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("path", nargs="?", default="/", metavar="PATH")
    verbs.add_parser("show", help="limits, usage and state").add_argument("path", metavar="PATH")
    for name, text in (("freeze", "stop"), ("thaw", "let go on"), ("kill", "end (SIGKILL)")):
        verb = verbs.add_parser(name, help=f"{text} all tasks")
        verb.add_argument("--force", action="store_true", help="another's group, too")
        verb.add_argument("--timeout", default="10", metavar="SECONDS")
        verb.add_argument("path", metavar="PATH")
    verb = verbs.add_parser("set", help="change limits")
    verb.add_argument("--force", action="store_true", help="another's group, too")
    limits.add_flags(verb)
    verb.add_argument("path", metavar="PATH")
    args = parser.parse_args(context.args)
    if args.verb in {"ls", "tree"}:
        return _list(context, args.path, 1 if args.verb == "ls" else 32)
    if args.verb == "show":
        return _show(context, args.path)
    return _change(context, args)


def _resource(path: str) -> str:
    return "/v1/cgroups/" + quote(path.lstrip("/"))


def _list(context: Context, path: str, depth: int) -> int:
    nodes = connect(context).request("GET", "/v1/cgroups" + query(path=path, depth=depth))
    print(table(("CGROUP", "TASKS", "MEMORY", "STATE", "CONTAINER"), [_row(n) for n in nodes]))
    return 0


def _row(node: dict[str, Any]) -> tuple[str, ...]:
    memory = node["memory_bytes"]
    return (
        node["path"],
        "--" if node["tasks"] is None else str(node["tasks"]),
        "--" if memory is None else show_size(memory),
        node["state"],
        node["container"] or "",
    )


def _show(context: Context, path: str) -> int:
    print(json.dumps(connect(context).request("GET", _resource(path)), indent=4))
    return 0


def _change(context: Context, args: argparse.Namespace) -> int:
    body: dict[str, Any] = {"action": args.verb, "force": args.force}
    if args.verb == "set":
        body["limits"] = limits.request(args)
    else:
        body["timeout_s"] = parse_duration(args.timeout, "--timeout")
    connect(context).request("POST", _resource(args.path), body)
    print(args.path)
    return 0
