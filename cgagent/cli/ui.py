"""``ui``: to look at the page, here or from another machine."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli import browsing
from cgagent.cli.agent import connect
from cgagent.client.http import quote
from cgagent.units import parse_duration

if TYPE_CHECKING:
    from cgagent.cli.main import Context
    from cgagent.client.http import Client

_PORT: Final = 9754
_SCOPES: Final = ["read", "control"]
_MEANS: Final = {"read": "to look and to change nothing", "control": "to change things, too"}
_PREFIX: Final = "ui-"
"""Of the names of tokens that are made here."""


def ui(context: Context) -> int:
    parser = context.parser(
        "[--scope SCOPE] [--expires TIME] [--no-open]",
        "Open the page in a browser, signed in, where this machine has a screen; and print the "
        "link, and how to reach it through ssh.",
    )
    add = parser.add_argument
    add("--scope", default="read", choices=_SCOPES, help="read (default), or control")
    add("--expires", default="12h", metavar="TIME", help="of the token: 90m, 12h (default)")
    add("--no-open", action="store_true", help="print the link alone, also where there is a screen")
    args = parser.parse_args(context.args)
    lifetime_s = parse_duration(args.expires, "--expires")
    client = connect(context)
    info = client.request("GET", "/v1/info")
    if info.get("ui_listen"):
        link = _link(client, info["ui_listen"], args.scope, lifetime_s)
        if not args.no_open and browsing.has_display() and browsing.open_link(link):
            print("The page is opened in the browser.\n")
        _print_link(link, info["ui_listen"], args.scope, args.expires)
    else:
        _print_socket(info)
    return 0


def _link(client: Client, address: str, scope: str, lifetime_s: float) -> str:
    return f"http://{address}/ui/#token={_token(client, scope, lifetime_s)}"


def _print_link(link: str, address: str, scope: str, expires: str) -> None:
    port = address.rpartition(":")[2]
    print(f"The page, {_MEANS[scope]}, for {expires}:\n")
    print(f"  {link}\n")
    print("From another machine, before you open it there:\n")
    print(f"  ssh -N -L {port}:{address} root@{os.uname().nodename}")
    if scope == "read":
        print("\nWith --scope control it can freeze, stop and change limits as well.")


def _print_socket(info: dict[str, Any]) -> None:
    host = os.uname().nodename
    print("The page is at /ui of the agent's socket. From the machine with your browser:\n")
    print(f"  ssh -N -L {_PORT}:{info['socket']} root@{host}")
    print(f"  http://127.0.0.1:{_PORT}/ui/\n")
    print("Whoever reaches that port there may do all that root may on the socket. For tokens that")
    print("may only look, have the agent listen on a port of its loopback:\n")
    print(f"  cgagent serve --ui-listen 127.0.0.1:{_PORT}")
    print(f'  (or in /etc/cgagent/config.toml: ui-listen = "127.0.0.1:{_PORT}")')


def _token(client: Client, scope: str, lifetime_s: float) -> str:
    """Make one, and revoke those that were made here and have expired."""
    now_ns = time.time_ns()
    for one in client.request("GET", "/v1/tokens"):
        is_over = one["expires_ns"] is not None and one["expires_ns"] < now_ns
        if is_over and one["name"].startswith(_PREFIX):
            client.request("DELETE", f"/v1/tokens/{quote(one['name'])}")
    body = {"name": f"{_PREFIX}{now_ns}", "scope": scope, "lifetime_s": lifetime_s}
    token: str = client.request("POST", "/v1/tokens", body)["token"]
    return token
