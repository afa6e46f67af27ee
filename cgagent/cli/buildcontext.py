"""The context of a build as a tar: of a directory, an archive, or a Dockerfile alone.

What the .dockerignore leaves out is not sent. Links are sent as they are, and nothing is followed.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
import tarfile
from typing import TYPE_CHECKING, Final

from cgagent import standard
from cgagent.errors import InvalidInputError, NotFoundError
from cgagent.pathpatterns import Ignore

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK: Final = 1 << 18
_COMPRESSED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_MAGIC_AT: Final = 257
_USTAR: Final = b"ustar"


class Sent:
    """What is sent: `dockerfile` is its name in the context."""

    def __init__(self, dockerfile: str, pieces: Iterator[bytes]) -> None:
        self.dockerfile = dockerfile
        self.pieces = pieces


def of(path: str, dockerfile: str | None) -> Sent:
    """`path` is a directory, an archive, or ``-``; `dockerfile` a path from here, or ``-``.

    Raises:
        InvalidInputError, NotFoundError.
    """
    if path == "-" and dockerfile == "-":
        raise InvalidInputError("standard input is the context or the Dockerfile, not both")
    if path == "-":
        return _of_input(dockerfile)
    if os.path.isfile(path):
        return Sent(dockerfile or "Dockerfile", _file(path))
    if not os.path.isdir(path):
        raise NotFoundError(f"build context {path} is neither a directory nor an archive")
    return _of_directory(path, dockerfile)


def _of_directory(path: str, dockerfile: str | None) -> Sent:
    if dockerfile == "-":
        return _with_text(path, b"".join(_input()))
    name = dockerfile or os.path.join(path, "Dockerfile")
    inside = os.path.relpath(os.path.realpath(name), os.path.realpath(path))
    if dockerfile and (inside.startswith("..") or os.path.isabs(inside)):
        return _with_text(path, _text(name))
    if not os.path.isfile(name) and not (
        dockerfile is None and os.path.isfile(os.path.join(path, "dockerfile"))
    ):
        raise NotFoundError(f"there is no Dockerfile {name}; -f FILE names another one")
    inside = os.path.relpath(name, path) if dockerfile is None else inside
    return Sent(inside, _directory(path, _ignored(path, inside), frozenset({inside})))


def _with_text(path: str, text: bytes) -> Sent:
    """A Dockerfile that is not in the context goes along under a name of its own."""
    name = f".dockerfile.{secrets.token_hex(10)}"

    def pieces() -> Iterator[bytes]:
        yield from _member(name, text)
        yield from _directory(path, _ignored(path, ""), frozenset())

    return Sent(name, pieces())


def _of_input(dockerfile: str | None) -> Sent:
    """An archive; or a Dockerfile, which is all that there is then."""
    pieces = _input()
    head = b""
    while len(head) < _MAGIC_AT + len(_USTAR) and (more := next(pieces, b"")):
        head += more
    is_archive = head[_MAGIC_AT:].startswith(_USTAR) or head.startswith(_COMPRESSED)
    if is_archive:
        return Sent(dockerfile or "Dockerfile", _chained(head, pieces))
    if not head.strip():
        raise InvalidInputError("standard input has neither a Dockerfile nor an archive")
    text = head + b"".join(pieces)
    return Sent("Dockerfile", iter((*_member("Dockerfile", text), _end())))


def _chained(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest


def _text(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as e:
        raise NotFoundError(f"Dockerfile {path}: {(e.strerror or '').lower()}") from None


def _ignored(path: str, dockerfile: str) -> Ignore:
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        file = os.path.join(path, name)
        if os.path.isfile(file):
            return Ignore.parse(_text(file).decode("utf-8", "replace"))
    return Ignore()


def _directory(path: str, ignore: Ignore, kept: frozenset[str]) -> Iterator[bytes]:
    """`kept` is sent even if it is to be left out, as the .dockerignore is."""
    kept = kept | {".dockerignore"} | {f"{name}.dockerignore" for name in kept}
    pending = [""]
    waiting: list[tuple[str, bytes]] = []
    while pending:
        here = pending.pop()
        with os.scandir(os.path.join(path, here)) as entries:
            found = sorted(entries, key=lambda entry: entry.name, reverse=True)
        for entry in reversed(found):
            name = f"{here}/{entry.name}" if here else entry.name
            hidden = name not in kept and ignore.hides(name)
            if entry.is_dir(follow_symlinks=False):
                if not hidden or ignore.takes_back or any(k.startswith(f"{name}/") for k in kept):
                    pending.append(name)
                    if hidden:
                        waiting.append((f"{name}/", _header(entry, name)))
                    else:
                        yield _header(entry, name)
            elif not hidden:
                while waiting:  # the directories that it is in
                    above, header = waiting.pop(0)
                    if name.startswith(above):
                        yield header
                yield from _entry(entry, name)
    yield _end()


def _entry(entry: os.DirEntry[str], name: str) -> Iterator[bytes]:
    mode = entry.stat(follow_symlinks=False).st_mode
    if stat.S_ISSOCK(mode):
        return
    if not stat.S_ISREG(mode):
        yield _header(entry, name)
        return
    try:
        fd = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as e:
        raise InvalidInputError(
            f"build context: {standard.printable(entry.path)}: {(e.strerror or '').lower()}; a "
            ".dockerignore can leave it out"
        ) from None
    try:
        size = os.fstat(fd).st_size
        yield _header(entry, name, size)
        left = size
        while left:
            data = os.read(fd, min(left, _CHUNK)) or bytes(min(left, _CHUNK))
            yield data
            left -= len(data)
        yield bytes(-size % tarfile.BLOCKSIZE)
    finally:
        os.close(fd)


def _header(entry: os.DirEntry[str], name: str, size: int = 0) -> bytes:
    status = entry.stat(follow_symlinks=False)
    info = tarfile.TarInfo(name)
    info.mode = stat.S_IMODE(status.st_mode)
    info.mtime = int(status.st_mtime)
    info.size = size
    if stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(entry.path)
    elif stat.S_ISFIFO(status.st_mode):
        info.type = tarfile.FIFOTYPE
    elif not stat.S_ISREG(status.st_mode):
        info.type = tarfile.CHRTYPE if stat.S_ISCHR(status.st_mode) else tarfile.BLKTYPE
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _member(name: str, content: bytes) -> list[bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    padding = bytes(-len(content) % tarfile.BLOCKSIZE)
    return [info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"), content, padding]


def _end() -> bytes:
    return bytes(2 * tarfile.BLOCKSIZE)


def _file(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while data := file.read(_CHUNK):
            yield data


def _input() -> Iterator[bytes]:
    if os.isatty(0):
        print("reading standard input up to its end", file=sys.stderr)
    while data := standard.read(0, _CHUNK):
        yield data
