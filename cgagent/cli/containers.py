"""Commands on containers that need no streams of their own.

``start``, ``stop``, ``restart``, ``kill``, ``rm``, ``rename``, ``wait``, ``logs``.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from cgagent import standard
from cgagent.cli.agent import connect
from cgagent.cli.verbs import dispatch
from cgagent.client.http import Client, query, quote
from cgagent.errors import CgagentError
from cgagent.moments import moment
from cgagent.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cli.main import Context


_VERBS: Final = {
    **{name: ("containers", name) for name in ("start", "stop", "restart", "kill", "rename")},
    **{name: ("containers", name) for name in ("rm", "wait", "logs")},
    **{name: ("control", name) for name in ("update", "freeze", "thaw", "hibernate")},
    **{name: ("run", name) for name in ("run", "create", "attach")},
    **{name: ("inside", name) for name in ("diff", "top")},
    **{name: ("archives", name) for name in ("commit", "export")},
    "cp": ("copy", "cp"),
    "exec": ("run", "exec_"),
    "inspect": ("inspect", "inspect_containers"),
    "list": ("ps", "ps"),
    "ls": ("ps", "ps"),
    "pause": ("control", "freeze"),
    "ps": ("ps", "ps"),
    "prune": ("disk", "prune_containers"),
    "remove": ("containers", "rm"),
    "stats": ("stats", "stats"),
    "unpause": ("control", "thaw"),
}


def container(context: Context) -> int:
    """The management form of the commands about containers."""
    return dispatch(context, _VERBS, "Containers.")


def each(names: list[str], action: Callable[[str], str | None]) -> int:
    """Do it for every container; tell each error and go on; 1 if there was one."""
    worst = 0
    for name in names:
        try:
            print(action(name) or name)
        except CgagentError as e:
            standard.tell(e.message)
            worst = 1
    return worst


def at_once(
    client: Client,
    method: str,
    names: list[str],
    path: Callable[[str], str],
    show: Callable[[Any], str | None] = lambda _: None,
) -> int:
    """As `each`, of all at the same time; told in their order."""
    answers = client.requests(method, names, path)

    def answer(_name: str) -> str | None:
        found = next(answers)
        if isinstance(found, CgagentError):
            raise found
        return show(found)

    return each(names, answer)


def _path(container: str, verb: str = "") -> str:
    return f"/v1/containers/{quote(container)}" + (f"/{verb}" if verb else "")


def start(context: Context) -> int:
    parser = context.parser("[-a] [-i] CONTAINER [CONTAINER...]", "Start containers.")
    parser.add_argument("-a", "--attach", action="store_true", help="stay with one, as run does")
    parser.add_argument("-i", "--interactive", action="store_true", help="and give it input")
    parser.add_argument("--detach-keys", metavar="KEYS", help="as of attach")
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    client = connect(context)
    if not args.attach and not args.interactive:
        return each(args.containers, lambda c: client.request("POST", _path(c, "start")))
    if len(args.containers) > 1:
        parser.error("one container alone can be started and attached to")
    from cgagent.cli.run import start_attached

    return start_attached(client, args)


def _stopping(context: Context, verb: str, description: str) -> int:
    parser = context.parser("[-s SIGNAL] [-t SECONDS] CONTAINER [CONTAINER...]", description)
    parser.add_argument("-s", "--signal", metavar="SIGNAL", help="instead of the stop signal")
    parser.add_argument(
        "-t", "--time", "--timeout", metavar="SECONDS", help="before SIGKILL; -1: never"
    )
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    timeout = -1.0 if args.time == "-1" else args.time and parse_duration(args.time, "--time")
    client = connect(context)
    return at_once(
        client,
        "POST",
        args.containers,
        lambda c: _path(c, verb) + query(timeout_s=timeout, signal=args.signal),
    )


def stop(context: Context) -> int:
    return _stopping(context, "stop", "Stop containers: a signal, then after a while SIGKILL.")


def restart(context: Context) -> int:
    return _stopping(context, "restart", "Stop and start containers.")


def kill(context: Context) -> int:
    parser = context.parser(
        "[-s SIGNAL] CONTAINER [CONTAINER...]", "Send a signal to the first process of containers."
    )
    parser.add_argument("-s", "--signal", default="KILL", help="a name or number; default KILL")
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    client = connect(context)
    return at_once(
        client, "POST", args.containers, lambda c: _path(c, "kill") + query(signal=args.signal)
    )


def rm(context: Context) -> int:
    parser = context.parser("[-fv] CONTAINER [CONTAINER...]", "Remove containers and their files.")
    parser.add_argument("--link", action="store_true", help="only a link, CONTAINER/ALIAS")
    parser.add_argument("-f", "--force", action="store_true", help="running ones too (SIGKILL)")
    parser.add_argument("-v", "--volumes", action="store_true", help="their nameless volumes, too")
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    client = connect(context)
    if args.link:
        return at_once(
            client, "DELETE", args.containers, lambda c: f"/containers/{quote(c)}?link=1"
        )
    options = query(force=args.force or None, volumes=args.volumes or None)
    return at_once(client, "DELETE", args.containers, lambda c: _path(c) + options)


def rename(context: Context) -> int:
    parser = context.parser("CONTAINER NAME", "Give a container another name.")
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("name", metavar="NAME")
    args = parser.parse_args(context.args)
    connect(context).request("POST", _path(args.container, "rename") + query(name=args.name))
    return 0


def wait(context: Context) -> int:
    parser = context.parser(
        "[--condition CONDITION] CONTAINER [CONTAINER...]",
        "Wait until containers have ended and print their exit codes.",
    )
    conditions = ("not-running", "next-exit", "removed")
    parser.add_argument("--condition", choices=conditions, default=conditions[0])
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    condition = query(condition=args.condition)
    client = connect(context)
    return at_once(
        client,
        "POST",
        args.containers,
        lambda c: _path(c, "wait") + condition,
        lambda answer: str(answer["exit_code"] or 0),  # 0, as docker has it, of one that never ran
    )


def logs(context: Context) -> int:
    parser = context.parser(
        "[-ft] [--tail N] [--since TIME] [--until TIME] CONTAINER", "Show a container's output."
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on until it ends")
    parser.add_argument("-n", "--tail", default="all", metavar="N", help="only the last lines")
    parser.add_argument("-t", "--timestamps", action="store_true", help="when each line came")
    parser.add_argument("--details", action="store_true", help="what --log-opt env, labels chose")
    parser.add_argument("--since", metavar="TIME", help="2026-11-24T12:00:00Z, or 10m: so long ago")
    parser.add_argument("--until", metavar="TIME", help="likewise")
    parser.add_argument("container", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    if args.tail != "all" and not args.tail.removeprefix("-").isdecimal():
        parser.error(f"--tail {args.tail!r} must be a number or all")
    tail = None if args.tail.startswith(("all", "-")) else int(args.tail)
    path = _path(args.container, "logs") + query(
        follow=args.follow,
        tail=tail,
        since_ns=moment(args.since, "--since"),
        until_ns=moment(args.until, "--until"),
    )
    _print_entries(connect(context), path, timestamps=args.timestamps, details=args.details)
    return 0


def _print_entries(client: Client, path: str, *, timestamps: bool, details: bool) -> None:
    inside_line = {1: False, 2: False}  # a long line comes in several entries
    for entries in client.batches("GET", path):
        for stream, together in groupby(entries, itemgetter("stream")):
            fd = 2 if stream == "stderr" else 1
            texts = []
            for entry in together:
                if (timestamps or details) and not inside_line[fd]:
                    texts.append(f"{entry['time']} " if timestamps else "")
                    texts.append(f"{_attributes(entry)} " if details else "")
                texts.append(entry["log"])
                inside_line[fd] = not entry["log"].endswith("\n")
            standard.write(fd, "".join(texts).encode("utf-8", "surrogateescape"))


def _attributes(entry: dict[str, Any]) -> str:
    """Return the entry's attributes as docker prints them, empty if it has none."""
    from urllib.parse import quote_plus

    pairs = sorted(entry.get("attrs", {}).items())
    return ",".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs)
