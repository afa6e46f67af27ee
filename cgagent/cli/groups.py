"""``group``: groups of containers, with limits that these share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cgagent.cli import limits
from cgagent.cli import why as explaining
from cgagent.cli.agent import connect
from cgagent.cli.containers import at_once, each
from cgagent.cli.filters import add_table_format
from cgagent.cli.formats import print_all, print_listed
from cgagent.cli.stats import HEADINGS, shown
from cgagent.cli.verbs import dispatch
from cgagent.client.http import query, quote
from cgagent.errors import InvalidInputError, NotFoundError
from cgagent.standard import printable
from cgagent.units import parse_duration, show_size

if TYPE_CHECKING:
    from cgagent.cli.flags import Flags
    from cgagent.cli.main import Context

_VERBS: Final = {
    "create": ("groups", "create"),
    "ls": ("groups", "list_"),
    "list": ("groups", "list_"),
    "inspect": ("groups", "inspect"),
    "update": ("groups", "update"),
    "rm": ("groups", "remove"),
    "remove": ("groups", "remove"),
    "add": ("groups", "add"),
    "leave": ("groups", "leave"),
    "freeze": ("groups", "freeze"),
    "thaw": ("groups", "thaw"),
    "kill": ("groups", "kill"),
    "stats": ("groups", "stats"),
    "why": ("groups", "why"),
}
_HEADINGS: Final = {
    "Name": "NAME",
    "Containers": "CONTAINERS",
    "Running": "RUNNING",
    "Memory": "MEMORY",
    "CPUs": "CPUS",
    "PIDs": "PIDS",
    "Budget": "BUDGET",
    "Status": "STATUS",
}
_FIGURES: Final = {**HEADINGS, "Budget": "BUDGET"}


def group(context: Context) -> int:
    return dispatch(context, _VERBS, "Groups of containers, with limits that these share.")


def _resource(name: str, verb: str = "") -> str:
    return f"/v1/groups/{quote(name)}{verb and '/'}{verb}"


def _add_wishes(parser: Flags) -> None:
    text = "what it may use in a time: cpu=1h/24h,io=50g/1d:freeze; off: as much as it likes"
    parser.add_argument("--budget", metavar="USE", help=text)
    text = "take memory back that it does not need: auto[:psi=0.1], or off"
    parser.add_argument("--reclaim", metavar="MODE", help=text)


def _max_containers(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.removeprefix("-").isdecimal() or int(text) < -1:
        raise InvalidInputError(f"--max-containers {text!r} is not a number; -1 is any number")
    return int(text)


def create(context: Context) -> int:
    parser = context.parser(
        "[limits] [--max-containers N] [--budget USE] [--reclaim MODE] [--label KEY=VALUE] GROUP",
        "Make a group; PARENT/NAME is one in another. Print its name.",
    )
    limits.add_flags(parser)
    add_flag = parser.add_argument
    add_flag("--max-containers", metavar="N", help="so many at most, those of groups in it, too")
    _add_wishes(parser)
    add_flag("--label", action="append", default=[], metavar="KEY=VALUE")
    add_flag("group", metavar="NAME", help="such as team-a, or team-a/backend")
    args = parser.parse_args(context.args)
    count = _max_containers(args.max_containers)
    body = {
        "name": args.group,
        "limits": limits.request(args),
        "max_containers": None if count == -1 else count,
        "labels": dict(item.partition("=")[::2] for item in args.label),
        "budget": args.budget or "",
        "reclaim": args.reclaim or "",
    }
    print(connect(context).request("POST", "/v1/groups", body)["name"])
    return 0


def list_(context: Context) -> int:
    parser = context.parser("[-q] [--format FORMAT]", "List groups, each before those in it.")
    parser.add_argument("-q", "--quiet", action="store_true", help="only names")
    add_table_format(parser, "Name")
    args = parser.parse_args(context.args)
    found = connect(context).request("GET", "/v1/groups")
    if args.quiet:
        for one in found:
            print(one["name"])
        return 0
    print_listed([_row(one) for one in found], args.format, _HEADINGS)
    return 0


def _row(one: dict[str, Any]) -> dict[str, Any]:
    held, most = one["limits"], one["max_containers"]
    memory, quota = held.get("memory_max_bytes"), held.get("cpu_quota_us")
    cpus = quota / held.get("cpu_period_us", 100_000) if isinstance(quota, int) else None
    return {
        "Name": one["name"],
        "Containers": str(len(one["containers"])) + ("" if most is None else f"/{most}"),
        "Running": str(one["running"]),
        "Memory": show_size(memory) if isinstance(memory, int) else "--",
        "CPUs": "--" if cpus is None else f"{cpus:g}",
        "PIDs": str(held.get("pids_max", "--")),
        "Budget": _used(one),
        "Status": one["status"],
        "CGroup": one["cgroup_path"],
        "Label": one["labels"],
        "Labels": ",".join(f"{key}={value}" for key, value in one["labels"].items()),
    }


def _used(one: dict[str, Any]) -> str:
    """How much of each budget."""
    return ", ".join(f"{b['resource']} {b['used_ratio']:.0%}" for b in one["budgets"]) or "--"


def inspect(context: Context) -> int:
    parser = context.parser("[-f FORMAT] GROUP [GROUP...]", "Show all about groups.")
    parser.add_argument(
        "-f", "--format", metavar="FORMAT", help="text with fields, such as {{.cgroup_path}}"
    )
    parser.add_argument("groups", nargs="+", metavar="GROUP")
    args = parser.parse_args(context.args)
    client = connect(context)
    print_all([client.request("GET", _resource(name)) for name in args.groups], args.format)
    return 0


def update(context: Context) -> int:
    parser = context.parser(
        "[limits] [--max-containers N] [--budget USE] [--reclaim MODE] GROUP [GROUP...]",
        "Change the limits of groups, at once, how many containers there may be in them, or what "
        "they may use.",
    )
    limits.add_flags(parser)
    parser.add_argument("--max-containers", metavar="N", help="so many at most; -1: any number")
    _add_wishes(parser)
    limits.add_force(parser)
    parser.add_argument("groups", nargs="+", metavar="GROUP")
    args = parser.parse_args(context.args)
    body = limits.request(args)
    count = _max_containers(args.max_containers)
    if count is not None:
        body["max_containers"] = count
    wishes = {"budget": args.budget, "reclaim": args.reclaim}
    body |= {name: text for name, text in wishes.items() if text is not None}
    if not body:
        parser.error("no limit is given, and nothing else that can be changed")
    client = connect(context)

    def change(name: str) -> str:
        path = _resource(name, "update") + query(force=args.force or None)
        client.request("POST", path, body)
        return name

    return each(args.groups, change)


def remove(context: Context) -> int:
    parser = context.parser("[-f] GROUP [GROUP...]", "Remove groups.")
    parser.add_argument(
        "-f", "--force", action="store_true", help="with their containers, and the groups in them"
    )
    parser.add_argument("groups", nargs="+", metavar="GROUP")
    args = parser.parse_args(context.args)
    client = connect(context)
    options = query(force=args.force or None)
    return each(args.groups, lambda name: client.request("DELETE", _resource(name) + options))


def add(context: Context) -> int:
    parser = context.parser(
        "GROUP CONTAINER [CONTAINER...]",
        "Take containers into a group, out of the one that they are in; they run on meanwhile. "
        "Memory that they have stays charged to where they were until it is freed.",
    )
    parser.add_argument("group", metavar="GROUP")
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    return _move(context, args.containers, args.group)


def leave(context: Context) -> int:
    parser = context.parser(
        "CONTAINER [CONTAINER...]", "Take containers out of their groups; they run on meanwhile."
    )
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    return _move(context, parser.parse_args(context.args).containers, "")


def _move(context: Context, containers: list[str], name: str) -> int:
    client = connect(context)

    def move(container: str) -> str:
        client.request("POST", f"/v1/containers/{quote(container)}/group", {"group": name})
        return container

    return each(containers, move)


def freeze(context: Context) -> int:
    parser = context.parser(
        "[--for SECONDS] [--timeout SECONDS] GROUP [GROUP...]",
        "Stop all tasks of all containers in groups.",
    )
    parser.add_argument("--for", metavar="SECONDS", dest="lease", help="thaw again by itself")
    parser.add_argument("--timeout", metavar="SECONDS", help="then thaw again and fail; default 10")
    parser.add_argument("groups", nargs="+", metavar="GROUP")
    args = parser.parse_args(context.args)
    timeout = None if args.timeout is None else parse_duration(args.timeout, "--timeout")
    lease = None if args.lease is None else parse_duration(args.lease, "--for")
    options = query(timeout_s=timeout, lease_s=lease)
    client = connect(context)
    return at_once(client, "POST", args.groups, lambda n: _resource(n, "freeze") + options)


def thaw(context: Context) -> int:
    parser = context.parser(
        "GROUP [GROUP...]",
        "Let groups go on. A container that was frozen by itself stays frozen.",
    )
    parser.add_argument("groups", nargs="+", metavar="GROUP")
    groups = parser.parse_args(context.args).groups
    return at_once(connect(context), "POST", groups, lambda name: _resource(name, "thaw"))


def kill(context: Context) -> int:
    parser = context.parser(
        "GROUP [GROUP...]", "End (SIGKILL) all that runs in groups; nothing restarts it."
    )
    parser.add_argument("groups", nargs="+", metavar="GROUP")
    groups = parser.parse_args(context.args).groups
    client = connect(context)

    def end(name: str) -> str:
        killed = client.request("POST", _resource(name, "kill"))["killed"]
        return f"{name}: {', '.join(killed) or 'nothing ran in it'}"

    return each(groups, lambda name: printable(end(name)))


def stats(context: Context) -> int:
    parser = context.parser(
        "[--format FORMAT] [GROUP...]", "Show what groups use, with all that is in them."
    )
    add_table_format(parser, "CPUPerc")
    parser.add_argument("groups", nargs="*", metavar="GROUP")
    args = parser.parse_args(context.args)
    client = connect(context)
    names = args.groups or [one["name"] for one in client.request("GET", "/v1/groups")]
    found = []
    for name in names:
        try:
            found.append(client.request("GET", _resource(name, "stats")))
        except NotFoundError:  # of all there are one may have gone meanwhile, or its cgroup
            if args.groups:
                raise
    rows = [{"Name": f["name"], **shown(f), "Budget": _used(f)} for f in found]
    print_listed(rows, args.format, _FIGURES)
    return 0


def why(context: Context) -> int:
    parser = context.parser(
        "[--window TIME | --since TIME] [--format FORMAT] GROUP",
        "Show what holds back what runs in a group, the worst first, and what would help.",
    )
    explaining.add_flags(parser)
    parser.add_argument("group", metavar="GROUP")
    args = parser.parse_args(context.args)
    return explaining.show(context, _resource(args.group, "why"), args)
