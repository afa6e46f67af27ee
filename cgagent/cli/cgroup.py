"""``cgroup``: look at and control any group of the host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli import limits, why
from cgagent.cli.agent import connect
from cgagent.cli.output import table
from cgagent.cli.verbs import choose
from cgagent.client.http import query, quote
from cgagent.units import parse_duration, show_size

if TYPE_CHECKING:
    from cgagent.cli.flags import Namespace
    from cgagent.cli.main import Context

_VERBS: Final = {
    "ls": "the groups right below one",
    "tree": "all below one",
    "show": "limits, usage and state",
    "why": "what holds one back",
    "set": "change limits",
    "freeze": "stop all tasks",
    "thaw": "let all tasks go on",
    "kill": "end (SIGKILL) all tasks",
}
_DESCRIPTION: Final = (
    "Look at any cgroup of the host, and control it. Groups that are not cgagent's are read "
    "freely and changed only with --force."
)


def cgroup(context: Context) -> int:
    verbs = "; ".join(f"{name}: {text}" for name, text in _VERBS.items())
    usage = f"{'|'.join(_VERBS)} [flags] [PATH]"
    verb = choose(
        context, _VERBS, ", ".join(_VERBS), usage=usage, description=f"{_DESCRIPTION} {verbs}."
    )
    lists = verb in {"ls", "tree"}
    parser = context.parser(f"[flags] {'[PATH]' if lists else 'PATH'}", f"{_VERBS[verb]}.")
    if verb == "why":
        why.add_flags(parser)
    if verb not in {"ls", "tree", "show", "why"}:
        parser.add_argument("--force", action="store_true", help="another's group, too")
    if verb in {"freeze", "thaw", "kill"}:
        parser.add_argument("--timeout", default="10", metavar="SECONDS")
    if verb == "set":
        limits.add_flags(parser)
    optional = {"nargs": "?", "default": "/"} if lists else {}
    parser.add_argument("path", metavar="PATH", **optional)
    args = parser.parse_args(context.args)
    if lists:
        return _list(context, args.path, 1 if verb == "ls" else 32)
    if verb == "show":
        return _show(context, args.path)
    if verb == "why":
        return why.show(context, "/v1/cgroups/why", args, path=args.path)
    return _change(context, verb, args)


def _resource(path: str) -> str:
    below = path.lstrip("/")
    return "/v1/cgroups/" + (quote(below) if below else "")


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


def _change(context: Context, verb: str, args: Namespace) -> int:
    body: dict[str, Any] = {"action": verb, "force": args.force}
    if verb == "set":
        body["limits"] = limits.request(args)
    else:
        body["timeout_s"] = parse_duration(args.timeout, "--timeout")
    connect(context).request("POST", _resource(args.path), body)
    print(args.path)
    return 0
