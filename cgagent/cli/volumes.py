"""``volume``: directories that outlive containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cgagent.cli.agent import connect
from cgagent.client.http import query, quote
from cgagent.cli.containers import each
from cgagent.cli.disk import prune_volumes
from cgagent.cli.formats import print_all
from cgagent.cli.inspect import shaped
from cgagent.cli.output import table
from cgagent.cli.verbs import choose
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cli.main import Context


def volume(context: Context) -> int:
    verbs: dict[str, Callable[[Context], int]] = {
        "create": create,
        "ls": list_,
        "list": list_,
        "inspect": inspect,
        "rm": remove,
        "remove": remove,
        "prune": prune_volumes,
    }
    known = "create, ls, inspect, rm and prune"
    usage = "create|ls|inspect|rm|prune ..."
    return verbs[choose(context, verbs, known, usage=usage, description="Volumes.")](context)


def create(context: Context) -> int:
    parser = context.parser("[--label NAME=VALUE] [NAME]", "Make a volume; print its name.")
    parser.add_argument("--label", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("-d", "--driver", default="local", choices=["local"])
    parser.add_argument("name", nargs="?", metavar="NAME", help="one is made up if it is left out")
    args = parser.parse_args(context.args)
    labels = dict(item.partition("=")[::2] for item in args.label)
    made = connect(context).request("POST", "/v1/volumes", {"name": args.name, "labels": labels})
    print(made["name"])
    return 0


def list_(context: Context) -> int:
    parser = context.parser("[-q] [-f FILTER]", "List volumes.")
    parser.add_argument("-q", "--quiet", action="store_true", help="only names")
    parser.add_argument(
        "-f",
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="dangling=true|false, name=PART, label=NAME[=VALUE], driver=NAME",
    )
    args = parser.parse_args(context.args)
    wanted = [_filter(item) for item in args.filter]
    volumes = connect(context).request("GET", "/v1/volumes")
    found = [v for v in volumes if all(holds(v) for holds in wanted)]
    if args.quiet:
        for item in found:
            print(item["name"])
        return 0
    print(table(("DRIVER", "VOLUME NAME"), [(v["driver"], v["name"]) for v in found]))
    return 0


def _filter(item: str) -> Callable[[dict[str, Any]], bool]:
    key, _, value = item.partition("=")
    if key == "dangling" and value in {"true", "1", "false", "0"}:
        return lambda v: (not v["containers"]) is (value in {"true", "1"})
    if key == "name":
        return lambda v: value in v["name"]
    if key == "driver":
        return lambda v: v["driver"] == value
    if key == "label":
        name, separator, text = value.partition("=")
        return lambda v: name in v["labels"] and (not separator or v["labels"][name] == text)
    raise InvalidInputError(f"--filter {item!r} is not dangling=, name=, label= or driver=")


def inspect(context: Context) -> int:
    parser = context.parser("[-f FORMAT] VOLUME [VOLUME...]", "Show all about volumes.")
    parser.add_argument(
        "-f", "--format", metavar="FORMAT", help="text with fields, such as {{.Mountpoint}}"
    )
    parser.add_argument("volumes", nargs="+", metavar="VOLUME")
    args = parser.parse_args(context.args)
    client = connect(context)
    found = [client.request("GET", f"/v1/volumes/{quote(v)}") for v in args.volumes]
    print_all([shaped(client, "volume", v) for v in found], args.format)
    return 0


def remove(context: Context) -> int:
    parser = context.parser("[-f] VOLUME [VOLUME...]", "Remove volumes with their content.")
    parser.add_argument("-f", "--force", action="store_true", help="one that is not there is fine")
    parser.add_argument("volumes", nargs="+", metavar="VOLUME")
    args = parser.parse_args(context.args)
    client = connect(context)
    options = query(force=args.force or None)
    return each(
        args.volumes, lambda v: client.request("DELETE", f"/v1/volumes/{quote(v)}" + options)
    )
