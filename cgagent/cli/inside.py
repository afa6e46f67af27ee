"""``top`` and ``diff``: looking into a container."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cgagent.cli.agent import connect
from cgagent.cli.flags import REMAINDER
from cgagent.cli.output import table
from cgagent.client.http import query, quote
from cgagent.errors import InvalidInputError
from cgagent.standard import printable

if TYPE_CHECKING:
    from cgagent.cli.main import Context


def top(context: Context) -> int:
    parser = context.parser(
        "[CONTAINER [PS OPTIONS]]",
        "Show all containers live on the whole screen, or the processes of one, with the host's "
        "ids; of ps there are -ef, aux and -o COLUMN[,COLUMN...].",
    )
    parser.add_argument("container", metavar="CONTAINER", nargs="?")
    parser.add_argument("options", nargs=REMAINDER, metavar="PS OPTIONS")
    args = parser.parse_args(context.args)
    if args.container is None:
        return _live(context)
    path = f"/v1/containers/{quote(args.container)}/processes"
    found = connect(context).request("GET", path + query(ps_args=" ".join(args.options)))
    print(table(found["titles"], found["processes"]))
    return 0


def _live(context: Context) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidInputError(
            "top without a container needs a terminal; use cgagent stats --no-stream"
        )
    from cgagent.cli.top.screen import run

    run(context, connect(context))
    return 0


def diff(context: Context) -> int:
    parser = context.parser(
        "CONTAINER", "Show what a container has Added, Changed and Deleted in its root file system."
    )
    parser.add_argument("container", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    path = f"/v1/containers/{quote(args.container)}/changes"
    for change in connect(context).request("GET", path):
        print(change["kind"], printable(change["path"]))
    return 0
