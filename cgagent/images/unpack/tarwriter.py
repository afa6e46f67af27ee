"""Writing a tar stream of files below the current root: PAX, with hard links and attributes."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tarfile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK: Final = 1 << 18
_KEPT_XATTRS: Final = ("user.", "security.capability")
_KINDS: Final = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
}


class TarWriter:
    """`write` takes bytes; `proc_fd` is the host's /proc/self/fd, for opening what was looked at.

    A file that shrinks while it is read is filled with zeros, one that grows is cut off.
    """

    def __init__(self, write: Callable[[bytes], object], proc_fd: int) -> None:
        self._write = write
        self._proc_fd = proc_fd
        self._links: dict[tuple[int, int], str] = {}

    def add_tree(self, path: str, name: str) -> None:
        """`path` and, of a directory, all below it, as `name`. What vanishes meanwhile is left out.

        Raises:
            OSError: it cannot be read.
        """
        pending = self._add(path, name)
        while pending:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                pending += self._add(*pending.pop())

    def finish(self) -> None:
        self._write(bytes(2 * tarfile.BLOCKSIZE))

    def _add(self, path: str, name: str) -> list[tuple[str, str]]:
        """What is in it, in reverse. Opens regular files and directories only."""
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            kind = _KINDS.get(stat.S_IFMT(status.st_mode))
            if kind is None:  # a socket: tar has no such entry
                return []
            self._entry(fd, status, kind, name)
        finally:
            os.close(fd)
        if kind != tarfile.DIRTYPE:
            return []
        below = sorted(os.listdir(path), reverse=True)
        return [(os.path.join(path, n), os.path.join(name, n)) for n in below]

    def _entry(self, fd: int, status: os.stat_result, kind: bytes, name: str) -> None:
        info = tarfile.TarInfo(name)
        records: dict[str, str] = {}
        info.pax_headers = records
        info.type = kind
        info.mode = stat.S_IMODE(status.st_mode)
        info.uid, info.gid = status.st_uid, status.st_gid
        seconds, nanoseconds = divmod(status.st_mtime_ns, 1_000_000_000)
        info.mtime = seconds
        if nanoseconds and seconds >= 0:
            records["mtime"] = f"{seconds}.{nanoseconds:09d}"
        first = self._first_name(status, name)
        if first is not None:
            info.type, info.linkname = tarfile.LNKTYPE, first
            self._header(info)
        elif kind == tarfile.REGTYPE:
            self._file(fd, info, records, status.st_size)
        else:
            if kind == tarfile.SYMTYPE:
                info.linkname = os.readlink("", dir_fd=fd)
            info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
            self._header(info)

    def _first_name(self, status: os.stat_result, name: str) -> str | None:
        """The name under which a file with several has been written."""
        if status.st_nlink < 2 or stat.S_ISDIR(status.st_mode):  # noqa: PLR2004 - several
            return None
        key = (status.st_dev, status.st_ino)
        if key in self._links:
            return self._links[key]
        self._links[key] = name
        return None

    def _file(
        self, looked_at: int, info: tarfile.TarInfo, records: dict[str, str], size: int
    ) -> None:
        fd = os.open(str(looked_at), os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc_fd)
        try:
            records.update(_xattrs(fd))
            info.size = size
            self._header(info)
            left = size
            while left:
                data = os.read(fd, min(left, _CHUNK)) or bytes(min(left, _CHUNK))
                self._write(data)
                left -= len(data)
            self._write(bytes(-size % tarfile.BLOCKSIZE))
        finally:
            os.close(fd)

    def _header(self, info: tarfile.TarInfo) -> None:
        self._write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))


def _xattrs(fd: int) -> dict[str, str]:
    """Those kept, as PAX records."""
    try:
        names = [name for name in os.listxattr(fd) if name.startswith(_KEPT_XATTRS)]
    except OSError as e:
        if e.errno != errno.ENOTSUP:
            raise
        return {}
    return {
        f"SCHILY.xattr.{name}": os.getxattr(fd, name).decode("utf-8", "surrogateescape")
        for name in names
    }
