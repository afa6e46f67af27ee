"""``login``, ``logout``, ``push``, ``search``, ``registries``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from cgagent import standard
from cgagent.cli import dockerconfig
from cgagent.cli.agent import connect
from cgagent.cli.filters import add_filter, add_table_format
from cgagent.cli.formats import WHOLE, print_listed
from cgagent.cli.images import follow
from cgagent.client.http import query
from cgagent.errors import DeniedError, InvalidInputError

if TYPE_CHECKING:
    from cgagent.cli.flags import Flags, Namespace
    from cgagent.cli.main import Context

_SEARCH_HEADINGS: Final = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
}
_SHOWN: Final = 45
"""Characters of a description."""
_RULE_HEADINGS: Final = {
    "Prefix": "PREFIX",
    "Location": "LOCATION",
    "Mirrors": "MIRRORS",
    "State": "STATE",
}
_SECRET_BYTES: Final = 1 << 16


def login(context: Context) -> int:
    parser = context.parser(
        "[flags] [REGISTRY]", "Log in to a registry; docker.io if none is said."
    )
    add = parser.add_argument
    add("-u", "--username", metavar="NAME")
    add("-p", "--password", metavar="SECRET", help="others see it in the list of processes")
    add("--password-stdin", action="store_true", help="take it from standard input")
    add("registry", nargs="?", metavar="REGISTRY", default=dockerconfig.HUB)
    args = parser.parse_args(context.args)
    host = dockerconfig.host_of(args.registry)
    asked = _asked(parser, args, host)
    client = connect(context)
    answer = client.request(
        "POST",
        "/v1/registries/login",
        {"registry": host},
        headers=(dockerconfig.encoded(asked),),
    )
    if answer["identity_token"]:
        asked = {"username": asked["username"], "identitytoken": answer["identity_token"]}
    where = dockerconfig.store(host, asked)
    if where == dockerconfig.path():
        standard.tell(f"the password is kept in {where}, readable by this user alone")
    print(answer["status"])
    return 0


def _asked(parser: Flags, args: Namespace, host: str) -> dict[str, str]:
    """Name and password, from flags, standard input or the terminal, or kept from before."""
    if args.password is not None and args.password_stdin:
        parser.error("--password and --password-stdin exclude each other")
    if args.password_stdin and not args.username:
        parser.error("--password-stdin needs --username")
    if args.password is not None:
        standard.tell("--password can be seen by others: --password-stdin is safer")
        secret = str(args.password)
    elif args.password_stdin:
        secret = _from_input()
    else:
        known = dockerconfig.lookup(host) if not args.username else {}
        if known:
            return known
        secret = ""
    username = args.username or _prompt("Username: ", hidden=False)
    secret = secret or _prompt("Password: ", hidden=True)
    if not username or not secret:
        raise InvalidInputError("login: a username and a password are needed")
    return {"username": username, "password": secret, "serveraddress": host}


def _from_input() -> str:
    raw = b""
    while len(raw) <= _SECRET_BYTES and (more := standard.read(0, _SECRET_BYTES)):
        raw += more
    return raw.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")


def _prompt(text: str, *, hidden: bool) -> str:
    if not os.isatty(0):
        raise DeniedError(
            "login: standard input is no terminal: give --username and --password-stdin"
        )
    if hidden:
        import getpass

        return getpass.getpass(text)
    print(text, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def logout(context: Context) -> int:
    parser = context.parser("[REGISTRY]", "Forget a login; that of docker.io if none is said.")
    parser.add_argument("registry", nargs="?", metavar="REGISTRY", default=dockerconfig.HUB)
    host = dockerconfig.host_of(parser.parse_args(context.args).registry)
    if dockerconfig.erase(host):
        print(f"Removing login credentials for {host}")
    else:
        print(f"Not logged in to {host}")
    return 0


def push(context: Context) -> int:
    parser = context.parser("[-a] [-q] NAME[:TAG]", "Send an image to the registry in its name.")
    add = parser.add_argument
    add("-a", "--all-tags", action="store_true", help="every tag of the repository")
    add("-q", "--quiet", action="store_true", help="no progress")
    add("--disable-content-trust", action="store_true", default=True, help="without effect")
    add("name", metavar="NAME[:TAG]")
    args = parser.parse_args(context.args)
    body = {"name": args.name, "all_tags": args.all_tags}
    headers = dockerconfig.header(args.name)
    done = follow(connect(context), "/v1/images/push", body, quiet=args.quiet, headers=headers)
    for one in done["pushed"]:
        line = f"{one['tag']}: digest: {one['digest']} size: {one['size_bytes']}"
        print(args.name if args.quiet else line)
    return 0


def search(context: Context) -> int:
    parser = context.parser("[flags] TERM", "Search docker.io, or the registry in REGISTRY/TERM.")
    add = parser.add_argument
    add_filter(parser, ("stars=NUMBER", "is-official=BOOL", "is-automated=BOOL"))
    add_table_format(parser, "Name")
    add("--limit", type=int, default=25, metavar="NUMBER", help="1 to 100 (default 25)")
    add("--no-trunc", action="store_true", help="whole descriptions")
    add("term", metavar="TERM")
    args = parser.parse_args(context.args)
    if not 1 <= args.limit <= 100:  # noqa: PLR2004 - Docker's bounds
        raise InvalidInputError(f"--limit {args.limit}: it is 1 to 100")
    checks = [_filter(*item.partition("=")[::2]) for item in args.filter]
    path = "/v1/search" + query(term=args.term, limit=args.limit)
    headers = dockerconfig.header(args.term)
    found = connect(context).request("GET", path, headers=headers)
    kept = [one for one in found if all(_holds(one, *check) for check in checks)]
    print_listed(
        [_shape(one, trim=not args.no_trunc) for one in kept], args.format, _SEARCH_HEADINGS
    )
    return 0


def _filter(name: str, value: str) -> tuple[str, int]:
    truths = {"true": 1, "1": 1, "false": 0, "0": 0}
    if name == "stars" and value.isdigit():
        return "star_count", int(value)
    if name in {"is-official", "is-automated"} and value.lower() in truths:
        return name.replace("-", "_"), truths[value.lower()]
    raise InvalidInputError(
        f"--filter {name}={value}: there are stars=NUMBER, is-official and is-automated=true|false"
    )


def _holds(one: dict[str, Any], name: str, wanted: int) -> bool:
    return one[name] >= wanted if name == "star_count" else bool(one[name]) is bool(wanted)


def _shape(one: dict[str, Any], *, trim: bool) -> dict[str, Any]:
    """Docker's names."""
    text = one["description"].replace("\n", " ")
    return {
        "Name": one["name"],
        "Description": f"{text[: _SHOWN - 1]}…" if trim and len(text) > _SHOWN else text,
        "StarCount": one["star_count"],
        "IsOfficial": "[OK]" if one["is_official"] else "",
        "IsAutomated": "[OK]" if one["is_automated"] else "",
    }


def registries(context: Context) -> int:
    parser = context.parser("[--format FORMAT]", "Show which registries are asked for which names.")
    add_table_format(parser, "Prefix")
    args = parser.parse_args(context.args)
    found = connect(context).request("GET", "/v1/registries")
    if args.format in WHOLE:
        print_listed(found, args.format, _RULE_HEADINGS)
        return 0
    print_listed([_rule(one) for one in found], args.format, _RULE_HEADINGS)
    return 0


def _rule(one: dict[str, Any]) -> dict[str, str]:
    states = [name for name in ("blocked", "insecure", "added") if one[name]]
    return {
        "Prefix": one["prefix"],
        "Location": one["location"],
        "Mirrors": ", ".join(one["mirrors"]) or "-",
        "State": ", ".join(states) or "-",
    }
