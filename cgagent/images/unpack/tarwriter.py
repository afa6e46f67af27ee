"""Writing a tar stream of files below the current root: PAX, with hard links and attributes."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tarfile
from typing import TYPE_CHECKING, Final

from cgagent.kernel.procfs import filesystem_magic

from .trees import within_reach

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK: Final = 1 << 18
_KEPT_XATTRS: Final = ("user.", "security.capability", "system.posix_acl_")
_KERNELS_OWN: Final = frozenset(
    {
        0x9FA0,  # proc
        0x62656572,  # sysfs
        0x27E0EB,  # cgroup
        0x63677270,  # cgroup2
        0x1CD1,  # devpts
        0x19800202,  # mqueue
        0x73636673,  # securityfs
        0x64626720,  # debugfs
        0x74726163,  # tracefs
        0x62656570,  # configfs
        0x6165676C,  # pstore
        0xDE5E81E4,  # efivarfs
        0xCAFE4A11,  # bpf
    }
)
"""File systems whose files are questions to the kernel (linux/magic.h): they are left out."""
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

    Paths are absolute and may be of any length; for a long one the process changes its directory.
    A file that shrinks while it is read is filled with zeros, one that grows is cut off.
    """

    def __init__(self, write: Callable[[bytes], object], proc_fd: int) -> None:
        self._write = write
        self._proc_fd = proc_fd
        self._links: dict[tuple[int, int], str] = {}
        self.size_bytes = 0
        """Of the files that were written so far."""

    def add_tree(self, path: str, name: str) -> None:
        """`path` and, of a directory, all below it, as `name`. What vanishes meanwhile is left out.

        Raises:
            OSError: it cannot be read.
        """
        pending = self.add_entry(path, name)
        while pending:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                pending += self.add_entry(*pending.pop())

    def finish(self) -> None:
        self._write(bytes(2 * tarfile.BLOCKSIZE))

    def add_empty(self, name: str) -> None:
        """A file that stands for something by its name."""
        self._header(tarfile.TarInfo(name))

    def add_entry(self, path: str, name: str) -> list[tuple[str, str]]:
        """It alone; what is in it, in reverse. Opens regular files and directories only.

        Of a directory of the kernel's own, /proc say, nothing is in it.
        """
        near = within_reach(path)
        fd = os.open(near, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            kind = _KINDS.get(stat.S_IFMT(status.st_mode))
            if kind is None:  # a socket: tar has no such entry
                return []
            self._entry(fd, status, kind, name)
            if kind != tarfile.DIRTYPE or filesystem_magic(fd) in _KERNELS_OWN:
                return []
        finally:
            os.close(fd)
        below = sorted(os.listdir(near), reverse=True)
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
            elif kind == tarfile.DIRTYPE:
                records.update(self._directory_xattrs(fd))
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
            self.size_bytes += size
            self._header(info)
            left = size
            while left:
                data = os.read(fd, min(left, _CHUNK)) or bytes(min(left, _CHUNK))
                self._write(data)
                left -= len(data)
            self._write(bytes(-size % tarfile.BLOCKSIZE))
        finally:
            os.close(fd)

    def _directory_xattrs(self, looked_at: int) -> dict[str, str]:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        fd = os.open(str(looked_at), flags, dir_fd=self._proc_fd)
        try:
            return _xattrs(fd)
        finally:
            os.close(fd)

    def _header(self, info: tarfile.TarInfo) -> None:
        self._write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))


def _xattrs(fd: int) -> dict[str, str]:
    """Those kept, as PAX records."""
    try:
        names = [name for name in os.listxattr(fd) if _is_kept(name)]
    except OSError as e:
        if e.errno != errno.ENOTSUP:
            raise
        return {}
    return {
        f"SCHILY.xattr.{name}": os.getxattr(fd, name).decode("utf-8", "surrogateescape")
        for name in names
    }


def _is_kept(name: str) -> bool:
    """Whoever may write a file gives it any; a PAX record's name is UTF-8 and ends at its ``=``."""
    fits = "=" not in name and not any("\ud800" <= c <= "\udfff" for c in name)
    return fits and name.startswith(_KEPT_XATTRS)


def write_all(data: bytes) -> None:
    """To standard output."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
