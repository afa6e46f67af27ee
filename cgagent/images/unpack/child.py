"""The process that unpacks one layer: a tar stream on stdin becomes the current root.

Started by `cgagent.images.layers` as ``python -I -S`` with the diff directory to fill. It
loads what it needs, opens the lower layers, enters the diff directory with chroot, and only
then reads the first byte: whatever an image names, `..` and links included, stays inside, and
no code of the image's is ever loaded (CVE-2018-15664, CVE-2019-14271). It never opens a device or
a fifo. Decompression and digests are the parent's work; so is removing a half-filled directory.

Whiteouts become overlayfs's own: ``.wh.NAME`` a character device 0:0, ``.wh..wh..opq`` the
xattr trusted.overlay.opaque. A layer holds changes only, so a directory that it does not list but
needs takes its owner, mode and times from the lower layers, else the merged one would change.

It ends with one JSON line on stdout: {"size_bytes", "entries"} or {"kind", "message"}.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import stat
import sys
from typing import TYPE_CHECKING, Final

from . import tarstream
from .tarstream import BadTarError, Entry, TarStream
from .trees import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ENTRIES: Final = 2_000_000
_WHITEOUT: Final = b".wh."
_OPAQUE: Final = b".wh..wh..opq"
_AUFS_METADATA: Final = b".wh..wh."
_OPAQUE_XATTR: Final = b"trusted.overlay.opaque"
_CAPABILITY: Final = b"security.capability"
_KEPT_XATTRS: Final = (b"user.", _CAPABILITY, b"system.posix_acl_")
"""An image may not set trusted.overlay.* (redirects) nor labels of the host it was built on."""
_MEMORY_LIMIT_BYTES: Final = 1 << 30
_BAD_ENTRY: Final = frozenset(
    {
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENOENT,
        errno.EINVAL,
        errno.EPERM,
        errno.EMLINK,
        errno.EEXIST,
        errno.E2BIG,
        errno.ERANGE,
    }
)


class _Stdin:
    def read(self, size: int, /) -> bytes:
        return os.read(0, size)


class Unpacker:
    """Applies entries to the root it stands in; `lowers` are descriptors, top first."""

    def __init__(self, lowers: list[int]) -> None:
        self._lowers = lowers
        self._directory_times: dict[bytes, int] = {}
        self._whiteouts: list[Entry] = []
        self.size_bytes = 0
        self.entries = 0

    def run(self, stream: TarStream) -> None:
        self._inherit(b"/")
        for entry in stream:
            self.entries += 1
            if self.entries > MAX_ENTRIES:
                raise BadTarError(f"more than {MAX_ENTRIES} entries")
            with _blamed_on(entry):
                self._apply(entry, stream)
        # Whiteouts hide what lower layers have, not what this one brings, wherever they stand
        # in it; some tools list those of a directory's content beside that of the directory,
        # which comes first here and leaves nothing for the others to do.
        for entry in sorted(self._whiteouts, key=lambda e: e.name.count(b"/")):
            with _blamed_on(entry):
                self._white_out(_parts(entry))
        for path, mtime_ns in self._directory_times.items():
            if _is_directory(path):
                os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)

    def _apply(self, entry: Entry, stream: TarStream) -> None:
        parts = _parts(entry)
        if not parts:
            if entry.type != tarstream.DIRECTORY:
                raise BadTarError(f"entry {entry.shown}: the root must be a directory")
            self._attributes(b"/", entry)
        elif parts[-1].startswith(_WHITEOUT):
            if parts[-1].removeprefix(_WHITEOUT) in (b"", b".", b".."):
                raise BadTarError(f"entry {entry.shown}: a whiteout that names no file")
            if parts[-1] == _OPAQUE or not parts[-1].startswith(_AUFS_METADATA):
                self._whiteouts.append(entry)
        else:
            path = self._parent(parts[:-1]) + parts[-1]
            if entry.type == tarstream.DIRECTORY:
                self._directory(path, entry)
            else:
                self._file(path, entry, stream)

    def _parent(self, parts: list[bytes]) -> bytes:
        """The directory `parts` name, made where it is missing, with a slash at its end."""
        path = b"/" + b"/".join(parts)
        if not _leads_to_directory(path):
            # A link of the image's own may lead to a directory that only a lower layer has.
            path = os.path.realpath(path)
            made = b""
            for part in path.split(b"/")[1:]:
                made += b"/" + part
                if not os.path.lexists(made):
                    os.mkdir(made, 0o755)
                    self._inherit(made)
        return path if path.endswith(b"/") else path + b"/"

    def _inherit(self, path: bytes) -> None:
        os.chown(path, 0, 0)
        os.chmod(path, 0o755)  # noqa: S103 -- as mkdir -p does for everybody's directories
        for lower in self._lowers:
            found = _stat_beneath(lower, path)
            if found is None:
                continue
            if stat.S_ISDIR(found.st_mode):
                os.chown(path, found.st_uid, found.st_gid)
                os.chmod(path, stat.S_IMODE(found.st_mode))
                self._directory_times[path] = found.st_mtime_ns
            return

    def _white_out(self, parts: list[bytes]) -> None:
        if _is_covered(b"/" + b"/".join(parts[:-1])):
            return
        parent = self._parent(parts[:-1])
        if parts[-1] == _OPAQUE:
            os.setxattr(parent, _OPAQUE_XATTR, b"y")
            return
        path = parent + parts[-1].removeprefix(_WHITEOUT)
        if _is_directory(path):
            os.setxattr(path, _OPAQUE_XATTR, b"y")
        elif not os.path.lexists(path):
            os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))

    def _directory(self, path: bytes, entry: Entry) -> None:
        if not _is_directory(path):
            _remove(path)
            os.mkdir(path)
        self._attributes(path, entry)

    def _file(self, path: bytes, entry: Entry, stream: TarStream) -> None:
        if entry.type == tarstream.HARD_LINK:
            self._hard_link(path, entry)
            return
        _remove(path)
        if entry.type == tarstream.REGULAR:
            self._regular(path, stream)
        elif entry.type == tarstream.SYMBOLIC_LINK:
            os.symlink(entry.link, path)
        elif entry.type == tarstream.FIFO:
            os.mkfifo(path)
        else:
            kind = stat.S_IFCHR if entry.type == tarstream.CHARACTER_DEVICE else stat.S_IFBLK
            os.mknod(path, kind, os.makedev(entry.major, entry.minor))
        self._attributes(path, entry)

    def _hard_link(self, path: bytes, entry: Entry) -> None:
        parts = _parts(entry, of_link=True)
        target = b"/" + b"/".join(parts)
        if (
            os.path.lexists(path)
            and os.path.lexists(target)
            and os.path.samefile(os.path.dirname(path), os.path.dirname(target))
            and os.path.basename(path) == os.path.basename(target)
        ):
            return  # a link to itself
        if not os.path.lexists(target):
            raise BadTarError(f"entry {entry.shown}: its hard link target is not in the layer")
        _remove(path)
        os.link(target, path, follow_symlinks=False)

    def _regular(self, path: bytes, stream: TarStream) -> None:
        fd = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            for chunk in stream.data():
                view = memoryview(chunk)
                while view:
                    view = view[os.write(fd, view) :]
                self.size_bytes += len(chunk)
        finally:
            os.close(fd)

    def _attributes(self, path: bytes, entry: Entry) -> None:
        # Ownership first: changing it clears set-id bits and security.capability.
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        if entry.type != tarstream.SYMBOLIC_LINK:
            os.chmod(path, entry.mode)
        for name, value in entry.xattrs.items():
            if name.startswith(_KEPT_XATTRS) and not name.startswith(b"user.overlay."):
                _set_xattr(path, name, value)
        if entry.type == tarstream.DIRECTORY:
            self._directory_times[path] = entry.mtime_ns  # its entries would change it again
        else:
            os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


@contextlib.contextmanager
def _blamed_on(entry: Entry) -> Iterator[None]:
    """What the kernel refuses because of what an entry asks for makes the archive a bad one."""
    try:
        yield
    except OverflowError:
        raise BadTarError(f"entry {entry.shown}: a number out of range") from None
    except OSError as e:
        if e.errno in _BAD_ENTRY:
            raise BadTarError(f"entry {entry.shown}: {e.strerror}") from None
        raise


def _parts(entry: Entry, *, of_link: bool = False) -> list[bytes]:
    name = entry.link if of_link else entry.name
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise BadTarError(f"entry {entry.shown}: a name with '..' leads out of its directory")
    return parts


def _is_directory(path: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _leads_to_directory(path: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False


def _is_covered(path: bytes) -> bool:
    """Whether something that is no directory stands at `path` or above it."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except NotADirectoryError:
        return True
    except OSError:
        return False


def _remove(path: bytes) -> None:
    """What an earlier entry of the layer left at `path`; nothing is there in most cases."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        remove_tree(path)


def _set_xattr(path: bytes, name: bytes, value: bytes) -> None:
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError as e:
        # user.* is for files and directories only, and a file system may lack it and ACLs; a
        # program that silently lost its capabilities would fail in a way nobody understands.
        if name == _CAPABILITY or e.errno not in (errno.ENOTSUP, errno.EPERM):
            raise


def _stat_beneath(root: int, path: bytes) -> os.stat_result | None:
    """Lstat of `path` in a lower layer, without following any of that layer's links."""
    parts = [part for part in path.split(b"/") if part]
    try:
        fd = os.dup(root)
        for part in parts:
            try:
                inner = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _confine(root: str, lowers: list[str]) -> list[int]:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    descriptors = [os.open(lower, flags) for lower in lowers]
    os.chroot(root)
    os.chdir("/")
    os.umask(0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT_BYTES, _MEMORY_LIMIT_BYTES))
    return descriptors


def main() -> None:
    """Arguments: the diff directory, then the diff directories of lower layers, top first."""
    answer: dict[str, object]
    try:
        root, *lowers = sys.argv[1:]
        unpacker = Unpacker(_confine(root, lowers))
        unpacker.run(TarStream(_Stdin()))
        while os.read(0, 1 << 16):
            pass  # padding after the end of the archive belongs to the digest
        answer = {"size_bytes": unpacker.size_bytes, "entries": unpacker.entries}
    except BadTarError as e:
        answer = {"kind": "bad", "message": str(e)}
    except MemoryError:
        answer = {"kind": "bad", "message": "it needs more memory than one layer may"}
    except OSError as e:
        answer = {"kind": "os", "errno": e.errno, "message": e.strerror}
    except Exception as e:  # noqa: BLE001 -- a traceback would read its source lines inside the image
        answer = {"kind": "defect", "message": repr(e)}
    with contextlib.suppress(BrokenPipeError):  # the parent has died
        os.write(1, json.dumps(answer).encode() + b"\n")
    os._exit(0)
