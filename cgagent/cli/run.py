"""``run``, ``create``, ``exec`` and ``attach``: containers and commands with their streams."""

from __future__ import annotations

import os

from cgagent.cli import create_flags, stream
from cgagent.cli.agent import connect
from cgagent.cli.client import Client, query, quote
from cgagent.cli.flags import REMAINDER
from cgagent.errors import CgagentError, InvalidInputError, NoSuchImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cgagent.cli.flags import Flags, Namespace
    from cgagent.cli.main import Context


def _parser(context: Context, usage: str, description: str) -> Flags:
    parser = context.parser(usage, description, add_help=False)  # -h is docker's --hostname
    parser.add_argument("--help", action="help", help="show this text")
    return parser


def _add_detach_keys(parser: Flags) -> None:
    parser.add_argument(
        "--detach-keys",
        metavar="KEYS",
        help="what ends a terminal's session and nothing else; default ctrl-p,ctrl-q",
    )


def _create(client: Client, body: dict[str, Any], id_file: str | None) -> dict[str, Any]:
    """Create, pulling the image first if it is not there; the id goes into a file as well."""
    if id_file is None:
        return _create_pulling(client, body)
    try:
        with open(id_file, "x", encoding="ascii") as f:
            made = _create_pulling(client, body)
            f.write(made["id"])
    except FileExistsError:
        raise InvalidInputError(
            f"container id file {id_file} exists; make sure the other container is not running, "
            "or remove the file"
        ) from None
    except CgagentError:
        os.unlink(id_file)
        raise
    except OSError as e:
        raise InvalidInputError(f"--cidfile {id_file}: {str(e.strerror).lower()}") from None
    return made


def _create_pulling(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    try:
        made = client.request("POST", "/v1/containers", body)
    except NoSuchImageError:
        from cgagent.cli.images import pull_with_progress

        pull_with_progress(client, body["image"])
        made = client.request("POST", "/v1/containers", body)
    value: dict[str, Any] = made
    return value


def run(context: Context) -> int:
    parser = _parser(
        context,
        "[flags] IMAGE [COMMAND [ARG...]]",
        "Create a container of an image and run a command in it.",
    )
    parser.add_argument("-d", "--detach", action="store_true", help="print the id and leave it")
    _add_detach_keys(parser)
    create_flags.add_flags(parser)
    args = parser.parse_args(context.args)
    body = create_flags.request(args, foreground=not args.detach)
    client = connect(context)
    made = _create(client, body, args.cidfile)
    try:
        if args.detach:
            client.request("POST", f"/v1/containers/{made['id']}/start")
            print(made["id"])
            return 0
        code, goes_on = _foreground(client, args, f"/v1/containers/{made['id']}")
    except (CgagentError, KeyboardInterrupt):
        if args.rm:
            _remove_quietly(client, made["id"])
        raise
    if args.rm and not goes_on:
        _wait_until(client, made["id"], "removed")
    elif not args.restart and not goes_on:
        _wait_until(client, made["id"], "not-running")
    return code


def _foreground(client: Client, args: Namespace, path: str) -> tuple[int, bool]:
    """Start a container and be connected; the exit code, and whether it goes on without us."""
    attach_path = f"{path}/attach" + query(
        start=True, stdin=args.interactive, detach_keys=args.detach_keys
    )
    if args.tty and args.interactive:
        from cgagent.cli import terminal

        end = terminal.session(client, attach_path, resize=path)
        return end.code, end.goes_on
    connection = client.upgrade(attach_path)
    if args.tty:
        from cgagent.cli import terminal

        terminal.follow_size(client, path)
    container = path.rpartition("/")[2]
    return stream.stay(client, connection, container, stdin=args.interactive), False


def _remove_quietly(client: Client, container: str) -> None:
    """The error that led here is the one to tell."""
    try:
        client.request("DELETE", f"/v1/containers/{container}?force=true")
    except CgagentError:
        return


def _wait_until(client: Client, container: str, condition: str) -> None:
    """So that the next command finds what this one has done."""
    try:
        client.request("POST", f"/v1/containers/{container}/wait?condition={condition}")
    except CgagentError:
        return  # removed before we asked; or the agent has ended, which is no matter of the run's


def create(context: Context) -> int:
    parser = _parser(
        context, "[flags] IMAGE [COMMAND [ARG...]]", "Create a container, to be started later."
    )
    create_flags.add_flags(parser)
    args = parser.parse_args(context.args)
    body = create_flags.request(args, foreground=False)
    print(_create(connect(context), body, args.cidfile)["id"])
    return 0


def exec_(context: Context) -> int:
    parser = context.parser(
        "[flags] CONTAINER COMMAND [ARG...]", "Run a command inside a running container."
    )
    add = parser.add_argument
    add("-d", "--detach", action="store_true", help="print the id and leave it")
    add("-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help="environment")
    add("-i", "--interactive", action="store_true", help="keep standard input open")
    add("-t", "--tty", action="store_true", help="give it a terminal")
    _add_detach_keys(parser)
    add("-u", "--user", metavar="USER[:GROUP]", help="who runs the command")
    add("-w", "--workdir", metavar="DIR", help="working directory inside")
    add("--privileged", action="store_true", help="with every capability")
    add("container", metavar="CONTAINER")
    add("command", nargs=REMAINDER, metavar="COMMAND")
    args = parser.parse_args(context.args)
    if not args.command:
        parser.error("a command is needed")
    body = {
        "command": args.command,
        "env": [create_flags.env(item) for item in args.env],
        "working_dir": args.workdir,
        "user": args.user,
        "tty": args.tty,
        "privileged": args.privileged,
    }
    if args.tty:
        body["console_size"] = create_flags.console_size(
            interactive=args.interactive and not args.detach
        )
    client = connect(context)
    path = f"/v1/containers/{quote(args.container)}/exec"
    if args.detach:
        print(client.request("POST", path, body)["id"])
        return 0
    path += query(detach_keys=args.detach_keys)
    if args.tty and args.interactive:
        from cgagent.cli import terminal

        return terminal.session(client, path, body).code
    connection = client.upgrade(path, body)
    if args.tty:
        from cgagent.cli import terminal

        terminal.follow_size(client, connection.location)
    return stream.stay_without_signals(connection, stdin=args.interactive)


def attach(context: Context) -> int:
    parser = context.parser(
        "[flags] CONTAINER", "Connect to a running container's input and output."
    )
    parser.add_argument("--no-stdin", action="store_true", help="do not send standard input")
    _add_detach_keys(parser)
    parser.add_argument("container", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    client = connect(context)
    detail = client.request("GET", f"/v1/containers/{quote(args.container)}")
    stdin = detail["options"]["stdin"] and not args.no_stdin
    if detail["state"]["status"] not in {"running", "frozen"}:
        raise InvalidInputError(
            f"container {args.container} is not running; start it first "
            f"(cgagent start {args.container})"
        )
    path = f"/v1/containers/{detail['id']}"
    attach_path = f"{path}/attach" + query(stdin=stdin, detach_keys=args.detach_keys)
    if detail["options"]["tty"] and stdin:
        from cgagent.cli import terminal

        terminal.require(interactive=True)
        return terminal.session(client, attach_path, resize=path, redraw=True).code
    connection = client.upgrade(attach_path)
    if detail["options"]["tty"]:
        from cgagent.cli import terminal

        terminal.follow_size(client, path, redraw=True)
    return stream.stay(client, connection, detail["id"], stdin=stdin)
