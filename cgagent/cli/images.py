"""``pull``, ``load``, ``rmi``."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cgagent import standard
from cgagent.cli.agent import connect
from cgagent.cli.client import Client, query, quote
from cgagent.errors import CgagentError, InvalidInputError, UnsupportedError, from_kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.cli.flags import Flags
    from cgagent.cli.main import Context


def pull(context: Context) -> int:
    parser = context.parser("[-q] NAME", "Fetch an image from its registry.")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.add_argument("--platform", metavar="OS/ARCH", help="this machine's is what there is")
    parser.add_argument("name", metavar="NAME")
    args = parser.parse_args(context.args)
    check_platform(args.platform)
    image = pull_with_progress(connect(context), args.name, quiet=args.quiet)
    print(image["id"])
    return 0


def load(context: Context) -> int:
    parser = context.parser("[-q] [-i FILE]", "Take the images out of an archive.")
    parser.add_argument(
        "-i",
        "--input",
        metavar="FILE",
        help="the archive, plain, gzip, bzip2, xz or zstd; else stdin",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.add_argument("file", nargs="?", metavar="FILE")
    args = parser.parse_args(context.args)
    path = args.input or args.file
    if not path or path == "-" or stat.S_ISFIFO(_mode(path)):
        with _saved(path if path != "-" else None, parser) as saved:
            return _load(context, saved, quiet=args.quiet)
    if not os.access(path, os.R_OK):
        cause = "cannot be read" if os.path.exists(path) else "does not exist"
        raise InvalidInputError(f"archive {path} {cause}")
    if not os.path.isfile(path):  # the agent reads it more than once
        raise InvalidInputError(f"archive {path} is no regular file: save it to one first")
    return _load(context, os.path.realpath(path), quiet=args.quiet)


def _mode(path: str) -> int:
    return os.stat(path).st_mode if os.path.exists(path) else 0


@contextmanager
def _saved(path: str | None, parser: Flags) -> Iterator[str]:
    """A file with what comes through a pipe: the agent reads it more than once."""
    if path is None and os.isatty(0):
        parser.error("an archive is needed: cgagent load -i FILE, or on standard input")
    fd = 0 if path is None else os.open(path, os.O_RDONLY)
    with tempfile.NamedTemporaryFile(prefix="cgagent-load-") as file:
        while data := standard.read(fd, 1 << 18):
            file.write(data)
        file.flush()
        yield file.name


def _load(context: Context, path: str, *, quiet: bool) -> int:
    result = follow(connect(context), "/v1/images/load", {"path": path}, quiet=quiet)
    from cgagent.cli.imagelist import split

    for image in result["images"]:
        for name in image["names"]:
            repository, tag, _ = split(name)
            print(f"Loaded image: {repository}:{tag}")
        if not image["names"]:
            print(f"Loaded image ID: {image['id']}")
    return 0


def rmi(context: Context) -> int:
    parser = context.parser("[-f] IMAGE [IMAGE...]", "Remove images.")
    parser.add_argument("-f", "--force", action="store_true", help="with all its names")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    args = parser.parse_args(context.args)
    client = connect(context)
    code = 0
    for name in args.images:
        try:
            path = f"/v1/images/{quote(name)}" + query(force=args.force or None)
            for line in client.request("DELETE", path)["lines"]:
                print(line)
        except CgagentError as e:
            standard.tell(e.message)
            code = 1
    return code


def check_platform(text: str | None) -> None:
    """Raises UnsupportedError: it is another one than this machine's."""
    machine = os.uname().machine
    own = {"x86_64": ("amd64", "x86_64"), "aarch64": ("arm64", "aarch64")}.get(machine, (machine,))
    if text is not None and text not in {"linux", *own, *(f"linux/{a}" for a in own)}:
        raise UnsupportedError(f"--platform {text}: only linux/{own[0]} runs on this machine")


def pull_with_progress(client: Client, name: str, *, quiet: bool = False) -> dict[str, Any]:
    """Pull, showing on standard error what happens."""
    if not quiet:
        print(f"pulling {standard.printable(name)}", file=sys.stderr)
    body = {"name": name}
    image: dict[str, Any] = follow(client, "/v1/images/pull", body, quiet=quiet)["image"]
    return image


def follow(
    client: Client, path: str, body: dict[str, Any], *, quiet: bool = False
) -> dict[str, Any]:
    """The last message of long work.

    Raises:
        CgagentError: how it failed.
    """
    from cgagent.cli.progress import show

    with show() as shown:
        for message in client.lines("POST", path, body):
            if "error" in message:
                raise from_kind(message["error"]["kind"], message["error"]["message"])
            if "progress" not in message:
                last: dict[str, Any] = message
                return last
            if not quiet:
                shown(message["progress"])
    raise from_kind("unavailable", "the agent ended the answer early; see its log")
