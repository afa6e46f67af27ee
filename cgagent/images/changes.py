"""What a container has changed in its root: its overlay's upper directory against the lower ones.

Reads both without following a link. In the upper one a character device 0:0 (or an empty file with
trusted.overlay.whiteout) stands for what was deleted, and a directory with trusted.overlay.opaque
hides those of its name below. A root that is a tree of its own, without an overlay, is compared
file by file: by attributes, size and time of change.

https://docs.kernel.org/filesystems/overlayfs.html
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cgagent.kernel import beneath

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cgagent.images.drivers import RootFs

_OPAQUE: Final = "trusted.overlay.opaque"
_WHITEOUT: Final = "trusted.overlay.whiteout"
_BLOCK_BYTES: Final = 512

Kind: TypeAlias = Literal["A", "C", "D"]
"""Added, changed, deleted."""


@dataclass(frozen=True, slots=True)
class Change:
    kind: Kind
    path: str


def changes(rootfs: RootFs, mount_points: Iterable[str] = ()) -> list[Change]:
    """Sorted by path. A directory counts as changed when something in it has changed.

    Empty files and directories at `mount_points` are not counted: they were made for mounts.
    """
    with _comparison(rootfs, mount_points) as comparison:
        return comparison.run()


def changed_bytes(rootfs: RootFs) -> int:
    """What its added and changed files have on disk."""
    with _comparison(rootfs) as comparison:
        comparison.run()
        return comparison.changed_bytes


@contextmanager
def _comparison(rootfs: RootFs, mount_points: Iterable[str] = ()) -> Iterator[_Comparison]:
    with ExitStack() as stack:
        roots = [_open_root(stack, path) for path in (rootfs.upper, *rootfs.lowers)]
        is_whole = rootfs.work is None
        yield _Comparison(roots[0], roots[1:], frozenset(mount_points), is_whole=is_whole)


def _open_root(stack: ExitStack, path: str) -> int:
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd


@dataclass(frozen=True, slots=True)
class _Directory:
    """One of the upper tree that remains to be looked into."""

    path: str
    lowers: tuple[int, ...]
    """Roots of the lower layers that have it, top first."""
    hides: bool = False
    """Whether it stands in the place of those, instead of being merged with them."""


class _Comparison:
    def __init__(
        self, upper: int, lowers: list[int], mount_points: frozenset[str], *, is_whole: bool
    ) -> None:
        """`is_whole`: the upper one has all files, not only what differs."""
        self._upper = upper
        self._is_whole = is_whole
        self._lowers = tuple(lowers)
        self._mount_points = mount_points
        self._found: dict[str, Kind] = {}
        self.changed_bytes = 0

    def run(self) -> list[Change]:
        pending = [_Directory("", self._lowers, hides=self._is_whole)]
        while pending:
            directory = pending.pop()
            with suppress(FileNotFoundError):  # the container is running, and has removed it
                pending += self._look_into(directory)
        return [Change(kind, _text(path)) for path, kind in sorted(self._found.items())]

    def _look_into(self, directory: _Directory) -> list[_Directory]:
        """Note its entries; returns the directories among them."""
        below = []
        with ExitStack() as stack:
            upper = _open_directory(stack, self._upper, directory.path)
            lower = _Lower(stack, directory)
            names = os.listdir(upper)
            for name in names:
                with suppress(FileNotFoundError):
                    path = f"{directory.path}/{name}"
                    inner = self._entry(path, _Entry.of(upper, name), lower, directory)
                    below += [inner] if inner is not None else []
            if directory.hides:
                for name in lower.names() - set(names):
                    self._note("D", f"{directory.path}/{name}")
        return below

    def _entry(
        self, path: str, new: _Entry, lower: _Lower, directory: _Directory
    ) -> _Directory | None:
        old, roots = lower.look_up(new.name)
        if new.is_whiteout and not self._is_whole:
            self._note("D", path)
            return None
        made_for_mount = old is None and path in self._mount_points and new.is_empty()
        changed = old is None or _differ(old, new.status) or self._has_new_content(old, new)
        if changed and not made_for_mount:
            self._note("A" if old is None else "C", path)
        if not new.is_directory:
            self.changed_bytes += new.status.st_blocks * _BLOCK_BYTES if changed else 0
            return None
        return _Directory(path, roots, hides=directory.hides or new.is_opaque)

    def _has_new_content(self, old: os.stat_result, new: _Entry) -> bool:
        if new.is_directory:
            return False
        now = new.status
        is_same = (old.st_size, old.st_mtime_ns, old.st_rdev) == (
            now.st_size,
            now.st_mtime_ns,
            now.st_rdev,
        )
        return not (self._is_whole and is_same)

    def _note(self, kind: Kind, path: str) -> None:
        self._found[path] = kind
        parent = os.path.dirname(path)
        while parent != "/" and parent not in self._found:
            self._found[parent] = "C"
            parent = os.path.dirname(parent)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A name in a directory of a layer."""

    directory: int
    name: str
    status: os.stat_result

    @classmethod
    def of(cls, directory: int, name: str) -> _Entry:
        return cls(directory, name, os.stat(name, dir_fd=directory, follow_symlinks=False))

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_whiteout(self) -> bool:
        s = self.status
        return (stat.S_ISCHR(s.st_mode) and s.st_rdev == 0) or (
            stat.S_ISREG(s.st_mode) and not s.st_size and self._attribute(_WHITEOUT) is not None
        )

    @property
    def is_opaque(self) -> bool:
        return self._attribute(_OPAQUE) == b"y"

    def is_empty(self) -> bool:
        if not self.is_directory:
            return not self.status.st_size
        with ExitStack() as stack:
            return not os.listdir(_open_directory(stack, self.directory, self.name))

    def _attribute(self, attribute: str) -> bytes | None:
        path = f"/proc/self/fd/{self.directory}/{self.name}"
        try:
            return os.getxattr(path, attribute, follow_symlinks=False)
        except OSError:  # it has none, or the file system has no such thing
            return None


class _Lower:
    """The lower layers' side of a directory, merged as overlayfs would."""

    def __init__(self, stack: ExitStack, directory: _Directory) -> None:
        self._layers = [
            (root, _open_directory(stack, root, directory.path)) for root in directory.lowers
        ]

    def look_up(self, name: str) -> tuple[os.stat_result | None, tuple[int, ...]]:
        """What is seen under a name, and of a directory the roots of the layers that make it."""
        seen = None
        roots: list[int] = []
        for root, fd in self._layers:
            try:
                entry = _Entry.of(fd, name)
            except FileNotFoundError:
                continue
            if entry.is_whiteout:
                break
            seen = seen or entry.status
            if not entry.is_directory:
                break
            roots.append(root)
            if entry.is_opaque:
                break
        if seen is not None and not stat.S_ISDIR(seen.st_mode):
            roots = []
        return seen, tuple(roots)

    def names(self) -> set[str]:
        everywhere = {name for _, fd in self._layers for name in os.listdir(fd)}
        return {name for name in everywhere if self.look_up(name)[0] is not None}


def _text(path: str) -> str:
    """With a replacement character where a name is no UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _differ(old: os.stat_result, new: os.stat_result) -> bool:
    return (old.st_mode, old.st_uid, old.st_gid) != (new.st_mode, new.st_uid, new.st_gid)


def _open_directory(stack: ExitStack, root: int, path: str) -> int:
    """Raises FileNotFoundError where there is no directory any more."""
    try:
        fd = beneath.open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as e:
        if e.errno in {errno.ENOTDIR, errno.ELOOP}:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
        raise
    stack.callback(os.close, fd)
    return fd
