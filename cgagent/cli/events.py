"""``events``: what happens, as docker events shows it."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.agent import connect
from cgagent.cli.filters import add_filter
from cgagent.cli.formats import WHOLE, fill
from cgagent.client.http import query, quote
from cgagent.moments import moment
from cgagent.standard import printable

if TYPE_CHECKING:
    from cgagent.cli.main import Context

_DOCKERS_NAMES: Final = {"exit_code": "exitCode", "old_name": "oldName"}


def events(context: Context) -> int:
    parser = context.parser(
        "[--since TIME] [--until TIME] [-f NAME=VALUE] [--format FORMAT]",
        "Show what happens from now on, or since a time.",
    )
    add = parser.add_argument
    add("--since", metavar="TIME", help="also earlier ones: 10m, or 2026-11-24T12:00:00Z")
    add("--until", metavar="TIME", help="and no longer than until then")
    add_filter(parser, ("type", "container", "event", "image", "label", "volume"))
    add("--format", metavar="FORMAT", help="json, or text with fields such as {{.Action}}")
    add("--no-follow", action="store_true", help="only what happened, all that is kept")
    args = parser.parse_args(context.args)
    since_ns = moment(args.since, "--since")
    if since_ns is None:
        since_ns = 0 if args.no_follow else time.time_ns()
    path = "/v1/events" + query(
        follow=not args.no_follow,
        since_ns=since_ns,
        until_ns=moment(args.until, "--until"),
    )
    path += "".join(f"&filter={quote(item)}" for item in args.filter)
    for event in connect(context).lines("GET", path):
        print(_shown(event, args.format), flush=True)
    return 0


def _shown(event: dict[str, Any], format_: str | None) -> str:
    attributes = {_DOCKERS_NAMES.get(k, k): v for k, v in sorted(event["attributes"].items())}
    if format_ is None:
        listed = printable(", ".join(f"{name}={value}" for name, value in attributes.items()))
        when = _local_time(event["time_ns"])
        return f"{when} {event['type']} {event['action']} {event['id']} ({listed})"
    shape = _shape(event, attributes)
    if format_ in WHOLE:
        return json.dumps(shape, separators=(",", ":"))
    return fill(shape, format_)


def _shape(event: dict[str, Any], attributes: dict[str, str]) -> dict[str, Any]:
    """Docker's names."""
    old = {}
    if event["type"] in {"container", "image"}:  # fields of Docker's first years
        old = {"status": event["action"], "id": event["id"]}
        if "image" in attributes:
            old["from"] = attributes["image"]
    return {
        **old,
        "Type": event["type"],
        "Action": event["action"],
        "Actor": {"ID": event["id"], "Attributes": attributes},
        "scope": "local",
        "time": event["time_ns"] // 10**9,
        "timeNano": event["time_ns"],
    }


def _local_time(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    local = datetime.fromtimestamp(seconds).astimezone()
    zone = local.strftime("%z")
    return f"{local:%Y-%m-%dT%H:%M:%S}.{rest:09d}" + (
        "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    )
