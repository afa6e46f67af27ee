"""``top`` and ``diff``: looking into a container."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cgagent.cli.agent import connect
from cgagent.cli.client import query, quote
from cgagent.cli.output import table

if TYPE_CHECKING:
    from cgagent.cli.main import Context


def top(context: Context) -> int:
    parser = context.parser(
        "CONTAINER [PS OPTIONS]",
        "Show the processes of a container, with the host's ids; "
        "of ps there are -ef, aux and -o COLUMN[,COLUMN...].",
    )
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="PS OPTIONS")
    args = parser.parse_args(context.args)
    path = f"/v1/containers/{quote(args.container)}/processes"
    found = connect(context).request("GET", path + query(ps_args=" ".join(args.options)))
    print(
        table(found["titles"], [[_printable(cell) for cell in row] for row in found["processes"]])
    )
    return 0


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def diff(context: Context) -> int:
    parser = context.parser(
        "CONTAINER", "Show what a container has Added, Changed and Deleted in its root file system."
    )
    parser.add_argument("container", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    path = f"/v1/containers/{quote(args.container)}/changes"
    for change in connect(context).request("GET", path):
        print(change["kind"], _printable(change["path"]))
    return 0
