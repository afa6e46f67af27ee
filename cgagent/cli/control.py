"""``freeze``, ``thaw`` and ``update``: control of running containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.cli import limits
from cgagent.cli.agent import connect
from cgagent.cli.client import query, quote
from cgagent.cli.containers import each
from cgagent.cli.units import parse_duration

if TYPE_CHECKING:
    from cgagent.cli.main import Context


def freeze(context: Context) -> int:
    parser = context.parser(
        "[--timeout SECONDS] CONTAINER [CONTAINER...]",
        "Stop all tasks of containers where they are, with nothing lost.",
    )
    parser.add_argument("--timeout", metavar="SECONDS", help="then thaw again and fail; default 10")
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    timeout = None if args.timeout is None else parse_duration(args.timeout, "--timeout")
    client = connect(context)
    return each(
        args.containers,
        lambda c: client.request(
            "POST", f"/v1/containers/{quote(c)}/freeze" + query(timeout_s=timeout)
        ),
    )


def thaw(context: Context) -> int:
    parser = context.parser("CONTAINER [CONTAINER...]", "Let frozen containers go on.")
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    client = connect(context)
    return each(
        args.containers, lambda c: client.request("POST", f"/v1/containers/{quote(c)}/thaw")
    )


def update(context: Context) -> int:
    parser = context.parser(
        "[limits] CONTAINER [CONTAINER...]", "Change limits, at once where a container runs."
    )
    limits.add_flags(parser)
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    body = limits.request(args)
    if not body:
        parser.error("no limit is given")
    client = connect(context)

    def change(container: str) -> str:
        client.request("POST", f"/v1/containers/{quote(container)}/update", body)
        return container

    return each(args.containers, change)
