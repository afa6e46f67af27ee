"""``volume``: directories that outlive containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.agent import connect
from cgagent.cli.containers import each
from cgagent.cli.disk import prune_volumes
from cgagent.cli.filters import add_filter, add_table_format
from cgagent.cli.formats import print_all, print_listed
from cgagent.cli.inspect import shaped
from cgagent.cli.verbs import choose
from cgagent.client.http import query, quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cli.main import Context

_HEADINGS: Final = {"Driver": "DRIVER", "Name": "VOLUME NAME"}


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
    parser = context.parser("[-q] [-f FILTER] [--format FORMAT]", "List volumes.")
    parser.add_argument("-q", "--quiet", action="store_true", help="only names")
    add_filter(parser, ("dangling", "name", "label", "driver"))
    add_table_format(parser, "Name")
    args = parser.parse_args(context.args)
    found = connect(context).request("GET", "/v1/volumes" + query(filter=args.filter))
    if args.quiet:
        for item in found:
            print(item["name"])
        return 0
    print_listed([_row(volume) for volume in found], args.format, _HEADINGS)
    return 0


def _row(volume: dict[str, Any]) -> dict[str, Any]:
    """Docker's names."""
    return {
        "Driver": volume["driver"],
        "Name": volume["name"],
        "Scope": "local",
        "Mountpoint": volume["mountpoint"],
        "Labels": ",".join(f"{key}={value}" for key, value in volume["labels"].items()),
        "Label": volume["labels"],
    }


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
