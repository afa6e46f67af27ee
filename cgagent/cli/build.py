"""``build`` and ``builder``: images of Dockerfiles, under limits, with an account of each step."""

from __future__ import annotations

import base64
import json
import os
import sys
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from cgagent import standard
from cgagent.cli import buildcontext, dockerconfig, limits
from cgagent.cli.agent import connect
from cgagent.cli.create_values import ulimits
from cgagent.cli.verbs import dispatch
from cgagent.client.http import error_of
from cgagent.errors import CgagentError, InvalidInputError, UnavailableError
from cgagent.standard import printable
from cgagent.units import parse_size, show_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.cli.flags import Flags, Namespace
    from cgagent.cli.main import Context

_VERBS: Final = {"build": ("build", "build"), "prune": ("disk", "prune_builds")}
_PROGRESS: Final = ("auto", "plain", "quiet", "rawjson", "tty")
_STDOUT: Final = "-"


def builder(context: Context) -> int:
    """The management form."""
    return dispatch(context, _VERBS, "Builds.")


def build(context: Context) -> int:
    if context.args[:1] == ["prune"]:
        return builder(context)
    args = _parser(context).parse_args(context.args)
    outputs = [_output(text) for text in args.output]
    sent = buildcontext.of(args.path, args.file)
    asked = _request(args, sent.dockerfile)
    client = connect(context)
    line = json.dumps(asked).encode() + b"\n"
    messages = client.sent("/v1/build", chain((line,), sent.pieces))
    done = _followed(messages, args)
    image = done["image"]["id"]
    for warning in done["warnings"]:
        standard.tell(f"warning: {warning}")
    if args.iidfile:
        _write(args.iidfile, image)
    if args.report:
        _write(args.report, json.dumps(done["report"], indent=2) + "\n")
    for kind, where in outputs:
        from cgagent.cli.buildoutput import write

        write(client, image, kind, where)
    if outputs and not args.tag and all(kind != "image" for kind, _ in outputs):
        client.request("DELETE", f"/v1/images/{image}")
    elif _STDOUT not in {where for _, where in outputs}:
        print(image)
    return 0


def _parser(context: Context) -> Flags:
    parser = context.parser(
        "[flags] PATH|ARCHIVE|-",
        "Make an image of a Dockerfile and its context: a directory, a tar, or standard input. "
        "The limits bound the whole build. cgagent build prune removes what builds have cached.",
    )
    add = parser.add_argument
    add("-t", "--tag", action="append", default=[], metavar="NAME", help="a name of the image")
    add(
        "-f",
        "--file",
        metavar="FILE",
        help="the Dockerfile (default: PATH/Dockerfile); - is standard input",
    )
    add("--build-arg", action="append", default=[], metavar="NAME[=VALUE]", help="for an ARG")
    add("--target", metavar="STAGE", help="the stage to build (default: the last)")
    add("--label", action="append", default=[], metavar="NAME[=VALUE]", help="of the image")
    add(
        "--secret",
        action="append",
        default=[],
        metavar="id=ID,src=FILE|env=NAME",
        help="for RUN --mount=type=secret",
    )
    add("--no-cache", action="store_true", help="carry out each step")
    add("--cache-from", action="append", default=[], metavar="IMAGE", help="take its steps over")
    add("--pull", action="store_true", help="ask registries for newer base images")
    add("--platform", metavar="OS/ARCH", help="what the image is for (default: this machine)")
    add("--network", metavar="NETWORK", help="of RUN: none, host, or a network's name")
    add("--add-host", action="append", default=[], metavar="NAME:ADDRESS", help="in /etc/hosts")
    add("--shm-size", metavar="SIZE", help="of /dev/shm")
    add("--ulimit", action="append", default=[], metavar="NAME=SOFT[:HARD]", help="such as nofile")
    add("--cgroup-parent", metavar="PATH", help="the cgroup above the build's")
    add(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="type=TYPE[,dest=PATH]",
        help="docker, oci, tar or local, instead of an image in the store; a path alone is local",
    )
    add("--iidfile", metavar="FILE", help="write the image's id there")
    add("--report", metavar="FILE", help="write as JSON what each step has used")
    add("--progress", default="auto", choices=_PROGRESS, help="plain, quiet or rawjson")
    add("-q", "--quiet", action="store_true", help="the image's id alone")
    add("--rm", action="store_true", default=True, help="accepted: steps leave no containers")
    add("--force-rm", action="store_true", help="accepted, too")
    add("--disable-content-trust", action="store_true", default=True, help="without effect")
    limits.add_flags(parser)
    add("path", metavar="PATH")
    return parser


def _request(args: Namespace, dockerfile: str) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "names": args.tag,
        "dockerfile": dockerfile,
        "target": args.target or "",
        "arguments": dict(_pairs(args.build_arg, from_environment=True)),
        "labels": dict(_pairs(args.label)),
        "platform": args.platform or "",
        "pull": args.pull,
        "no_cache": args.no_cache,
        "cache_from": args.cache_from,
        "network": args.network or "",
        "extra_hosts": args.add_host,
        "ulimits": ulimits(args.ulimit),
        "secrets": dict(_secret(text) for text in args.secret),
        "logins": _logins(),
        "limits": limits.request(args),
        "cgroup_parent": args.cgroup_parent or "",
    }
    if args.shm_size:
        asked["shm_size_bytes"] = parse_size(args.shm_size, "--shm-size")
    return asked


def _pairs(texts: list[str], *, from_environment: bool = False) -> Iterator[tuple[str, str]]:
    """A name alone has its value from here, if there is one."""
    for text in texts:
        name, separator, value = text.partition("=")
        if not name:
            raise InvalidInputError(f"{text!r} is not NAME=VALUE")
        if separator or not from_environment:
            yield name, value
        elif name in os.environ:
            yield name, os.environ[name]


def _secret(text: str) -> tuple[str, str]:
    fields = dict(part.partition("=")[::2] for part in text.split(","))
    name = fields.get("id", "")
    source = fields.get("src") or fields.get("source")
    variable = fields.get("env")
    if not name:
        raise InvalidInputError(f"--secret {text}: it has no id; write id=ID,src=FILE")
    if source is None and (variable or fields.get("type") == "env" or name in os.environ):
        variable = variable or name
        if variable not in os.environ:
            raise InvalidInputError(f"--secret {text}: variable {variable} is not set")
        value = os.environb[variable.encode()]
    else:
        try:
            with open(source or name, "rb") as file:
                value = file.read()
        except OSError as e:
            reason = (e.strerror or "").lower()
            raise InvalidInputError(f"--secret {text}: {source or name}: {reason}") from None
    return name, base64.b64encode(value).decode("ascii")


def _logins() -> dict[str, str]:
    """Of all registries that the user has logged in to: a Dockerfile may name any."""
    config = dockerconfig.load()
    auths = config.get("auths")
    hosts = {dockerconfig.host_of(key) for key in (auths if isinstance(auths, dict) else {})}
    found = {}
    for host in sorted(hosts):
        try:
            known = dockerconfig.lookup(host)
        except CgagentError as e:
            standard.tell(f"warning: {e.message}")
            continue
        if known:
            found[host] = dockerconfig.encoded(known).partition(": ")[2]
    return found


def _output(text: str) -> tuple[str, str]:
    """Its type, and where it goes."""
    if "=" not in text:
        return ("tar", _STDOUT) if text == _STDOUT else ("local", text)
    fields = dict(part.partition("=")[::2] for part in text.split(","))
    kind, where = fields.get("type", ""), fields.get("dest", "")
    if kind in {"docker", "image"} and not where:
        return "image", ""
    if kind not in {"docker", "oci", "tar", "local"}:
        raise InvalidInputError(f"--output {text}: there are docker, oci, tar and local")
    if kind == "local" and not where:
        raise InvalidInputError(f"--output {text}: dest=DIRECTORY is missing")
    return kind, where or _STDOUT


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as e:
        raise InvalidInputError(f"{path}: {(e.strerror or '').lower()}") from None


# -- progress -----------------------------------------------------------------------------------


def _followed(messages: Iterator[Any], args: Namespace) -> dict[str, Any]:
    """The last message. Raises CgagentError: how the build failed."""
    is_quiet = args.quiet or args.progress == "quiet"
    shown = _Lines()
    try:
        for message in messages:
            if args.progress == "rawjson" and not is_quiet:
                print(json.dumps(message), file=sys.stderr)
            if "error" in message:
                if is_quiet:
                    shown.failed()
                raise error_of(message["error"])
            if "image" in message:
                last: dict[str, Any] = message
                return last
            shown.take(message, is_shown=not is_quiet and args.progress != "rawjson")
    except KeyboardInterrupt:  # the agent ends the build with the connection
        standard.tell("cancelled")
        raise
    raise UnavailableError("the agent ended the answer early; see its log")


class _Lines:
    """A line for each thing that is told; those of a step begin with its number."""

    def __init__(self) -> None:
        self._total = 0
        self._partial: dict[int, str] = {}
        self._kept: list[str] = []
        self._pulled: dict[str, str] = {}

    def take(self, message: dict[str, Any], *, is_shown: bool) -> None:
        (kind, found), *_ = message.items()
        for line in getattr(self, f"_{kind}", lambda _: [])(found):
            if is_shown:
                print(printable(line), file=sys.stderr, flush=True)
            else:
                self._kept = [*self._kept[-200:], line]

    def failed(self) -> None:
        """What was not shown helps to see why."""
        for line in self._kept:
            print(printable(line), file=sys.stderr)

    def _begun(self, found: dict[str, Any]) -> list[str]:
        self._total = found["total"]
        return [f"{self._step(found['number'])} {found['instruction']}"]

    def _pull(self, found: dict[str, Any]) -> list[str]:
        layer, status = found["progress"]["layer"], found["progress"]["status"]
        if self._pulled.get(layer) == status:
            return []
        self._pulled[layer] = status
        return [f"{self._step(found['number'])}   {layer} {status}".rstrip()]

    def _output(self, found: dict[str, Any]) -> list[str]:
        number = found["number"]
        *lines, rest = (self._partial.get(number, "") + found["text"]).split("\n")
        self._partial[number] = rest
        return [f"{self._step(number)} | {line}" for line in lines]

    def _note(self, found: dict[str, Any]) -> list[str]:
        return [f"{self._step(found['number'])} {found['text']}"]

    def _done(self, found: dict[str, Any]) -> list[str]:
        number = found["number"]
        rest = self._partial.pop(number, "")
        lines = [f"{self._step(number)} | {rest}"] if rest else []
        if found["cached"]:
            return [*lines, f"{self._step(number)} CACHED"]
        account = show_account(found["account"] or {}, found["size_bytes"])
        return [*lines, f"{self._step(number)} DONE {account}"] if account else lines

    def _step(self, number: int) -> str:
        return f"[{number}/{self._total}]"


def show_account(account: dict[str, Any], size_bytes: int) -> str:
    """What a step has used, as far as that was counted."""
    shown = []
    if (wall_s := account.get("wall_s")) is not None:
        shown.append(f"{wall_s:.2f}s")
    if (cpu_ns := account.get("cpu_ns")) is not None:
        shown.append(f"cpu {cpu_ns / 1e9:.2f}s")
    for name, text in (
        ("memory_peak_bytes", "peak"),
        ("io_read_bytes", "read"),
        ("io_write_bytes", "written"),
    ):
        if (value := account.get(name)) is not None:
            shown.append(f"{text} {show_size(value)}")
    if size_bytes:
        shown.append(f"layer {show_size(size_bytes)}")
    return ", ".join(shown)
