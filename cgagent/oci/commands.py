"""The commands of `cgagent oci`. Each takes the root of states, its own words and the log."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import ConflictError, InvalidInputError, NotFoundError
from cgagent.kernel import signals
from cgagent.oci import lifecycle, store

if TYPE_CHECKING:
    import argparse

    from cgagent.oci.cli import Log
    from cgagent.oci.create import Child, CreateFlags


def _flags(name: str, usage: str) -> argparse.ArgumentParser:
    from cgagent.oci.cli import Parser

    return Parser(
        prog=f"cgagent oci {name}", usage=f"cgagent oci {name} {usage}", allow_abbrev=False
    )


def _process_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--console-socket", metavar="SOCKET")
    parser.add_argument("--pid-file", metavar="FILE")
    parser.add_argument("--preserve-fds", type=int, default=0, metavar="N")


def _create_flags(parsed: argparse.Namespace, log: Log) -> CreateFlags:
    from cgagent.oci.create import CreateFlags

    preserved = parsed.preserve_fds
    listening = os.environ.get("LISTEN_FDS", "")
    if not preserved and listening.isdecimal():
        preserved = int(listening)
    return CreateFlags(
        console_socket=parsed.console_socket,
        pid_file=parsed.pid_file,
        preserved=preserved,
        warn=log.warn,
    )


def _bundle_flags(parser: argparse.ArgumentParser) -> None:
    _process_flags(parser)
    parser.add_argument("-b", "--bundle", default=".", metavar="DIR")
    parser.add_argument("--no-pivot", action="store_true")
    parser.add_argument("--no-new-keyring", action="store_true")
    parser.add_argument("id")


def _create(root: str, parsed: argparse.Namespace, log: Log) -> tuple[store.Entry, Child]:
    from cgagent.oci import create

    if parsed.no_pivot:
        raise InvalidInputError(
            "--no-pivot: a container that could leave its root is not made; its root must not be "
            "on a ramfs"
        )
    entry = store.Entry(root, parsed.id)
    _, child = create.create(entry, os.path.realpath(parsed.bundle), _create_flags(parsed, log))
    return entry, child


def create_(root: str, words: list[str], log: Log) -> int:
    parser = _flags("create", "[flags] ID")
    _bundle_flags(parser)
    _create(root, parser.parse_args(words), log)
    return 0


def run_(root: str, words: list[str], log: Log) -> int:
    parser = _flags("run", "[flags] ID")
    _bundle_flags(parser)
    parser.add_argument("-d", "--detach", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parsed = parser.parse_args(words)
    entry, child = _create(root, parsed, log)
    if not parsed.detach:
        lifecycle.pass_signals_on(child)
    try:
        lifecycle.start(entry)
    except BaseException:
        lifecycle.delete(entry, log.warn, force=True)
        raise
    if parsed.detach:
        return 0
    code = lifecycle.wait(child)
    if not parsed.keep:
        lifecycle.delete(entry, log.warn, force=True)
    return code


def start_(root: str, words: list[str], _log: Log) -> int:
    parser = _flags("start", "ID")
    parser.add_argument("id")
    lifecycle.start(store.Entry(root, parser.parse_args(words).id))
    return 0


def state_(root: str, words: list[str], _log: Log) -> int:
    parser = _flags("state", "ID")
    parser.add_argument("id")
    entry = store.Entry(root, parser.parse_args(words).id)
    print(json.dumps(_view(entry), indent=2))
    return 0


def _view(entry: store.Entry) -> dict[str, Any]:
    state = entry.state()
    return store.view(state, lifecycle.status(entry, state))


def kill_(root: str, words: list[str], _log: Log) -> int:
    parser = _flags("kill", "[--all] ID [SIGNAL]")
    parser.add_argument("-a", "--all", action="store_true")
    parser.add_argument("id")
    parser.add_argument("signal", nargs="?", default="SIGTERM")
    parsed = parser.parse_args(words)
    number = signals.parse(parsed.signal)
    lifecycle.kill(store.Entry(root, parsed.id), number, everyone=parsed.all)
    return 0


def delete_(root: str, words: list[str], log: Log) -> int:
    parser = _flags("delete", "[--force] ID")
    parser.add_argument("-f", "--force", action="store_true")
    parser.add_argument("id")
    parsed = parser.parse_args(words)
    try:
        lifecycle.delete(store.Entry(root, parsed.id), log.warn, force=parsed.force)
    except NotFoundError:
        if not parsed.force:
            raise
    return 0


def list_(root: str, words: list[str], _log: Log) -> int:
    parser = _flags("list", "[flags]")
    parser.add_argument("-f", "--format", choices=("table", "json"), default="table")
    parser.add_argument("-q", "--quiet", action="store_true")
    parsed = parser.parse_args(words)
    views = [_view(entry) for entry in store.entries(root)]
    if parsed.quiet:
        for view in views:
            print(view["id"])
    elif parsed.format == "json":
        print(json.dumps(views))
    else:
        rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
        rows += [
            (v["id"], str(v["pid"]), v["status"], v["bundle"], v["created"], "root") for v in views
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = zip(row, widths, strict=True)
            print("   ".join(cell.ljust(width) for cell, width in cells).rstrip())
    return 0


def exec_(root: str, words: list[str], log: Log) -> int:
    import argparse

    from cgagent.oci.execute import execute

    parser = _flags("exec", "[flags] ID [COMMAND [ARG...]]")
    _process_flags(parser)
    parser.add_argument("-d", "--detach", action="store_true")
    parser.add_argument("-p", "--process", metavar="FILE")
    parser.add_argument("-t", "--tty", action="store_true")
    parser.add_argument("-e", "--env", action="append", default=[])
    parser.add_argument("-u", "--user")
    parser.add_argument("-g", "--additional-gids", action="append", type=int, default=[])
    parser.add_argument("-c", "--cap", action="append", default=[])
    parser.add_argument("--cwd")
    parser.add_argument("--no-new-privs", action="store_true")
    parser.add_argument("--apparmor")
    parser.add_argument("--process-label")
    parser.add_argument("id")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    parsed = parser.parse_args(words)
    entry = store.Entry(root, parsed.id)
    if parsed.process:
        process = store.read_json(parsed.process)
    else:
        process = _exec_process(entry.config()["process"], parsed)
    child = execute(entry, process, _create_flags(parsed, log))
    if parsed.detach:
        return 0
    lifecycle.pass_signals_on(child)
    return lifecycle.wait(child)


def _exec_process(process: dict[str, Any], parsed: argparse.Namespace) -> dict[str, Any]:
    """The container's own process object with another command, and what the flags change."""
    if not parsed.command:
        raise InvalidInputError("exec: give a command, or --process")
    user = dict(process.get("user") or {})
    if parsed.user:
        uid, _, gid = parsed.user.partition(":")
        if not uid.isdecimal() or (gid and not gid.isdecimal()):
            raise InvalidInputError(f"exec: user {parsed.user!r} is not UID[:GID]")
        user.update(uid=int(uid), gid=int(gid or user.get("gid", 0)))
    if parsed.additional_gids:
        user["additionalGids"] = parsed.additional_gids
    changed = {
        **process,
        "args": parsed.command,
        "terminal": parsed.tty,
        "cwd": parsed.cwd or process["cwd"],
        "env": [*(process.get("env") or ()), *parsed.env],
        "user": user,
    }
    if parsed.cap:
        sets = process.get("capabilities") or {}
        names = ("bounding", "effective", "permitted")
        changed["capabilities"] = {
            **sets,
            **{name: [*(sets.get(name) or ()), *parsed.cap] for name in names},
        }
    if parsed.no_new_privs:
        changed["noNewPrivileges"] = True
    labels = {"apparmorProfile": parsed.apparmor, "selinuxLabel": parsed.process_label}
    return {**changed, **{key: value for key, value in labels.items() if value}}


def ps_(root: str, words: list[str], _log: Log) -> int:
    import argparse

    parser = _flags("ps", "[--format table|json] ID [PS OPTION...]")
    parser.add_argument("-f", "--format", choices=("table", "json"), default="table")
    parser.add_argument("id")
    parser.add_argument("options", nargs=argparse.REMAINDER)
    parsed = parser.parse_args(words)
    pids = lifecycle.pids(store.Entry(root, parsed.id))
    if parsed.format == "json":
        print(json.dumps(pids))
        return 0
    return _print_ps(parsed.options or ["-ef"], set(map(str, pids)))


def _print_ps(options: list[str], pids: set[str]) -> int:
    """What ps(1) shows of these processes."""
    import subprocess

    done = subprocess.run(["ps", *options], capture_output=True, errors="replace", check=False)
    if done.returncode:
        raise InvalidInputError(f"ps: {done.stderr.strip()}")
    title, *lines = filter(None, done.stdout.split("\n"))
    if "PID" not in title.split():
        raise InvalidInputError("ps: its options must leave the column PID")
    column = title.split().index("PID")
    print("\n".join([title, *(line for line in lines if line.split()[column] in pids)]))
    return 0


def pause_(root: str, words: list[str], _log: Log) -> int:
    parser = _flags("pause", "ID")
    parser.add_argument("id")
    lifecycle.pause(store.Entry(root, parser.parse_args(words).id))
    return 0


def resume_(root: str, words: list[str], _log: Log) -> int:
    parser = _flags("resume", "ID")
    parser.add_argument("id")
    lifecycle.resume(store.Entry(root, parser.parse_args(words).id))
    return 0


_UPDATES: Final = {
    "--memory": ("memory", "limit"),
    "--memory-reservation": ("memory", "reservation"),
    "--memory-swap": ("memory", "swap"),
    "--cpu-period": ("cpu", "period"),
    "--cpu-quota": ("cpu", "quota"),
    "--cpu-burst": ("cpu", "burst"),
    "--cpu-share": ("cpu", "shares"),
    "--cpu-rt-period": ("cpu", "realtimePeriod"),
    "--cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "--cpu-idle": ("cpu", "idle"),
    "--cpuset-cpus": ("cpu", "cpus"),
    "--cpuset-mems": ("cpu", "mems"),
    "--pids-limit": ("pids", "limit"),
    "--blkio-weight": ("blockIO", "weight"),
}


def update_(root: str, words: list[str], _log: Log) -> int:
    parser = _flags("update", "[flags] ID")
    parser.add_argument("-r", "--resources", metavar="FILE", help="JSON; - is standard input")
    for flag, (_, name) in _UPDATES.items():
        parser.add_argument(flag, type=str if name in {"cpus", "mems"} else int)
    parser.add_argument("id")
    parsed = parser.parse_args(words)
    wanted: dict[str, Any] = {}
    if parsed.resources:
        path = "/dev/stdin" if parsed.resources == "-" else parsed.resources
        wanted = store.read_json(path)
    for flag, (section, name) in _UPDATES.items():
        value = getattr(parsed, flag[2:].replace("-", "_"))
        if value is not None:
            wanted.setdefault(section, {})[name] = value
    lifecycle.update(store.Entry(root, parsed.id), wanted)
    return 0


def spec_(_root: str, words: list[str], _log: Log) -> int:
    from cgagent.runtime import spec

    parser = _flags("spec", "[--bundle DIR]")
    parser.add_argument("-b", "--bundle", default=".", metavar="DIR")
    path = os.path.join(parser.parse_args(words).bundle, "config.json")
    process = spec.Process(args=("sh",), env=("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"))
    built = spec.build(spec.Plan(process=process, hostname="cgagent", cgroup_path=""))
    built["process"]["terminal"] = True
    built["process"]["user"] = {"uid": 0, "gid": 0}
    try:
        with open(path, "x", encoding="utf-8") as f:
            json.dump(built, f, indent=4)
    except FileExistsError:
        raise ConflictError(f"{path} exists; remove it first") from None
    return 0


def features_(_root: str, words: list[str], _log: Log) -> int:
    from cgagent.oci.features import features

    _flags("features", "").parse_args(words)
    json.dump(features(), sys.stdout, indent=2)
    print()
    return 0
