"""``context``: names for agents here and elsewhere, as docker's."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from cgagent import standard
from cgagent.cli.output import table
from cgagent.cli.verbs import dispatch
from cgagent.client import contextstore, place
from cgagent.client.contextstore import Stored
from cgagent.defaults import DEFAULT_SOCKET
from cgagent.errors import CgagentError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from cgagent.cli.main import Context

_VERBS: Final = {
    "create": ("contexts", "create"),
    "ls": ("contexts", "list_"),
    "list": ("contexts", "list_"),
    "use": ("contexts", "use"),
    "show": ("contexts", "show"),
    "inspect": ("contexts", "inspect"),
    "rm": ("contexts", "remove"),
    "remove": ("contexts", "remove"),
}
_FILES: Final = {"ca": "tlscacert", "cert": "tlscert", "key": "tlskey", "token": "token_file"}


def context(context: Context) -> int:
    return dispatch(context, _VERBS, "Agents by name.")


def create(context: Context) -> int:
    parser = context.parser("--host ADDRESS [flags] NAME", "Give an agent a name.")
    add = parser.add_argument
    add("--host", "-H", required=True, metavar="ADDRESS", help="tcp://, unix:// or ssh://")
    add("--description", default="", metavar="TEXT")
    add("--tls", action="store_true", help="TLS, whoever answers")
    add("--tlsverify", action="store_true", help="TLS with who can prove to be the agent")
    add("--tlscacert", metavar="FILE", help="who signs the agent's certificate")
    add("--tlscert", metavar="FILE", help="the client's certificate")
    add("--tlskey", metavar="FILE", help="its key")
    add("--token-file", metavar="FILE", help="a token of the agent's")
    add("name", metavar="NAME")
    args = parser.parse_args(context.args)
    given = {kind: getattr(args, flag) for kind, flag in _FILES.items()}
    sources = {kind: path for kind, path in given.items() if path}
    if "token" in sources:
        place.token_in(sources["token"])
    stored = Stored(
        name=args.name,
        host=place.checked("--host", args.host),
        description=args.description,
        tls=args.tls or args.tlsverify,
        verify=args.tlsverify or "ca" in sources,
    )
    contextstore.create(stored, sources)
    print(args.name)
    return 0


def list_(context: Context) -> int:
    parser = context.parser("[-q]", "List contexts; the one in use has a star.")
    parser.add_argument("-q", "--quiet", action="store_true", help="only names")
    is_quiet = parser.parse_args(context.args).quiet
    names = [place.DEFAULT, *contextstore.names()]
    if is_quiet:
        print("\n".join(names))
        return 0
    print(
        table(("NAME", "DESCRIPTION", "HOST", "ERROR"), [_row(n, _in_use(context)) for n in names])
    )
    return 0


def _row(name: str, used: str) -> tuple[str, ...]:
    shown = f"{name} *" if name == used else name
    try:
        found = _load(name)
    except CgagentError as e:
        return shown, "", "", e.message
    return shown, found.description, found.host, ""


def _load(name: str) -> Stored:
    if name == place.DEFAULT:
        host = f"unix://{DEFAULT_SOCKET}"
        return Stored(name=name, host=host, description="this host's agent")
    return contextstore.load(name)


def _in_use(context: Context) -> str:
    from_environment = place.environment("CGAGENT_CONTEXT")
    return context.flags.context or from_environment or place.current() or place.DEFAULT


def use(context: Context) -> int:
    parser = context.parser("NAME", "Take a context from now on; default is this host's agent.")
    parser.add_argument("name", metavar="NAME")
    name = parser.parse_args(context.args).name
    contextstore.use(name)
    for variable in ("CGAGENT_HOST", "CGAGENT_SOCKET", "CGAGENT_CONTEXT"):
        if place.environment(variable):
            standard.tell(f"{variable} is set, and wins over it")
    print(name)
    return 0


def show(context: Context) -> int:
    context.parser("", "Print the name of the context in use.").parse_args(context.args)
    print(_in_use(context))
    return 0


def inspect(context: Context) -> int:
    parser = context.parser("[NAME...]", "Show contexts as JSON; tokens and keys as paths alone.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    names = parser.parse_args(context.args).names or [_in_use(context)]
    print(json.dumps([_described(_load(name)) for name in names], indent=4))
    return 0


def _described(stored: Stored) -> dict[str, Any]:
    """Docker's names."""
    tls = {"SkipTLSVerify": not stored.verify} if stored.tls or stored.verify else {}
    return {
        "Name": stored.name,
        "Metadata": {"Description": stored.description},
        "Endpoints": {"cgagent": {"Host": stored.host, **tls}},
        "Storage": stored.files() if stored.name != place.DEFAULT else {},
    }


def remove(context: Context) -> int:
    parser = context.parser("[-f] NAME...", "Forget contexts, and the files copied for them.")
    parser.add_argument("-f", "--force", action="store_true", help="even the one in use")
    parser.add_argument("names", nargs="+", metavar="NAME")
    args = parser.parse_args(context.args)
    code = 0
    for name in args.names:
        try:
            _remove(name, force=args.force)
            print(name)
        except CgagentError as e:
            standard.tell(e.message)
            code = 1
    sys.stdout.flush()
    return code


def _remove(name: str, *, force: bool) -> None:
    if name == place.current() and not force:
        raise ConflictError(f"context {name!r} is in use; use another one first, or give --force")
    try:
        contextstore.remove(name)
    except NotFoundError:
        if not force:
            raise
    if name == place.current():
        contextstore.use(place.DEFAULT)
