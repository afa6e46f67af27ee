"""``cp``: files between this machine and a container, by Docker's rules.

A tar stream goes over the wire. The agent reads and places the container's side; this side is
read and placed here, with the rights of who runs the command.
"""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgagent import standard
from cgagent.cli.agent import connect
from cgagent.cli.placing import place
from cgagent.client.http import Client, query, quote
from cgagent.errors import CgagentError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.cli.main import Context

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class End:
    """One of the two ends: `container` is None for this machine."""

    container: str | None
    path: str

    @classmethod
    def parse(cls, text: str) -> End:
        """``CONTAINER:PATH``, or a path here; one with a colon begins with a dot or a slash."""
        container, separator, path = text.partition(":")
        if not separator or text.startswith((".", "/")):
            return cls(None, text)
        if not container or not path:
            raise InvalidInputError(f"{text!r} is not CONTAINER:PATH")
        return cls(container, path)


@dataclass(frozen=True, slots=True)
class There:
    """What stands at a path. `path` has no links left in it where they were followed."""

    path: str
    is_directory: bool


def wants_contents(path: str) -> bool:
    """Whether what is in the directory is meant, without it."""
    return path in {".", "/"} or path.endswith("/.")


def target(source: End, found: There, destination: End, there: There | None) -> tuple[str, str]:
    """The directory to place into, and the name that the top entry gets there; "." for none.

    Raises:
        InvalidInputError: the two do not go together.
    """
    path = destination.path
    if there is None:
        if path.endswith("/") and not found.is_directory:
            raise InvalidInputError(f"directory {path} does not exist; create it first")
        parent, name = os.path.split(path.rstrip("/"))
        return parent or ".", name
    if there.is_directory:
        contents = found.is_directory and wants_contents(source.path)
        name = os.path.basename(source.path.rstrip("/"))
        if name == "..":  # the directory that it is, by its own name
            name = os.path.basename(os.path.normpath(found.path))
        return there.path, "." if contents or not name else name
    if found.is_directory:
        raise InvalidInputError(f"{path} is a file: a directory cannot be copied onto it")
    if path.endswith("/"):
        raise InvalidInputError(f"{path.rstrip('/')} is not a directory")
    parent, name = os.path.split(there.path)
    return parent or ".", name


def cp(context: Context) -> int:
    parser = context.parser(
        "[-a] [-L] CONTAINER:SOURCE DESTINATION|-\n"
        "       cgagent cp [-a] [-L] SOURCE|- CONTAINER:DESTINATION",
        "Copy files out of a container or into it; - is a tar stream on standard output or input.",
    )
    add = parser.add_argument
    add("-a", "--archive", action="store_true", help="keep user and group ids")
    add("-L", "--follow-link", action="store_true", help="of a link, copy what it leads to")
    add("-q", "--quiet", action="store_true", help="accepted; nothing is printed anyway")
    add("source", metavar="SOURCE")
    add("destination", metavar="DESTINATION")
    args = parser.parse_args(context.args)
    source, destination = End.parse(args.source), End.parse(args.destination)
    if (source.container is None) == (destination.container is None):
        raise InvalidInputError("one end must be CONTAINER:PATH, and the other one here")
    client = connect(context)
    if source.container is not None:
        _copy_out(client, source, destination, follow=args.follow_link, keep=args.archive)
    else:
        _copy_in(client, source, destination, follow=args.follow_link, keep=args.archive)
    return 0


# -- out of a container -------------------------------------------------------------------------


def _archive(end: End) -> str:
    return f"/v1/containers/{quote(end.container or '')}/archive"


def _look(client: Client, end: End, *, follow: bool) -> There | None:
    path = _archive(end) + query(path=end.path, follow=follow)
    try:
        value = json.loads(client.head(path)["cgagent-path-stat"])
    except NotFoundError:
        return None
    except CgagentError:  # an answer to HEAD has no room for why: this one has
        next(client.download(path), None)
        raise
    return There(value["path"], stat.S_ISDIR(value["mode"]))


def _copy_out(client: Client, source: End, destination: End, *, follow: bool, keep: bool) -> None:
    if destination.path == "-":
        path = _archive(source) + query(path=source.path, follow=follow)
        for piece in client.download(path):
            standard.write(1, piece)
        return
    # A link to a directory whose contents are wanted is looked through in any case.
    through = follow or source.path.endswith(("/", "/."))
    found = _look(client, source, follow=through) or There(source.path, is_directory=False)
    directory, name = target(source, found, destination, _look_here(destination.path))
    path = _archive(source) + query(path=source.path, follow=follow, name=name)
    place(directory, client.download(path), keep_owner=keep)


def _look_here(path: str) -> There | None:
    try:
        status = os.stat(path.rstrip("/") or "/")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return There(os.path.realpath(path), stat.S_ISDIR(status.st_mode))


# -- into a container ---------------------------------------------------------------------------


def _copy_in(client: Client, source: End, destination: End, *, follow: bool, keep: bool) -> None:
    client.request("GET", f"/v1/containers/{quote(destination.container or '')}")  # it is there
    if source.path == "-":
        _upload(client, destination, destination.path, _standard_input(), keep=keep)
        return
    try:
        mode = (os.stat if follow or source.path.endswith("/") else os.lstat)(source.path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"{source.path} does not exist") from None
    through = os.path.basename(source.path.rstrip("/")) == ".."
    path = os.path.realpath(source.path) if through else source.path
    found = There(path, stat.S_ISDIR(mode))
    bare = End(destination.container, destination.path.rstrip("/") or "/")
    there = _look(client, bare, follow=True)
    directory, name = target(source, found, destination, there)
    _upload(client, destination, directory, _tar(source.path, name, follow=follow), keep=keep)


def _upload(
    client: Client, end: End, directory: str, pieces: Iterator[bytes], *, keep: bool
) -> None:
    client.upload(_archive(end) + query(path=directory, keep_owner=keep), pieces)


def _standard_input() -> Iterator[bytes]:
    from cgagent.cli.compressed import pieces

    return pieces()


def _tar(path: str, name: str, *, follow: bool) -> Iterator[bytes]:
    """A tar stream of a file or tree here. Sockets are left out."""
    inodes = tarfile.TarFile(fileobj=io.BytesIO(), mode="w")  # knows hard links; writes nothing
    pending = [(os.path.realpath(path) if follow else path, name)]
    while pending:
        path, name = pending.pop()
        if stat.S_ISSOCK(os.lstat(path).st_mode):  # tar has no such entry
            continue
        info = inodes.gettarinfo(path, name)
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if info.isreg():
            yield from _content(path, info.size)
        elif info.isdir():
            below = sorted(os.listdir(path), reverse=True)
            pending += [(os.path.join(path, n), os.path.join(name, n)) for n in below]
    yield bytes(2 * tarfile.BLOCKSIZE)


def _content(path: str, size: int) -> Iterator[bytes]:
    """Exactly so many bytes, whatever the file does meanwhile, and what fills the last block."""
    with open(path, "rb") as file:
        left = size
        while left:
            data = file.read(min(left, _CHUNK)) or bytes(min(left, _CHUNK))
            yield data
            left -= len(data)
    yield bytes(-size % tarfile.BLOCKSIZE)
