"""Placing a tar stream that came out of a container on this machine.

Its names are a container's choice, so each is taken apart and no link is followed on the way down
from the directory that the user named: nothing is written anywhere else. Set-id bits are dropped
unless owners are kept: a container must not leave a set-uid program of root's here.
"""

from __future__ import annotations

import os
import stat
import tarfile
from typing import IO, TYPE_CHECKING, cast

from cgagent.errors import ConflictError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 18
_STRIDE = 32
_MOST_KEPT = 256


class _Chunks:
    """Pieces as a file to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def drain(self) -> None:
        """To the end, where it is told if the stream was cut off."""
        for _ in self._pieces:
            pass


def place(directory: str, pieces: Iterator[bytes], *, keep_owner: bool) -> None:
    """Place the entries of a tar stream in a directory.

    Raises:
        NotFoundError: there is no such directory.
        ConflictError: a directory is where a file is to go, or the other way round.
        InvalidInputError: a name that leads out.
    """
    source = _Chunks(pieces)
    # the first piece is asked for first: a request that fails has changed nothing here
    with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|") as tar:
        try:
            top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(f"directory {directory} does not exist; create it first") from None
        try:
            _Placer(top, keep_owner=keep_owner).run(tar)
        finally:
            os.close(top)
    source.drain()


class _Placer:
    def __init__(self, top: int, *, keep_owner: bool) -> None:
        self._top = top
        self._keep_owner = keep_owner
        self._made: list[tuple[list[str], tarfile.TarInfo]] = []
        self._kept: list[tuple[list[str], int]] = []
        """Directories on the way to the last one, so that a deep one is not far from there."""

    def run(self, tar: tarfile.TarFile) -> None:
        try:
            self._run(tar)
        finally:
            for _, fd in self._kept:
                os.close(fd)

    def _run(self, tar: tarfile.TarFile) -> None:
        for info in tar:
            parts = _parts(info.name)
            if parts:
                parent = self._open(parts[:-1])
                try:
                    self._place(tar, info, parts, parent)
                finally:
                    os.close(parent)
        for parts, info in reversed(self._made):  # what was put into them has changed their times
            parent = self._open(parts[:-1])
            try:
                self._attributes(info, parts[-1], parent)
            finally:
                os.close(parent)

    def _open(self, parts: list[str]) -> int:
        """A directory below the top; no link is followed."""
        while self._kept and parts[: len(self._kept[-1][0])] != self._kept[-1][0]:
            os.close(self._kept.pop()[1])
        way, start = self._kept[-1] if self._kept else ([], self._top)
        fd = os.dup(start)
        for n, part in enumerate(parts[len(way) :], len(way) + 1):
            try:
                inner = os.open(part, _DIRECTORY, dir_fd=fd)
            except OSError as e:
                raise InvalidInputError(
                    f"{'/'.join(parts)!r}: {part!r} is no directory ({os.strerror(e.errno or 0)})"
                ) from None
            finally:
                os.close(fd)
            fd = inner
            if n % _STRIDE == 0 and len(self._kept) < _MOST_KEPT:
                self._kept.append((parts[:n], os.dup(fd)))
        return fd

    def _place(
        self, tar: tarfile.TarFile, info: tarfile.TarInfo, parts: list[str], parent: int
    ) -> None:
        name = parts[-1]
        there = _mode(name, parent)
        if there is not None and stat.S_ISDIR(there) != info.isdir():
            old, new = ("file", "directory") if info.isdir() else ("directory", "file")
            raise ConflictError(f"{'/'.join(parts)}: a {old} is there, not replaced by a {new}")
        if info.isdir():
            if there is None:
                os.mkdir(name, 0o700, dir_fd=parent)
                self._made.append((parts, info))
            return
        if there is not None:
            os.unlink(name, dir_fd=parent)
        if info.islnk():
            self._hard_link(info, name, parent)
            return
        if info.isreg():
            _write(tar, info, name, parent)
        elif info.issym():
            os.symlink(info.linkname, name, dir_fd=parent)
        elif info.isfifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
        else:
            kind = stat.S_IFCHR if info.ischr() else stat.S_IFBLK
            device = os.makedev(info.devmajor, info.devminor)
            os.mknod(name, kind | 0o600, device, dir_fd=parent)
        self._attributes(info, name, parent)

    def _hard_link(self, info: tarfile.TarInfo, name: str, parent: int) -> None:
        target = _parts(info.linkname)
        directory = self._open(target[:-1])
        try:
            os.link(
                target[-1], name, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False
            )
        finally:
            os.close(directory)

    def _attributes(self, info: tarfile.TarInfo, name: str, parent: int) -> None:
        if self._keep_owner:
            os.chown(name, info.uid, info.gid, dir_fd=parent, follow_symlinks=False)
        if not info.issym():
            most = 0o600 if info.ischr() or info.isblk() else 0o777
            mode = info.mode & (0o7777 if self._keep_owner else most)
            os.chmod(name, mode, dir_fd=parent)
        os.utime(name, (info.mtime, info.mtime), dir_fd=parent, follow_symlinks=False)


def _write(tar: tarfile.TarFile, info: tarfile.TarInfo, name: str, parent: int) -> None:
    content = tar.extractfile(info)
    with open(os.open(name, _NEW_FILE, 0o600, dir_fd=parent), "wb") as file:
        while content is not None and (data := content.read(_CHUNK)):
            file.write(data)


def _mode(name: str, parent: int) -> int | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise InvalidInputError(f"{name!r}: a name with '..' leads out of its directory")
    return parts
