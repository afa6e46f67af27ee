"""Making one tree of unpacked layers, or a copy of a tree, without an overlay.

A bare interpreter runs it for `cgagent.images.drivers.trees`. Arguments: the directory to fill,
then the layers' directories, bottom first. Both sides are walked by descriptors, and no link of
either is followed, so nothing outside is read or written. What a layer deletes goes from the tree.
File content is shared with the layer where the file system can (FICLONE, Linux 4.5), else copied
with its holes. Standard library only.

It ends with one JSON line on standard output: {} or {"errno", "message"}.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import sys
from contextlib import ExitStack
from typing import Final

from cgagent.images.unpack.trees import remove_tree
from cgagent.kernel import beneath

_OVERLAY: Final = "trusted.overlay."
_OPAQUE: Final = "trusted.overlay.opaque"
_FICLONE: Final = 0x40049409
_COPY_BYTES: Final = 1 << 30


class Merger:
    """Applies one layer to a tree; both are descriptors of directories."""

    def __init__(self, layer: int, tree: int) -> None:
        self._layer = layer
        self._tree = tree
        self._links: dict[tuple[int, int], str] = {}
        """Where a file with several names was placed."""
        self._directories: list[tuple[str, os.stat_result]] = []

    def run(self) -> None:
        _copy_attributes(self._layer, ".", self._tree, ".")
        self._directories.append((".", os.fstat(self._layer)))
        pending = ["."]
        while pending:
            pending += self._directory(pending.pop())
        for path, status in reversed(self._directories):
            with ExitStack() as stack:
                os.utime(_open(stack, self._tree, path), ns=_times(status))

    def _directory(self, path: str) -> list[str]:
        """Apply its entries; the directories among them."""
        below = []
        with ExitStack() as stack:
            source, target = _open(stack, self._layer, path), _open(stack, self._tree, path)
            for name in os.listdir(source):
                status = os.stat(name, dir_fd=source, follow_symlinks=False)
                if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                    _remove(target, name)
                elif stat.S_ISDIR(status.st_mode):
                    self._make_directory(source, target, name)
                    self._directories.append((f"{path}/{name}", status))
                    below.append(f"{path}/{name}")
                else:
                    self._place(source, target, name, status, f"{path}/{name}")
        return below

    def _make_directory(self, source: int, target: int, name: str) -> None:
        there = _mode(target, name)
        if there is not None and (not stat.S_ISDIR(there) or _is_opaque(source, name)):
            _remove(target, name)
            there = None
        if there is None:
            os.mkdir(name, 0o700, dir_fd=target)
        _copy_attributes(source, name, target, name)

    def _place(
        self, source: int, target: int, name: str, status: os.stat_result, path: str
    ) -> None:
        _remove(target, name)
        key = (status.st_dev, status.st_ino)
        if first := self._links.get(key):
            os.link(_at(self._tree, first), name, dst_dir_fd=target, follow_symlinks=False)
            return
        if stat.S_ISREG(status.st_mode):
            _copy_file(source, target, name)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        _copy_attributes(source, name, target, name)
        os.utime(name, ns=_times(status), dir_fd=target, follow_symlinks=False)
        if status.st_nlink > 1:
            self._links[key] = path


def _open(stack: ExitStack, root: int, path: str) -> int:
    fd = beneath.open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY)
    stack.callback(os.close, fd)
    return fd


def _times(status: os.stat_result) -> tuple[int, int]:
    return status.st_atime_ns, status.st_mtime_ns


def _at(directory: int, name: str) -> str:
    """A path for the calls that take no descriptor of a directory."""
    return f"/proc/self/fd/{directory}/{name}"


def _mode(directory: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def _remove(directory: int, name: str) -> None:
    mode = _mode(directory, name)
    if mode is None:
        return
    if stat.S_ISDIR(mode):
        remove_tree(os.fsencode(_at(directory, name)))
    else:
        os.unlink(name, dir_fd=directory)


def _is_opaque(directory: int, name: str) -> bool:
    try:
        return os.getxattr(_at(directory, name), _OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _copy_attributes(source: int, name: str, target: int, new: str) -> None:
    """Owner first: a change of it clears set-id bits and security.capability."""
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    os.chown(new, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(new, stat.S_IMODE(status.st_mode), dir_fd=target)
    for attribute in os.listxattr(_at(source, name), follow_symlinks=False):
        if not attribute.startswith(_OVERLAY):
            value = os.getxattr(_at(source, name), attribute, follow_symlinks=False)
            os.setxattr(_at(target, new), attribute, value, follow_symlinks=False)


def _copy_file(source: int, target: int, name: str) -> None:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    old = os.open(name, os.O_RDONLY | flags, dir_fd=source)
    try:
        new = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=target)
        try:
            copy_content(old, new)
        finally:
            os.close(new)
    finally:
        os.close(old)


def copy_content(old: int, new: int) -> None:
    """All of a file, with its holes; shared with it where the file system can."""
    try:
        fcntl.ioctl(new, _FICLONE, old)
    except OSError as e:
        if e.errno not in {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL}:
            raise
    else:
        return
    size = os.fstat(old).st_size
    os.ftruncate(new, size)
    position = 0
    while (position := _next_data(old, position, size)) < size:
        end = os.lseek(old, position, os.SEEK_HOLE)
        while position < end:
            count = min(end - position, _COPY_BYTES)
            copied = _copy_range(old, new, count, position)
            if not copied:  # it has become shorter
                return
            position += copied


def _copy_range(old: int, new: int, count: int, position: int) -> int:
    try:
        return os.copy_file_range(old, new, count, position, position)
    except OSError as e:
        if e.errno != errno.EXDEV:  # of two kinds of file systems, since Linux 5.19
            raise
    os.lseek(new, position, os.SEEK_SET)
    return os.sendfile(new, old, position, count)


def _next_data(fd: int, position: int, size: int) -> int:
    try:
        return os.lseek(fd, position, os.SEEK_DATA)
    except OSError as e:
        if e.errno != errno.ENXIO:  # nothing but a hole
            raise
        return size


def main() -> None:
    """See the module."""
    answer: dict[str, object] = {}
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        os.umask(0)
        target, *layers = sys.argv[1:]
        tree = os.open(target, flags)
        for layer in layers:
            fd = os.open(layer, flags)
            Merger(fd, tree).run()
            os.close(fd)
    except OSError as e:
        answer = {"errno": e.errno, "message": e.strerror}
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(answer).encode() + b"\n")
