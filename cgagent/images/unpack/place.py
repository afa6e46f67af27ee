"""Placing the entries of a tar stream into a directory that has files already.

For a process whose root is a container's: links may lead anywhere in it and nowhere else. Unlike
a layer, an archive that is copied in has no whiteouts, and directories that are there stay as
they are. No device or fifo is ever opened.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Final

from . import tarstream
from .tarstream import BadTarError, Entry, TarStream
from .trees import PATH_MAX, remove_tree

_CHUNK: Final = 1 << 16
_KEPT_XATTRS: Final = (b"user.", b"security.capability")


class Placer:
    """`keep_owner`: entries keep their user and group, else all is `owner`'s.

    `replace`: a directory may be replaced by something else, and the other way round.
    """

    def __init__(
        self,
        directory: bytes,
        proc_fd: int,
        *,
        keep_owner: bool,
        replace: bool,
        owner: tuple[int, int] = (0, 0),
    ) -> None:
        self._directory = directory
        self._proc_fd = proc_fd
        self._keep_owner = keep_owner
        self._owner = owner
        self._replace = replace
        self._times: dict[bytes, int] = {}
        self.entries = 0

    def run(self, stream: TarStream) -> None:
        for entry in stream:
            self.entries += 1
            parts = _parts(entry, entry.name)
            if not parts:
                continue
            try:
                self._place(entry, self._path(entry, parts), stream)
            except (OSError, OverflowError) as e:
                raise tarstream.blamed(entry, e) from None
        for path, mtime_ns in self._times.items():
            with contextlib.suppress(FileNotFoundError):
                os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)

    def run_on_input(self) -> None:
        """The same with standard input, which is read to its end."""
        self.run(TarStream(_Input(), sparse=True))
        while os.read(0, _CHUNK):
            pass  # padding after the end of the archive

    def _path(self, entry: Entry, parts: list[bytes]) -> bytes:
        """Where it goes; its parents are made where they are missing."""
        path = os.path.join(self._directory, *parts)
        if len(path) >= PATH_MAX:
            raise BadTarError(f"entry {entry.shown}: its path is longer than {PATH_MAX - 1} bytes")
        parent = os.path.dirname(path)
        if not os.path.isdir(parent):
            made = self._directory
            for part in parts[:-1]:
                made = os.path.join(made, part)
                try:
                    os.mkdir(made, 0o755)
                except FileExistsError:
                    if not os.path.isdir(made):
                        raise BadTarError(
                            f"entry {entry.shown}: {tarstream.shown(made)}, above it, is no "
                            "directory, nor a link to one"
                        ) from None
                else:
                    os.chown(made, *self._owner)
        return path

    def _place(self, entry: Entry, path: bytes, stream: TarStream) -> None:
        there = _mode(path)
        if entry.type == tarstream.DIRECTORY:
            if there is not None and stat.S_ISDIR(there):
                return
            self._make_room(path, entry, there, want_directory=True)
            os.mkdir(path)
        elif entry.type == tarstream.REGULAR:
            if not self._regular(path, entry, there, stream):
                return
        else:
            self._make_room(path, entry, there)
            if entry.type == tarstream.HARD_LINK:
                self._hard_link(path, entry)
                return
            tarstream.make_special(path, entry)
        self._attributes(path, entry)

    def _make_room(
        self, path: bytes, entry: Entry, there: int | None, *, want_directory: bool = False
    ) -> None:
        if there is None:
            return
        if stat.S_ISDIR(there) != want_directory and not self._replace:
            what = ("a directory", "something else")
            old, new = what if stat.S_ISDIR(there) else what[::-1]
            raise BadTarError(f"entry {entry.shown}: {old} is there, which {new} cannot replace")
        if stat.S_ISDIR(there):
            remove_tree(path)
        else:
            os.unlink(path)

    def _regular(self, path: bytes, entry: Entry, there: int | None, stream: TarStream) -> bool:
        """Whether it is a new file."""
        try:
            self._make_room(path, entry, there)
        except OSError as e:
            if e.errno != errno.EBUSY:
                raise
            self._write_into(path, entry, stream)  # something is mounted there: /etc/hosts, say
            return False
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        _fill(os.open(path, flags, 0o600), entry, stream)
        return True

    def _write_into(self, path: bytes, entry: Entry, stream: TarStream) -> None:
        looked_at = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(looked_at).st_mode):
                raise BadTarError(f"entry {entry.shown}: something is mounted there")
            flags = os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC
            _fill(os.open(str(looked_at), flags, dir_fd=self._proc_fd), entry, stream)
        finally:
            os.close(looked_at)

    def _hard_link(self, path: bytes, entry: Entry) -> None:
        target = os.path.join(self._directory, *_parts(entry, entry.link))
        if not os.path.lexists(target):
            raise BadTarError(f"entry {entry.shown}: its hard link target is not there")
        os.link(target, path, follow_symlinks=False)

    def _attributes(self, path: bytes, entry: Entry) -> None:
        # Ownership first: changing it clears set-id bits and security.capability.
        owner = (entry.uid, entry.gid) if self._keep_owner else self._owner
        os.chown(path, *owner, follow_symlinks=False)
        if entry.type != tarstream.SYMBOLIC_LINK:
            os.chmod(path, entry.mode)
        for name, value in entry.xattrs.items():
            if name.startswith(_KEPT_XATTRS):
                os.setxattr(path, name, value, follow_symlinks=False)
        if entry.type == tarstream.DIRECTORY:
            self._times[path] = entry.mtime_ns  # its entries would change it again
        else:
            os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


class _Input:
    def read(self, size: int, /) -> bytes:
        return os.read(0, size)


def _fill(fd: int, entry: Entry, stream: TarStream) -> None:
    try:
        if entry.sparse is None:
            tarstream.write(fd, stream.data())
        else:
            tarstream.write_sparse(fd, entry.sparse, stream.data())
    finally:
        os.close(fd)


def _mode(path: bytes) -> int | None:
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return None


def _parts(entry: Entry, name: bytes) -> list[bytes]:
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise BadTarError(f"entry {entry.shown}: a name with '..' leads out of its directory")
    return parts
