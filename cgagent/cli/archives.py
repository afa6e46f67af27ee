"""``save``, ``load``, ``import``, ``export``, ``commit``: images and containers as files."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Any, Final

from cgagent import standard
from cgagent.cli.agent import connect
from cgagent.cli.images import follow, followed
from cgagent.client.http import query, quote
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.cli.main import Context
    from cgagent.client.http import Client

_CHUNK: Final = 1 << 18
_FORMS: Final = ("docker", "oci-archive", "docker-archive")


# -- out ----------------------------------------------------------------------------------------


def save(context: Context) -> int:
    parser = context.parser(
        "[-o FILE] [--format FORMAT] IMAGE [IMAGE...]", "Write an archive of images."
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="instead of standard output")
    parser.add_argument(
        "--format",
        default="docker",
        choices=_FORMS,
        help="docker (the default): an OCI layout that has docker's manifest, too",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    args = parser.parse_args(context.args)
    names = "&".join(f"names={quote(name)}" for name in args.images)
    write_archive(connect(context), f"/v1/images/save?{names}&form={args.format}", args.output)
    return 0


def export(context: Context) -> int:
    parser = context.parser(
        "[-o FILE] CONTAINER", "Write a container's root file system as a tar, without its volumes."
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="instead of standard output")
    parser.add_argument("container", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    write_archive(connect(context), f"/v1/containers/{quote(args.container)}/export", args.output)
    return 0


def write_archive(client: Client, path: str, output: str | None) -> None:
    """A file appears under its name when it is whole."""
    if output in {None, "-"}:
        if os.isatty(1):
            raise InvalidInputError("an archive is nothing for a terminal: use -o or redirect it")
        for piece in client.download(path):
            standard.write(1, piece)
        return
    assert output is not None  # noqa: S101 -- for mypy, which does not see through the set
    if os.path.exists(output) and not os.path.isfile(output):  # a device or a pipe
        with open(output, "wb", buffering=0) as there:
            for piece in client.download(path):
                standard.write(there.fileno(), piece)
        return
    draft = f"{output}.{os.getpid()}.tmp"
    pieces = client.download(path)
    try:
        first = next(pieces, b"")  # an error of the agent's comes before there is a file
        with open(draft, "xb", buffering=0) as file:
            standard.write(file.fileno(), first)
            for piece in pieces:
                standard.write(file.fileno(), piece)
        os.rename(draft, output)
    except BaseException:
        if os.path.exists(draft):
            os.unlink(draft)
        raise


# -- in -----------------------------------------------------------------------------------------


def load(context: Context) -> int:
    parser = context.parser("[-q] [-i FILE|DIRECTORY]", "Take the images out of an archive.")
    parser.add_argument(
        "-i",
        "--input",
        metavar="FILE",
        help="the archive, plain, gzip, bzip2, xz or zstd, or an OCI layout; else standard input",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.add_argument("file", nargs="?", metavar="FILE")
    args = parser.parse_args(context.args)
    path = args.input or args.file
    if path in {None, "-"} and os.isatty(0):
        parser.error("an archive is needed: cgagent load -i FILE, or on standard input")
    client, where = connect(context), "/v1/images/load"
    if path in {None, "-"} or not _can_be_read_again(path):
        result = followed(client.sent(where, _pieces(path)), quiet=args.quiet)
    else:
        result = follow(client, where, {"path": os.path.realpath(path)}, quiet=args.quiet)
    _print_loaded(result["images"])
    return 0


def _can_be_read_again(path: str) -> bool:
    """Then the agent reads it where it is.

    Raises:
        InvalidInputError: it is not there, or not for this user.
    """
    if not os.access(path, os.R_OK):
        cause = "cannot be read" if os.path.exists(path) else "does not exist"
        raise InvalidInputError(f"archive {path} {cause}")
    mode = os.stat(path).st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _pieces(path: str | None) -> Iterator[bytes]:
    fd = 0 if path in {None, "-"} else os.open(str(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        while data := standard.read(fd, _CHUNK):
            yield data
    finally:
        if fd:
            os.close(fd)


def _print_loaded(images: list[dict[str, Any]]) -> None:
    from cgagent.cli.imagelist import split

    for image in images:
        for name in image["names"]:
            repository, tag, _ = split(name)
            print(f"Loaded image: {repository}:{tag}")
        if not image["names"]:
            print(f"Loaded image ID: {image['id']}")


def import_(context: Context) -> int:
    parser = context.parser(
        "[-c INSTRUCTION] [-m MESSAGE] FILE|URL|- [REPOSITORY[:TAG]]",
        "Make an image of one layer of a tree in a tar.",
    )
    add = parser.add_argument
    add("-c", "--change", action="append", default=[], metavar="INSTRUCTION", help="CMD, ENV, ...")
    add("-m", "--message", metavar="TEXT", help="for its history")
    add("--platform", metavar="OS/ARCH", help="what it is made for (default: this machine's)")
    add("source", metavar="FILE|URL|-")
    add("name", nargs="?", metavar="REPOSITORY[:TAG]")
    args = parser.parse_args(context.args)
    message = args.message or f"Imported from {args.source}"
    asked = query(name=args.name, message=message, platform=args.platform)
    asked += "".join(f"&change={quote(change)}" for change in args.change)
    pieces = _fetched(args.source) if _is_url(args.source) else _pieces(args.source)
    if args.source != "-" and not _is_url(args.source):
        _can_be_read_again(args.source)
    found = followed(connect(context).sent(f"/v1/images/import{asked}", pieces), quiet=True)
    print(found["image"]["id"])
    return 0


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _fetched(url: str) -> Iterator[bytes]:
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=60) as answer:  # noqa: S310 - http and https alone get here
            while data := answer.read(_CHUNK):
                yield data
    except (OSError, HTTPException, ValueError) as e:  # also an address that is none
        raise InvalidInputError(f"{url} cannot be fetched: {e}") from None


def commit(context: Context) -> int:
    parser = context.parser(
        "[-a AUTHOR] [-c INSTRUCTION] [-m MESSAGE] CONTAINER [REPOSITORY[:TAG]]",
        "Make an image of what a container has changed.",
    )
    add = parser.add_argument
    add("-a", "--author", default="", metavar="TEXT", help="who made it")
    add("-c", "--change", action="append", default=[], metavar="INSTRUCTION", help="CMD, ENV, ...")
    add("-m", "--message", default="", metavar="TEXT", help="for its history")
    add(
        "-p",
        "--pause",
        action="store_true",
        default=True,
        help="freeze it meanwhile (the default; --pause=false: let it run)",
    )
    add("--no-pause", action="store_true", help="as --pause=false")
    add("container", metavar="CONTAINER")
    add("name", nargs="?", metavar="REPOSITORY[:TAG]")
    args = parser.parse_args(context.args)
    body = {
        "name": args.name,
        "author": args.author,
        "message": args.message,
        "changes": args.change,
        "pause": args.pause and not args.no_pause,
    }
    path = f"/v1/containers/{quote(args.container)}/commit"
    print(follow(connect(context), path, body, quiet=not sys.stderr.isatty())["image"]["id"])
    return 0
