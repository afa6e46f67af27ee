"""``run``, ``create``, ``exec`` and ``attach``: containers and commands with their streams."""

from __future__ import annotations

import posix as os  # the C part: os itself takes 1.5 ms to be loaded

from cgagent.cli import create_flags, stream
from cgagent.cli.agent import connect
from cgagent.cli.flags import REMAINDER
from cgagent.client.http import Client, exit_code, query, quote
from cgagent.errors import (
    CgagentError,
    ConflictError,
    InvalidInputError,
    NoSuchImageError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
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


class _Made:
    """The container that a command makes, and the file of ``--cidfile`` for its id.

    The file is made first, so that it is ours alone, and goes again if nothing comes of it.
    """

    def __init__(self, id_file: str | None) -> None:
        self.path: str | None = None
        """In the API, as soon as it is known."""
        self._id_file = id_file
        self._fd = -1
        if id_file is not None:
            try:
                self._fd = os.open(id_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                raise InvalidInputError(
                    f"container id file {id_file} exists; make sure the other container is not "
                    "running, or remove the file"
                ) from None
            except OSError as e:
                raise self._failure(e) from None

    @property
    def id(self) -> str:
        return (self.path or "").rpartition("/")[2]

    def note(self, path: str) -> None:
        """It is there now. Raises InvalidInputError: its id cannot be written."""
        self.path = path
        if self._id_file is not None:
            try:
                os.write(self._fd, self.id.encode())
                os.close(self._fd)
            except OSError as e:
                raise self._failure(e) from None

    def give_up(self, client: Client, *, remove: bool) -> None:
        """After an error, which is the one to tell."""
        if self.path is None and self._id_file is not None:
            os.unlink(self._id_file)
        if self.path is not None and remove:
            try:
                client.request("DELETE", f"{self.path}?force=true")
            except CgagentError:
                return

    def _failure(self, error: OSError) -> InvalidInputError:
        return InvalidInputError(f"--cidfile {self._id_file}: {str(error.strerror).lower()}")


def _pulling(client: Client, args: Namespace, make: Callable[[], Any]) -> Any:
    """What `make` gives, the image being pulled first if ``--pull`` says so."""
    if args.pull == "always":
        _pull(client, args)
    try:
        return make()
    except NoSuchImageError:
        if args.pull == "never":
            raise
        _pull(client, args)
        return make()


def _pull(client: Client, args: Namespace) -> None:
    from cgagent.cli.images import pull_with_progress

    pull_with_progress(client, args.image, quiet=args.quiet, platform=args.platform or "")


def _create(client: Client, args: Namespace, body: dict[str, Any], made: _Made) -> None:
    def make() -> Any:
        return client.request("POST", "/v1/containers", body)

    made.note(f"/v1/containers/{_pulling(client, args, make)['id']}")


def run(context: Context) -> int:
    parser = _parser(
        context,
        "[flags] IMAGE [COMMAND [ARG...]]",
        "Create a container of an image and run a command in it.",
    )
    parser.add_argument("-d", "--detach", action="store_true", help="print the id and leave it")
    parser.add_argument(
        "-a",
        "--attach",
        action="append",
        default=[],
        type=str.lower,
        choices=["stdin", "stdout", "stderr"],
        help="only these streams",
    )
    parser.add_argument(
        "--sig-proxy",
        action="store_true",
        default=True,
        help="pass signals on (the default; --sig-proxy=false: they are the client's)",
    )
    _add_detach_keys(parser)
    create_flags.add_flags(parser)
    args = parser.parse_args(context.args)
    interactive = args.interactive and (not args.attach or "stdin" in args.attach)
    body = create_flags.request(args, foreground=not args.detach)
    client = connect(context)
    made = _Made(args.cidfile)
    try:
        if args.detach:
            _create(client, args, body, made)
            client.request("POST", f"{made.path}/start")
            print(made.id)
            return 0
        code: int = _pulling(
            client, args, lambda: _stay(client, args, body, made, stdin=interactive)
        )
    except (CgagentError, KeyboardInterrupt):
        made.give_up(client, remove=args.rm)
        raise
    return code


def _stay(
    client: Client, args: Namespace, body: dict[str, Any], made: _Made, *, stdin: bool
) -> int:
    """Make, start and be connected, all in one request; the exit code.

    It returns only when everything that follows the end is done, so that the next command finds
    it done.
    """
    path = "/v1/containers/run" + query(stdin=stdin, detach_keys=args.detach_keys)
    path += "".join(
        f"&{s}=false" for s in ("stdout", "stderr") if args.attach and s not in args.attach
    )
    if args.tty and stdin:
        from cgagent.cli import terminal

        return terminal.session(client, path, body, connected=made.note)
    signals = stream.Signals(client if args.sig_proxy else None)
    try:
        connection = client.upgrade(path, body)
    except BaseException:
        signals.undo()
        raise
    made.note(connection.location)
    signals.reach(connection.location)
    if args.tty:
        from cgagent.cli import terminal

        terminal.follow_size(client, connection.location)
    code = exit_code(stream.pump(connection, stdin=stdin))
    connection.wait_for_end()
    return code


def create(context: Context) -> int:
    parser = _parser(
        context, "[flags] IMAGE [COMMAND [ARG...]]", "Create a container, to be started later."
    )
    create_flags.add_flags(parser)
    args = parser.parse_args(context.args)
    body = create_flags.request(args, foreground=False)
    client = connect(context)
    body["stdin_once"] = args.interactive  # for start -ai, as docker has it
    made = _Made(args.cidfile)
    try:
        _create(client, args, body, made)
    except (CgagentError, KeyboardInterrupt):
        made.give_up(client, remove=True)
        raise
    print(made.id)
    return 0


def exec_(context: Context) -> int:
    parser = context.parser(
        "[flags] CONTAINER COMMAND [ARG...]", "Run a command inside a running container."
    )
    add = parser.add_argument
    add("-d", "--detach", action="store_true", help="print the id and leave it")
    add("-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help="environment")
    add("--env-file", action="append", default=[], metavar="FILE", help="lines of environment")
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
        "env": [
            *create_flags.lines(args.env_file, "env"),
            *(item for item in map(create_flags.env, args.env) if "=" in item),
        ],
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
    path += query(stdin=args.interactive, detach_keys=args.detach_keys)
    if args.tty and args.interactive:
        from cgagent.cli import terminal

        return terminal.session(client, path, body)
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
    parser.add_argument(
        "--sig-proxy", action="store_true", default=True, help="pass signals on (the default)"
    )
    _add_detach_keys(parser)
    parser.add_argument("container", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    client = connect(context)
    detail = client.request("GET", f"/v1/containers/{quote(args.container)}")
    stdin = detail["config"]["stdin"] and not args.no_stdin
    from cgagent.cli import statuses

    if detail["state"]["status"] not in statuses.RUNNING:
        raise InvalidInputError(
            f"container {args.container} is not running; start it first "
            f"(cgagent start {args.container})"
        )
    path = f"/v1/containers/{detail['id']}"
    attach_path = f"{path}/attach" + query(stdin=stdin, detach_keys=args.detach_keys)
    if detail["config"]["tty"] and stdin:
        from cgagent.cli import terminal

        terminal.require(interactive=True)
        return terminal.session(client, attach_path, resize=path, redraw=True)
    connection = client.upgrade(attach_path)
    if detail["config"]["tty"]:
        from cgagent.cli import terminal

        terminal.follow_size(client, path, redraw=True)
    if not args.sig_proxy:
        return stream.stay_without_signals(connection, stdin=stdin)
    return stream.stay(client, connection, detail["id"], stdin=stdin)


def start_attached(client: Client, args: Namespace) -> int:
    """``start -a``: connected before its command runs, so that nothing of its output is missed.

    Raises:
        ConflictError: it runs already.
    """
    detail = client.request("GET", f"/v1/containers/{quote(args.containers[0])}")
    from cgagent.cli import statuses

    if detail["state"]["status"] in statuses.UP:
        raise ConflictError(f"container {args.containers[0]} runs already; see cgagent attach")
    path, options = f"/v1/containers/{detail['id']}", detail["config"]
    stdin = args.interactive and options["stdin"]
    attach_path = f"{path}/attach" + query(stdin=stdin, detach_keys=args.detach_keys)

    def begin(_location: str = "") -> None:
        client.request("POST", f"{path}/start")

    if options["tty"] and stdin:
        from cgagent.cli import terminal

        terminal.require(interactive=True)
        return terminal.session(client, attach_path, resize=path, connected=begin)
    connection = client.upgrade(attach_path)
    begin()
    return stream.stay(client, connection, detail["id"], stdin=stdin)
