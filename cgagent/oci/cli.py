"""The command line of `cgagent oci`, compatible with runc's: flags, output, log, exit codes."""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NoReturn

from cgagent import __version__, standard
from cgagent.errors import CgagentError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_COMMANDS: Final = (
    *("create", "run", "start", "state", "kill", "delete", "list", "exec", "ps"),
    *("pause", "resume", "update", "spec", "features"),
)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidInputError(f"{message}; see {self.prog} --help")


class Log:
    """Where errors and warnings go: standard error, and a file in one of runc's two formats."""

    def __init__(self, path: str | None, *, as_json: bool) -> None:
        self._path = path
        self._as_json = as_json

    def write(self, level: str, message: str) -> None:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._as_json:
            line = json.dumps({"level": level, "msg": message, "time": when})
        else:
            line = f'time="{when}" level={level} msg={json.dumps(message)}'
        if self._path:
            with open(self._path, "a", encoding="utf-8") as f:
                f.write(line + "\n")
        prefix = "" if level == "error" else f"{level}: "
        print(f"cgagent oci: {prefix}{standard.printable(message)}", file=sys.stderr)

    def warn(self, message: str) -> None:
        self.write("warning", message)


def main(argv: Sequence[str], failure: OSError | None = None) -> int:
    """The exit code; all output is written, and errors have been told, `failure` among them."""
    standard.wait_for_room()
    log = Log(None, as_json=False)
    try:
        parsed = _parsed(argv)
        log = Log(parsed.log, as_json=parsed.log_format == "json")
        code = _command(parsed, failure)(parsed.root, parsed.command[1:], log)
        sys.stdout.flush()
        return code
    except CgagentError as e:
        log.write("error", e.message)
        return _exit_code(e, argv)
    except OSError as e:
        log.write("error", standard.cause(e))
        standard.give_up_output()
        return 1


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    try:
        return _parser().parse_args(argv)
    except SystemExit:  # --help and --version
        sys.stdout.flush()
        raise


def _command(
    parsed: argparse.Namespace, failure: OSError | None
) -> Callable[[Any, list[str], Log], int]:
    if parsed.systemd_cgroup:
        raise InvalidInputError(
            "--systemd-cgroup: systemd is not asked for cgroups; use the cgroupfs manager "
            "(podman: --cgroup-manager cgroupfs; containerd: SystemdCgroup = false)"
        )
    if not parsed.command:
        raise InvalidInputError("no command is given; see cgagent oci --help")
    name = parsed.command[0]
    if name not in _COMMANDS:
        raise InvalidInputError(f"command {name!r} is not known; see cgagent oci --help")
    if failure is not None:
        raise failure
    commands = import_module("cgagent.oci.commands")
    command: Callable[[Any, list[str], Log], int] = getattr(commands, f"{name}_")
    return command


def _exit_code(error: CgagentError, argv: Sequence[str]) -> int:
    """What `exec` could not execute has a shell's exit codes, as with runc; else 1."""
    if "exec" in argv:
        return {"not_executable": 126, "command_not_found": 127}.get(error.kind, 255)
    return 1


def _parser() -> Parser:
    from cgagent.oci.store import DEFAULT_ROOT

    parser = Parser(
        prog="cgagent oci",
        usage="cgagent oci [flags] COMMAND [ARG...]",
        description="An OCI runtime with runc's command line.",
        epilog="commands: " + ", ".join(_COMMANDS),
        allow_abbrev=False,
    )
    parser.add_argument("--root", default=DEFAULT_ROOT, metavar="DIR", help="where states are kept")
    parser.add_argument("--log", metavar="FILE", help="append errors and warnings to this file")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--log-level", help=argparse.SUPPRESS)
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rootless", help=argparse.SUPPRESS)
    parser.add_argument("--systemd-cgroup", action="store_true", help=argparse.SUPPRESS)
    version = f"cgagent-oci version {__version__}\nspec: {_spec_version()}"
    parser.add_argument("-v", "--version", action=_Version, version=version)
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


class _Version(argparse.Action):
    """Two lines, which argparse would fold into one."""

    def __init__(self, option_strings: list[str], dest: str, version: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the versions")
        self._version = version

    def __call__(self, *_: Any) -> NoReturn:
        print(self._version)
        raise SystemExit(0)


def _spec_version() -> str:
    from cgagent.runtime import OCI_VERSION

    return OCI_VERSION
