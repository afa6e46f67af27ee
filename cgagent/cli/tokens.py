"""``token``: what clients over TCP show instead of a certificate."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from cgagent.cli.agent import connect
from cgagent.cli.containers import each
from cgagent.cli.output import table
from cgagent.cli.verbs import dispatch
from cgagent.client.http import quote
from cgagent.units import parse_duration, show_time

if TYPE_CHECKING:
    from cgagent.cli.main import Context

_VERBS: Final = {
    "create": ("tokens", "create"),
    "ls": ("tokens", "list_"),
    "list": ("tokens", "list_"),
    "revoke": ("tokens", "revoke"),
    "rm": ("tokens", "revoke"),
}
_SCOPES: Final = ["metrics", "read", "control"]
_DAY: Final = 86400


def token(context: Context) -> int:
    return dispatch(context, _VERBS, "Tokens for clients over TCP.")


def create(context: Context) -> int:
    parser = context.parser(
        "[--scope SCOPE] [--expires TIME] NAME",
        "Make a token and print it, once: the agent keeps its hash alone.",
    )
    add = parser.add_argument
    add("--scope", default="read", choices=_SCOPES, help="metrics, read (default) or control")
    add("--expires", metavar="TIME", help="30d, 12h, 90m; never if it is left out")
    add("name", metavar="NAME")
    args = parser.parse_args(context.args)
    body = {"name": args.name, "scope": args.scope, "lifetime_s": _lifetime_s(args.expires)}
    print(connect(context).request("POST", "/v1/tokens", body)["token"])
    return 0


def _lifetime_s(text: str | None) -> float | None:
    if text is None:
        return None
    days, is_days, rest = text.partition("d")
    if is_days and not rest and days.isdecimal():
        return float(days) * _DAY
    return parse_duration(text, "--expires")


def list_(context: Context) -> int:
    context.parser("", "List tokens, by name.").parse_args(context.args)
    rows = [
        (
            one["name"],
            one["scope"],
            show_time(one["created_ns"]),
            _expiry(one["expires_ns"]),
        )
        for one in connect(context).request("GET", "/v1/tokens")
    ]
    print(table(("NAME", "SCOPE", "CREATED", "EXPIRES"), rows))
    return 0


def _expiry(moment_ns: int | None) -> str:
    if moment_ns is None:
        return "never"
    return f"{show_time(moment_ns)}{' (over)' if moment_ns < time.time_ns() else ''}"


def revoke(context: Context) -> int:
    parser = context.parser("NAME...", "Let nobody in with these tokens any more.")
    parser.add_argument("names", nargs="+", metavar="NAME")
    names = parser.parse_args(context.args).names
    client = connect(context)
    return each(names, lambda name: client.request("DELETE", f"/v1/tokens/{quote(name)}"))
