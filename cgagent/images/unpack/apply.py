"""Applying the entries of a layer to the root that the process stands in. Standard library only.

Whiteouts become overlayfs's own: ``.wh.NAME`` a character device 0:0, ``.wh..wh..opq`` the
xattr trusted.overlay.opaque. A layer holds changes only, so a directory that it does not list but
needs takes its owner, mode and times from the lower layers, else the merged one would change.
These may be unpacked at the same time, so that is done last, by `inherit`. No device or fifo is
ever opened.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from . import tarstream
from .tarstream import BadTarError, Entry, TarStream
from .trees import remove_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ENTRIES: Final = 2_000_000
_WHITEOUT: Final = b".wh."
_OPAQUE: Final = b".wh..wh..opq"
_AUFS_METADATA: Final = b".wh..wh."
_OPAQUE_XATTR: Final = b"trusted.overlay.opaque"
_CAPABILITY: Final = b"security.capability"
_ACL: Final = b"system.posix_acl_"
_KEPT_XATTRS: Final = (b"user.", _CAPABILITY, _ACL)
"""An image may not set trusted.overlay.* (redirects) nor labels of the host it was built on."""
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PERMISSIONS: Final = 0o777
_ROOT: Final = b"/"
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Unpacker:
    """Use `run`, and then `inherit` when the lower layers are there."""

    def __init__(self) -> None:
        self._directory_times: dict[bytes, int] = {}
        self._inheriting: dict[bytes, None] = {}
        self._whiteouts: list[Entry] = []
        self._parents: dict[bytes, bytes] = {}
        """Directories that entries were placed in, by name, with a slash at their ends."""
        self._modes_differ = False
        """Whether a new file may have another mode than it is made with (a default ACL)."""
        self._owners_differ = False
        """Whether a new file may have another owner than root:root (its directory's group)."""
        self.size_bytes = 0
        self.entries = 0

    @property
    def inherits(self) -> bool:
        """Whether there are directories that only lower layers know the attributes of."""
        return bool(self._inheriting)

    def run(self, stream: TarStream) -> None:
        self._plain_directory(_ROOT)
        for entry in stream:
            self.entries += 1
            if self.entries > MAX_ENTRIES:
                raise BadTarError(f"more than {MAX_ENTRIES} entries")
            try:
                self._apply(entry, stream)
            except (OSError, OverflowError) as e:
                raise tarstream.blamed(entry, e) from None
        # Whiteouts hide what lower layers have, not what this one brings, wherever they stand
        # in it; some tools list those of a directory's content beside that of the directory,
        # which comes first here and leaves nothing for the others to do.
        for entry in sorted(self._whiteouts, key=lambda e: e.name.count(b"/")):
            try:
                self._white_out(_parts(entry, entry.name))
            except (OSError, OverflowError) as e:
                raise tarstream.blamed(entry, e) from None
        for path, mtime_ns in self._directory_times.items():
            if _is_directory(path):
                os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)

    def inherit(self, lowers: Sequence[int]) -> None:
        """`lowers`: descriptors of the lower layers, top first."""
        for path in self._inheriting:
            found = _stat_in(lowers, path)
            if found is not None and _is_directory(path):
                os.chown(path, found.st_uid, found.st_gid)
                os.chmod(path, stat.S_IMODE(found.st_mode))
                os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))

    def _apply(self, entry: Entry, stream: TarStream) -> None:
        parts = _parts(entry, entry.name)
        if not parts:
            if entry.type != tarstream.DIRECTORY:
                raise BadTarError(f"entry {entry.shown}: the root must be a directory")
            self._attributes(_ROOT, entry)
            return
        name = parts.pop()
        if name.startswith(_WHITEOUT):
            if name.removeprefix(_WHITEOUT) in (b"", b".", b".."):
                raise BadTarError(f"entry {entry.shown}: a whiteout that names no file")
            if name == _OPAQUE or not name.startswith(_AUFS_METADATA):
                self._whiteouts.append(entry)
            return
        path = self._parent(parts) + name
        if entry.type == tarstream.REGULAR:
            self._regular(path, entry, stream)
        elif entry.type == tarstream.DIRECTORY:
            self._directory(path, entry)
        elif entry.type == tarstream.HARD_LINK:
            self._hard_link(path, entry)
        else:
            self._special(path, entry)

    def _parent(self, parts: list[bytes]) -> bytes:
        """The directory `parts` name, made where it is missing, with a slash at its end."""
        name = b"/".join(parts)
        known = self._parents.get(name)
        if known is None:
            known = self._parents[name] = self._find_parent(_ROOT + name)
        return known

    def _find_parent(self, path: bytes) -> bytes:
        if not _leads_to_directory(path):
            # A link of the image's own may lead to a directory that only a lower layer has.
            path = os.path.realpath(path)
            made = b""
            for part in path.split(b"/")[1:]:
                made += b"/" + part
                if not os.path.lexists(made):
                    os.mkdir(made, 0o755)
                    self._plain_directory(made)
        return path if path.endswith(b"/") else path + b"/"

    def _plain_directory(self, path: bytes) -> None:
        """As mkdir -p makes everybody's directories, until it is listed or inherits more."""
        os.chown(path, 0, 0)
        os.chmod(path, 0o755)  # noqa: S103
        self._inheriting[path] = None

    def _remove(self, path: bytes) -> None:
        """What an earlier entry of the layer left at `path`."""
        self._parents.clear()  # a link or a directory on the way to others, perhaps
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            remove_tree(path)

    def _white_out(self, parts: list[bytes]) -> None:
        name = parts.pop()
        if _is_covered(_ROOT + b"/".join(parts)):
            return
        parent = self._parent(parts)
        if name == _OPAQUE:
            os.setxattr(parent, _OPAQUE_XATTR, b"y")
            return
        path = parent + name.removeprefix(_WHITEOUT)
        if _is_directory(path):
            os.setxattr(path, _OPAQUE_XATTR, b"y")
        elif not os.path.lexists(path):
            os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))

    def _directory(self, path: bytes, entry: Entry) -> None:
        try:
            os.mkdir(path)
        except FileExistsError:
            if not _is_directory(path):
                self._remove(path)
                os.mkdir(path)
        self._attributes(path, entry)

    def _special(self, path: bytes, entry: Entry) -> None:
        try:
            tarstream.make_special(path, entry)
        except FileExistsError:
            self._remove(path)
            tarstream.make_special(path, entry)
        self._attributes(path, entry)

    def _hard_link(self, path: bytes, entry: Entry) -> None:
        target = _ROOT + b"/".join(_parts(entry, entry.link))
        try:
            os.link(target, path, follow_symlinks=False)
        except FileExistsError:
            if _is_same_name(path, target):
                return
            self._remove(path)
            if not os.path.lexists(target):
                raise _no_target(entry) from None
            os.link(target, path, follow_symlinks=False)
        except OSError as e:
            if e.errno in _NOT_THERE:
                raise _no_target(entry) from None
            raise

    def _regular(self, path: bytes, entry: Entry, stream: TarStream) -> None:
        mode = entry.mode & _PERMISSIONS
        try:
            fd = os.open(path, _NEW_FILE, mode)
        except FileExistsError:
            self._remove(path)
            fd = os.open(path, _NEW_FILE, mode)
        try:
            if entry.sparse is not None:
                tarstream.write_sparse(fd, entry.sparse, stream.data())
                self.size_bytes += entry.size
            elif entry.size:
                tarstream.write(fd, stream.data())
                self.size_bytes += entry.size
            # Ownership first: changing it clears set-id bits and security.capability.
            if entry.uid or entry.gid or self._owners_differ:
                os.fchown(fd, entry.uid, entry.gid)
            if mode != entry.mode or self._modes_differ:
                os.fchmod(fd, entry.mode)
            if entry.xattrs:
                self._set_xattrs(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _attributes(self, path: bytes, entry: Entry) -> None:
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        if entry.type != tarstream.SYMBOLIC_LINK:
            os.chmod(path, entry.mode)
        if entry.xattrs:
            self._set_xattrs(path, entry)
        if entry.type == tarstream.DIRECTORY:
            self._owners_differ = self._owners_differ or entry.gid != 0
            self._directory_times[path] = entry.mtime_ns  # its entries would change it again
            self._inheriting.pop(path, None)
        else:
            os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)

    def _set_xattrs(self, where: bytes | int, entry: Entry) -> None:
        for name, value in entry.xattrs.items():
            if name.startswith(_KEPT_XATTRS) and not name.startswith(b"user.overlay."):
                self._modes_differ = self._modes_differ or name.startswith(_ACL)
                _set_xattr(where, name, value)


def _parts(entry: Entry, name: bytes) -> list[bytes]:
    parts = name.split(b"/")
    if b"" in parts or b"." in parts:
        parts = [part for part in parts if part not in (b"", b".")]
    if b".." in parts:
        raise BadTarError(f"entry {entry.shown}: a name with '..' leads out of its directory")
    return parts


def _no_target(entry: Entry) -> BadTarError:
    return BadTarError(f"entry {entry.shown}: its hard link target is not in the layer")


def _is_same_name(path: bytes, target: bytes) -> bool:
    """Whether a hard link is to itself."""
    return (
        os.path.lexists(target)
        and os.path.basename(path) == os.path.basename(target)
        and os.path.samefile(os.path.dirname(path), os.path.dirname(target))
    )


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


def _set_xattr(where: bytes | int, name: bytes, value: bytes) -> None:
    try:
        if isinstance(where, int):
            os.setxattr(where, name, value)
        else:
            os.setxattr(where, name, value, follow_symlinks=False)
    except OSError as e:
        # user.* is for files and directories only, and a file system may lack it and ACLs; a
        # program that silently lost its capabilities would fail in a way nobody understands.
        if name == _CAPABILITY or e.errno not in (errno.ENOTSUP, errno.EPERM):
            raise


def _stat_in(lowers: Sequence[int], path: bytes) -> os.stat_result | None:
    """Of the directory that `lowers`, top first, show at `path`; None: they show none."""
    parts = [part for part in path.split(b"/") if part]
    for lower in lowers:
        found, is_last = _stat_beneath(lower, parts)
        if found is not None:
            return found if stat.S_ISDIR(found.st_mode) else None
        if is_last:
            return None
    return None


def _stat_beneath(root: int, parts: Sequence[bytes]) -> tuple[os.stat_result | None, bool]:
    """Lstat of a path in a lower layer, without following any of that layer's links.

    Where it is missing: whether something here hides what the layers below have there.
    """
    hides = False
    fd = os.dup(root)
    try:
        for part in parts:
            hides = hides or _is_opaque(fd)
            inner = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = inner
        return os.fstat(fd), False
    except FileNotFoundError:
        return None, hides
    except NotADirectoryError:
        return None, True
    finally:
        os.close(fd)


def _is_opaque(directory: int) -> bool:
    try:
        # a descriptor with O_PATH has no attributes of its own to ask for
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    except NotADirectoryError:
        return False
    try:
        return os.getxattr(fd, _OPAQUE_XATTR) == b"y"
    except OSError:
        return False
    finally:
        os.close(fd)
