"""The members of an image archive by name: those of a tar file, or the files of a directory."""

from __future__ import annotations

import errno
import io
import os
import posixpath
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from cgagent.concurrency import StoppedError
from cgagent.errors import InvalidInputError, NotFoundError
from cgagent.images import compression
from cgagent.images.unpack import tarstream
from cgagent.images.unpack.tarstream import BadTarError, TarStream
from cgagent.kernel import beneath
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    import threading
    from typing import BinaryIO

CONTAINERD_NAME: Final = "io.containerd.image.name"
"""The annotation of a whole name: docker.io/library/alpine:latest."""
OCI_NAME: Final = "org.opencontainers.image.ref.name"
"""The annotation of a name or, as docker writes it, of a tag alone."""
_MAX_MEMBERS: Final = 100_000
_MAX_LINKS: Final = 4
_BUFFER_BYTES: Final = 1 << 18


class Members(Protocol):
    """The other methods raise InvalidInputError for what is not there or is no file."""

    @property
    def what(self) -> str:
        """What to call the archive in messages."""
        ...

    def has(self, name: str) -> bool: ...

    def size(self, name: str) -> int:
        """In bytes."""
        ...

    def open(self, name: str) -> BinaryIO: ...


def blob_name(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


# -- a tar file ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Member:
    offset: int
    size: int
    link: str | None = None


class _Slice(io.RawIOBase):
    """A part of a file."""

    def __init__(self, path: str, offset: int, size: int) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 -- closed by close()
        self._file.seek(offset)
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(memoryview(buffer)[: self._left]) or 0
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class TarMembers:
    """Of the uncompressed tar at `path`, called `shown` in messages."""

    def __init__(self, path: str, shown: str) -> None:
        self.what = f"archive {shown}"
        self._path = path
        self._members: dict[str, _Member] = {}
        with open(path, "rb", opener=_regular) as source:
            stream = TarStream(source)
            try:
                for entry in stream:
                    self._note(entry, stream.offset)
            except BadTarError as e:
                kind = "" if self._members else " is no tar archive"
                raise InvalidInputError(f"{self.what}{kind}: {e}") from None

    def _note(self, entry: tarstream.Entry, offset: int) -> None:
        name = _normal(entry.name)
        if entry.type == tarstream.REGULAR:
            self._members[name] = _Member(offset, entry.size)
        elif entry.type == tarstream.SYMBOLIC_LINK:
            # docker save of old writes a layer once and links to it.
            target = posixpath.join(posixpath.dirname(name), _text(entry.link))
            self._members[name] = _Member(0, 0, posixpath.normpath(target))
        elif entry.type == tarstream.HARD_LINK:
            self._members[name] = _Member(0, 0, _normal(entry.link))
        if len(self._members) > _MAX_MEMBERS:
            raise BadTarError(f"more than {_MAX_MEMBERS} files")

    def has(self, name: str) -> bool:
        return name in self._members

    def size(self, name: str) -> int:
        return self._find(name).size

    def open(self, name: str) -> BinaryIO:
        found = self._find(name)
        return io.BufferedReader(_Slice(self._path, found.offset, found.size), _BUFFER_BYTES)

    def _find(self, name: str) -> _Member:
        key = posixpath.normpath(name)
        for _ in range(_MAX_LINKS):
            found = self._members.get(key)
            if found is None:
                break
            if found.link is None:
                return found
            key = found.link
        raise _lacks(self.what, name)


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def _normal(name: bytes) -> str:
    return posixpath.normpath(_text(name).lstrip("/"))


# -- a directory --------------------------------------------------------------------------------


class DirectoryMembers:
    """Of an unpacked archive. No link in it is followed."""

    def __init__(self, path: str) -> None:
        self.what = f"directory {path}"
        self._path = path

    def has(self, name: str) -> bool:
        try:
            os.close(self._open(name))
        except InvalidInputError:
            return False
        return True

    def size(self, name: str) -> int:
        with self.open(name) as file:
            return os.fstat(file.fileno()).st_size

    def open(self, name: str) -> BinaryIO:
        return os.fdopen(self._open(name), "rb", _BUFFER_BYTES)

    def _open(self, name: str) -> int:
        top = os.open(self._path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        flags = os.O_RDONLY | os.O_NONBLOCK
        only = beneath.RESOLVE_BENEATH | beneath.RESOLVE_NO_SYMLINKS
        try:
            fd = beneath.openat2(top, name, flags, resolve=only)
        except (OSError, ValueError):  # not there, a link, or a name with a NUL
            raise _lacks(self.what, name) from None
        finally:
            os.close(top)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        raise _lacks(self.what, name)


def _lacks(what: str, name: str) -> InvalidInputError:
    return InvalidInputError(f"{what} lacks {name[:120]!r}, which it refers to")


# -- which of the two ---------------------------------------------------------------------------


def _regular(path: str, flags: int) -> int:
    """Open what is read several times, and without waiting for somebody to write it."""
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise InvalidInputError(f"archive {path} is no regular file: save it to one first")


def open_archive(path: str, shown: str, scratch: str, stop: threading.Event) -> Members:
    """The members of the archive at `path`; a compressed one is written to `scratch` first.

    Raises:
        NotFoundError, InvalidInputError, NoSpaceError, StoppedError.
    """
    try:
        with open(path, "rb", opener=_regular) as source:
            if not compression.is_compressed(source.read(6)):
                return TarMembers(path, shown)
            source.seek(0)
            _decompress(source, shown, scratch, stop)
    except IsADirectoryError:
        return DirectoryMembers(path)
    except FileNotFoundError:
        raise NotFoundError(f"archive {shown} does not exist") from None
    except PermissionError as e:
        raise InvalidInputError(f"archive {shown} cannot be read: {e.strerror}") from None
    return TarMembers(scratch, shown)


def _decompress(source: BinaryIO, shown: str, scratch: str, stop: threading.Event) -> None:
    """Members are read in place, which takes a plain archive."""
    with (
        disk_full_is_no_space(f"archive {shown}: decompressing", scratch),
        open(scratch, "wb") as plain,
    ):
        for chunk in compression.decompressed(source, f"archive {shown}"):
            if stop.is_set():
                raise StoppedError
            plain.write(chunk)
