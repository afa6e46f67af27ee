"""``freeze``, ``thaw``, ``hibernate``, ``update``, ``adopt``, ``release``: control of what runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.cli import limits
from cgagent.cli.agent import connect
from cgagent.cli.containers import at_once, each
from cgagent.cli.create_flags import restart_policy
from cgagent.client.http import query, quote
from cgagent.units import parse_duration, show_size

if TYPE_CHECKING:
    from typing import Any, Final

    from cgagent.cli.main import Context


def freeze(context: Context) -> int:
    parser = context.parser(
        "[--for SECONDS] [--timeout SECONDS] CONTAINER [CONTAINER...]",
        "Stop all tasks of containers where they are, with nothing lost.",
    )
    parser.add_argument("--for", metavar="SECONDS", dest="lease", help="thaw again by itself")
    parser.add_argument("--timeout", metavar="SECONDS", help="then thaw again and fail; default 10")
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    timeout = None if args.timeout is None else parse_duration(args.timeout, "--timeout")
    lease = None if args.lease is None else parse_duration(args.lease, "--for")
    client = connect(context)
    options = query(timeout_s=timeout, lease_s=lease)
    return at_once(
        client, "POST", args.containers, lambda c: f"/v1/containers/{quote(c)}/freeze" + options
    )


def hibernate(context: Context) -> int:
    parser = context.parser(
        "[--for TIME] [--force] [--no-reclaim] CONTAINER [CONTAINER...]",
        "Put containers to sleep: frozen, their memory taken back, until something comes for them "
        "(a packet, exec, attach, thaw, or the time).",
    )
    parser.add_argument("--for", metavar="TIME", dest="lease", help="wake by itself after so long")
    parser.add_argument("--force", action="store_true", help="although something waits for it")
    parser.add_argument("--no-reclaim", action="store_true", help="leave it its memory")
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    lease = None if args.lease is None else parse_duration(args.lease, "--for")
    options = query(lease_s=lease, force=args.force or None, reclaim=not args.no_reclaim)

    def path(container: str) -> str:
        return f"/v1/containers/{quote(container)}/hibernate{options}"

    def slept(sleep: dict[str, Any]) -> str:
        before, after = sleep["memory_before_bytes"], sleep["memory_after_bytes"]
        sizes = f"  {show_size(before)} -> {show_size(after)}" if before and after else ""
        return f"{sleep['name']}{sizes}"

    return at_once(connect(context), "POST", args.containers, path, slept)


def thaw(context: Context) -> int:
    parser = context.parser("CONTAINER [CONTAINER...]", "Let frozen containers go on.")
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    client = connect(context)
    return at_once(client, "POST", args.containers, lambda c: f"/v1/containers/{quote(c)}/thaw")


def adopt(context: Context) -> int:
    parser = context.parser(
        "--pid PID [--name NAME] [limits]",
        "Bring a process of the host, with its descendants, under limits and into ps.",
    )
    parser.add_argument("--pid", type=int, required=True, metavar="PID")
    parser.add_argument("--name", help="a name for it")
    limits.add_flags(parser)
    args = parser.parse_args(context.args)
    body = {"pid": args.pid, "name": args.name, "limits": limits.request(args)}
    print(connect(context).request("POST", "/v1/containers/adopt", body)["id"])
    return 0


def release(context: Context) -> int:
    parser = context.parser(
        "CONTAINER [CONTAINER...]", "Put adopted processes back into the cgroups they came from."
    )
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    client = connect(context)
    return at_once(client, "POST", args.containers, lambda c: f"/v1/containers/{quote(c)}/release")


_WISHES: Final = (
    ("--reclaim", "MODE", "off, or auto[:psi=0.1], as of run"),
    ("--boost", "WIDER", "off, or as of run: for the next starts"),
    ("--budget", "USE", "off, or as of run: counted from now on"),
    ("--auto-size", "RANGES", "off, or as of run"),
)


def update(context: Context) -> int:
    parser = context.parser(
        "[limits] [--restart POLICY] [--reclaim MODE] [--boost WIDER] "
        "[--budget USE] [--auto-size RANGES] CONTAINER [CONTAINER...]",
        "Change limits, at once where a container runs, or what happens when it ends.",
    )
    limits.add_flags(parser)
    parser.add_argument("--restart", metavar="POLICY", help="as of run")
    for flag, metavar, text in _WISHES:
        parser.add_argument(flag, metavar=metavar, help=text)
    limits.add_force(parser)
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    body = limits.request(args)
    if args.restart is not None:
        body["restart"] = restart_policy(args.restart)
    wishes = {flag[2:].replace("-", "_") for flag, _, _ in _WISHES}
    body |= {name: text for name in wishes if (text := getattr(args, name)) is not None}
    if not body:
        parser.error("no limit is given, and nothing else that can be changed")
    client = connect(context)

    def change(container: str) -> str:
        path = f"/v1/containers/{quote(container)}/update" + query(force=args.force or None)
        client.request("POST", path, body)
        return container

    return each(args.containers, change)
