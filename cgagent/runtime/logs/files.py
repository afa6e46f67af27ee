"""The files of a log: their names, their order, and the compressed ones among them.

With Docker's option ``compress`` what was ``NAME.1`` becomes ``NAME.1.gz``. The supervisor rotates
and compresses nothing; the agent compresses, in a thread, and holds the lock while it puts the
compressed file in the place of the other. A rotation that finds the lock taken comes later.

A compressed file says in its header which file it was made of, so that a reader that has that one
open finds the next, and that one of the two is removed when a crash left both.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import os
import struct
import zlib
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Identity = tuple[int, int, int]
"""Inode, time of the last change in nanoseconds, size: nothing writes to a file rotated away."""

COMPRESSED: Final = ".gz"
_HEADER: Final = struct.Struct("<4sIBBH2sHQQQ")
_BEGIN: Final = b"\x1f\x8b\x08\x04"  # gzip, deflate, and an extra field
_SUBFIELD: Final = b"cg"
_EXTRA_BYTES: Final = 28
_CHUNK: Final = 256 * 1024


@contextlib.contextmanager
def locked(path: str, *, wait: bool) -> Iterator[None]:
    """Nobody else renames the files of this log. Raises BlockingIOError, if not to `wait`."""
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(fd)


def rotate(path: str, new: str, max_files: int) -> None:
    """Make `new` the current file, and the others older by one. Raises OSError."""
    with locked(path, wait=False):
        for number in range(max_files - 1, 0, -1):  # the oldest first: see the reader
            _grow_older(path, number)
        os.rename(new, path)


def _grow_older(path: str, number: int) -> None:
    source = path + (f".{number - 1}" if number > 1 else "")
    moved = []
    for suffix in ("", COMPRESSED):
        with contextlib.suppress(FileNotFoundError):
            os.rename(source + suffix, f"{path}.{number}{suffix}")
            moved.append(suffix)
    for suffix in ("", COMPRESSED):
        if moved and suffix not in moved:  # of the one that it takes the place of
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}.{number}{suffix}")


def identity(fd: int) -> Identity:
    status = os.fstat(fd)
    return status.st_ino, status.st_mtime_ns, status.st_size


def numbered(path: str) -> dict[int, list[str]]:
    """The files of a log by number, 0 being the current one; a plain one before its copy."""
    folder, name = os.path.split(path)
    try:
        entries = sorted(os.listdir(folder))
    except FileNotFoundError:  # the container has been removed
        return {}
    found: dict[int, list[str]] = {}
    for entry in entries:
        number = entry.removeprefix(name + ".").removesuffix(COMPRESSED)
        if entry == name:
            found[0] = [path]
        elif entry.startswith(name + ".") and number.isdecimal():
            found.setdefault(int(number), []).append(os.path.join(folder, entry))
    return found


class OpenFile:
    """One of the files, being read. Its place among them is found by what it is, not by name."""

    def __init__(self, path: str) -> None:
        """Raises FileNotFoundError."""
        self.raw: IO[bytes] = open(path, "rb")  # noqa: SIM115 - closed by close()
        self.origin: Identity | None = None
        self._plain: IO[bytes] | gzip.GzipFile = self.raw
        if path.endswith(COMPRESSED):
            self.origin = _origin(self.raw)
            self._plain = gzip.GzipFile(fileobj=self.raw, mode="rb")

    @property
    def is_compressed(self) -> bool:
        return self._plain is not self.raw

    def identity(self) -> Identity:
        return identity(self.raw.fileno())

    def read(self, size: int) -> bytes:
        """What comes next; of a damaged file, what can be read of it."""
        try:
            return self._plain.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._plain.seek(offset, whence)

    def tell(self) -> int:
        return self._plain.tell()

    def was_emptied(self) -> bool:
        """By somebody else, while it is written to."""
        return not self.is_compressed and os.fstat(self.raw.fileno()).st_size < self.raw.tell()

    def close(self) -> None:
        self._plain.close()
        self.raw.close()


def _origin(raw: IO[bytes]) -> Identity | None:
    """What a compressed file says that it was made of."""
    header = raw.read(_HEADER.size)
    raw.seek(0)
    if len(header) < _HEADER.size:
        return None
    begin, *_, subfield, _, inode, time_ns, size = _HEADER.unpack(header)
    return (inode, time_ns, size) if (begin, subfield) == (_BEGIN, _SUBFIELD) else None


def compress(path: str, is_stopped: Callable[[], bool] = bool) -> None:
    """Compress what has been rotated away of a log, the oldest first, until it `is_stopped`.

    Raises:
        OSError: it cannot be done now. What was to be compressed is as it was.
    """
    for number, files in sorted(numbered(path).items(), reverse=True):
        if number and not files[0].endswith(COMPRESSED):
            with contextlib.suppress(FileNotFoundError):  # it has another number by now
                _compress(path, files[0], is_stopped)


def _compress(path: str, file: str, is_stopped: Callable[[], bool]) -> None:
    with open(file, "rb") as source, _nameless(os.path.dirname(path)) as target:
        was = identity(source.fileno())
        if not _write(source, target, was, is_stopped):
            return
        with locked(path, wait=True):
            for number, files in numbered(path).items():
                if number and os.stat(files[0]).st_ino == was[0]:
                    name = f"{path}.{number}{COMPRESSED}"
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(name)
                    fd = target.fileno()  # given as a directory, too, for linkat(2) to be called
                    os.link(f"/proc/self/fd/{fd}", name, src_dir_fd=fd, follow_symlinks=True)
                    os.unlink(files[0])


@contextlib.contextmanager
def _nameless(folder: str) -> Iterator[IO[bytes]]:
    """A file that is gone unless it gets a name."""
    fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o640)
    with open(fd, "wb") as file:
        yield file


def _write(
    source: IO[bytes], target: IO[bytes], was: Identity, is_stopped: Callable[[], bool]
) -> bool:
    """All of it, as ``gzip`` would, which has no way to write an extra field; whether it is."""
    seconds = was[1] // 1_000_000_000 & 0xFFFFFFFF
    extra = (_EXTRA_BYTES, _SUBFIELD, _EXTRA_BYTES - 4)
    target.write(_HEADER.pack(_BEGIN, seconds, 0, 255, *extra, *was))
    squeezed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    checksum = 0
    while data := source.read(_CHUNK):
        if is_stopped():
            return False
        checksum = zlib.crc32(data, checksum)
        target.write(squeezed.compress(data))
    target.write(squeezed.flush() + struct.pack("<II", checksum, source.tell() & 0xFFFFFFFF))
    target.flush()
    os.fsync(target.fileno())
    return True
