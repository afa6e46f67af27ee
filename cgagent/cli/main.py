"""The entry point: global flags, the table of commands, and errors to exit codes."""

from __future__ import annotations

import posix as os  # the C part: os itself takes 1.5 ms to be loaded
import sys
from itertools import dropwhile, takewhile

from cgagent import __version__, standard
from cgagent.cli.flags import REMAINDER, SUPPRESS, Flags
from cgagent.errors import EXIT_CODE, CgagentError, InvalidInputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Any, Final, NoReturn


class Command:
    """`module` has the function, of the command's name if no other is given."""

    __slots__ = ("function", "help", "module", "name")

    def __init__(self, name: str, module: str, summary: str, function: str | None = None) -> None:
        self.name = name
        self.module = module
        self.help = summary
        self.function = function or name


COMMANDS: Final = (
    Command("run", "run", "create and start a container, and stay with it"),
    Command("create", "run", "create a container, to be started later"),
    Command("start", "containers", "start containers"),
    Command("stop", "containers", "stop containers: a signal, then after a while SIGKILL"),
    Command("restart", "containers", "stop and start containers"),
    Command("kill", "containers", "send a signal to containers"),
    Command("rm", "containers", "remove containers"),
    Command("rename", "containers", "give a container another name"),
    Command("wait", "containers", "wait until containers have ended, print their exit codes"),
    Command("exec", "run", "run a command inside a running container", "exec_"),
    Command("cp", "copy", "copy files out of a container or into it"),
    Command("diff", "inside", "show what a container has changed in its files"),
    Command("top", "inside", "show containers live, or the processes of one"),
    Command("attach", "run", "connect to a running container's input and output"),
    Command("ps", "ps", "list containers"),
    Command("inspect", "inspect", "show everything about containers or images, as JSON"),
    Command("logs", "containers", "show a container's output"),
    Command("stats", "stats", "show live resource usage"),
    Command("why", "why", "show what holds a container back, and what would help"),
    Command("advise", "sizing", "show which limits would do, by what was used"),
    Command("fits", "sizing", "say whether one more container fits"),
    Command("capacity", "sizing", "show what there is, what is promised and what is used"),
    Command("update", "control", "change the limits of containers"),
    Command("freeze", "control", "stop all tasks of containers where they are"),
    Command("thaw", "control", "let frozen containers go on"),
    Command("hibernate", "control", "put containers to sleep until something comes for them"),
    Command("pause", "control", "another name of freeze", "freeze"),
    Command("unpause", "control", "another name of thaw", "thaw"),
    Command("adopt", "control", "bring a running process of the host under limits"),
    Command("release", "control", "put an adopted process back where it was"),
    Command("policy", "policies", "act on pressure by rules, and see what was decided"),
    Command("group", "groups", "groups of containers, with limits that these share"),
    Command("cgroup", "cgroup", "look at and control any cgroup of the host"),
    Command("build", "build", "make an image of a Dockerfile, under limits"),
    Command("builder", "build", "the commands about builds, and builder prune"),
    Command("images", "imagelist", "list images"),
    Command("pull", "images", "fetch an image from its registry"),
    Command("push", "registries", "send an image to its registry"),
    Command("load", "archives", "take images out of an archive"),
    Command("save", "archives", "write an archive of images"),
    Command("import", "archives", "make an image of a tree in a tar", "import_"),
    Command("export", "archives", "write a container's files as a tar"),
    Command("commit", "archives", "make an image of what a container has changed"),
    Command("tag", "images", "give an image one more name"),
    Command("history", "history", "show how an image was made"),
    Command("rmi", "images", "remove images"),
    Command("image", "images", "the commands about images, and image prune"),
    Command("container", "containers", "the commands about containers, and container prune"),
    Command("search", "registries", "search a registry for images"),
    Command("login", "registries", "log in to a registry"),
    Command("logout", "registries", "forget a registry's login"),
    Command("registries", "registries", "show which registries are asked"),
    Command("volume", "volumes", "make, list, show and remove volumes"),
    Command("network", "networks", "make, list, show and remove networks"),
    Command("port", "networks", "show the ports of the host that a container answers"),
    Command("events", "events", "show what happens"),
    Command("jobs", "system", "show what the agent is doing and did last"),
    Command("system", "system", "disk usage, pruning, checking and recovering"),
    Command("context", "contexts", "choose between agents, here and elsewhere"),
    Command("token", "tokens", "let clients over TCP in"),
    Command("ui", "ui", "look at the page in a browser"),
    Command("completion", "completion", "complete words in bash, zsh or fish"),
    Command("manual", "manual", "write the manual pages"),
    Command("info", "system", "show the agent and its host"),
    Command("version", "system", "show the versions of client and agent"),
    Command("serve", "system", "run the agent"),
    Command("oci", "oci", "be an OCI runtime, as runc is, without an agent"),
)


_NAMES = frozenset(c.name for c in COMMANDS)


class Context:
    """What every command gets: its own arguments and the global flags."""

    __slots__ = ("args", "command", "flags", "start", "verbs")
    form = Flags

    def __init__(self, command: str, args: Sequence[str], flags: Any) -> None:
        self.command = command
        self.args = args
        self.flags = flags
        """Where the agent is; `cgagent.cli.agent` reads them."""
        self.start: bool = not flags.no_start
        self.verbs: Collection[str] = ()
        """Those that one may be chosen from; none where the command has none, or one is chosen."""

    def parser(self, usage: str, description: str, *, add_help: bool = True) -> Flags:
        prog = f"cgagent {self.command}"
        return self.form(
            _refuse(prog),
            prog=prog,
            usage=f"{prog} {usage}",
            description=description,
            add_help=add_help,
        )


class UsageError(InvalidInputError):
    """Flags or arguments that no request could be made of."""


def _refuse(prog: str) -> Callable[[str], NoReturn]:
    def error(message: str) -> NoReturn:
        raise UsageError(f"{message}; see {prog} --help")

    return error


def global_flags() -> Flags:
    """What stands before a command."""
    width = max(len(c.name) for c in COMMANDS)
    table = "\n".join(f"  {c.name:<{width}}  {c.help}" for c in COMMANDS)
    flags = Flags(
        _refuse("cgagent"),
        prog="cgagent",
        usage="cgagent [--host ADDRESS | --context NAME] [flags] COMMAND [ARG...]",
        description="Run containers under precise resource control, and see what they use.",
        epilog=f"commands:\n{table}\n\nSee cgagent COMMAND --help for one of them, and "
        "docs/docker.md for what docker takes and cgagent does not.",
    )
    flags.add_argument(
        "--host", "-H", metavar="ADDRESS", help="unix://PATH, tcp://HOST:PORT or ssh://[USER@]HOST"
    )
    flags.add_argument("--context", "-c", metavar="NAME", help="an agent of cgagent context ls")
    flags.add_argument("--tls", action="store_true", help="TLS on TCP, whoever answers")
    flags.add_argument(
        "--tlsverify", action="store_true", help="TLS with who can prove to be the agent"
    )
    flags.add_argument("--tlscacert", metavar="FILE", help="who signs the agent's certificate")
    flags.add_argument("--tlscert", metavar="FILE", help="the client's certificate")
    flags.add_argument("--tlskey", metavar="FILE", help="its key")
    flags.add_argument("--token-file", metavar="FILE", help="a token; also CGAGENT_TOKEN")
    flags.add_argument(
        "--no-start", action="store_true", help="do not start an agent when none listens"
    )
    flags.add_argument("--debug", action="store_true", help="show where an error comes from")
    flags.add_argument("--version", action="version", version=f"cgagent {__version__}")
    flags.add_argument("command", nargs=REMAINDER, help=SUPPRESS)
    return flags


def _run(argv: Sequence[str]) -> int:
    flags = global_flags()
    parsed = flags.parse_args(argv)
    if not parsed.command:
        flags.print_help()
        return 0
    name, *rest = parsed.command
    command = next((c for c in COMMANDS if c.name == name), None)
    if command is None:
        from cgagent.cli.suggestions import did_you_mean

        flags.error(f"command {name!r} is not known{did_you_mean(name, sorted(_NAMES))}")
    # importlib's function does the same, and takes a millisecond to be loaded
    module = __import__(f"cgagent.cli.{command.module}", fromlist=[command.function])
    context = Context(name, rest, parsed)
    code: int = getattr(module, command.function)(context)
    return code


def _exit_code(code: int, argv: Sequence[str], *, is_usage: bool = False) -> int:
    """125 to 127 where an exit code could be the container's, and for wrong usage; else 1."""
    words = dropwhile(lambda argument: argument not in _NAMES, argv)
    command = next(words, "")
    if command == "container":  # run and exec are verbs of it
        command = next(words, "")
    return code if is_usage or command in {"run", "exec"} else 1


def _open_standard_streams() -> None:
    """A closed one would come back as a socket of ours, and output would go into that."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open("/dev/null", os.O_RDWR)  # the lowest free descriptor: this one
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open("/dev/null", "r+", encoding="utf-8"))  # noqa: SIM115 - kept


def console() -> NoReturn:
    """As `main`, for the console script: ends without taking the interpreter apart (4 ms)."""
    os._exit(_guarded())  # noqa: SLF001 - that is its name


def main() -> NoReturn:
    """Run the command line given to the process."""
    sys.exit(_guarded())


def _guarded() -> int:
    """The exit code; every error of ours has been told, and all output is written."""
    _open_standard_streams()
    standard.wait_for_room()
    code = _told(lambda: _run(sys.argv[1:]))
    unwritten = _told(_flush)
    return code or unwritten


def _flush() -> int:
    sys.stdout.flush()
    return 0


def _told(run: Callable[[], int]) -> int:
    """The exit code, or the one of the error, which is told."""
    debug = "--debug" in takewhile(lambda argument: argument not in _NAMES, sys.argv)
    try:
        return run()
    except SystemExit as e:  # --help and --version
        return e.code if isinstance(e.code, int) else 0
    except CgagentError as e:
        if debug:
            raise
        standard.tell(e.message)
        return _exit_code(EXIT_CODE[e.kind], sys.argv[1:], is_usage=isinstance(e, UsageError))
    except ValueError as e:  # Python makes no number of more than 4300 digits
        if debug or "for integer string conversion" not in str(e):
            raise
        standard.tell("an argument has too many digits for a number; give a smaller one")
        return _exit_code(EXIT_CODE["invalid_input"], sys.argv[1:])
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has enough
        standard.give_up_output()
        return 141
    except OSError as e:
        if debug:
            raise
        standard.tell(standard.cause(e))
        standard.give_up_output()
        return _exit_code(EXIT_CODE["internal"], sys.argv[1:])


if __name__ == "__main__":
    main()
