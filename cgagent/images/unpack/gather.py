"""Copying files as COPY does: from directories that are open into the root the process stands in.

For a process whose root is that of a build's step: what it writes goes to a new layer. Sources are
read below a descriptor, and no link of theirs leads out of it; at the destination, links lead
where they would for a program in the container. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.kernel import beneath

from .merge import copy_content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_KEPT_XATTRS: Final = ("user.", "security.capability", "system.posix_acl_")
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SEARCHED: Final = os.O_RDONLY | os.O_DIRECTORY
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_MODE: Final = 0o755
_ANY: Final = re.compile(".*", re.DOTALL)
_NO_ID: Final = 2**32 - 1
"""To the kernel it means that a file's owner stays."""


class NothingThereError(Exception):
    """No file is where a source says; the text names it."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A directory that remains to be copied."""

    source: str
    """Below the source that it is in."""
    target: str
    shown: str
    """Its path from the root of the sources."""


class Gatherer:
    """`owner` None: each file keeps its own. `mode` makes permissions of a file's ``st_mode``."""

    def __init__(
        self,
        proc_fd: int,
        *,
        owner: tuple[int, int] | None,
        mode: Callable[[int], int] | None,
        hides: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._proc_fd = proc_fd
        self._owner = owner
        self._mode = mode
        self._hides = hides
        self._links: dict[tuple[int, int], str] = {}
        self._times: list[tuple[str, int]] = []

    def run(self, root: int, paths: Iterable[tuple[str, int | None]], target: str) -> None:
        """Copy what is at `paths` below the descriptor `root`; see `make_directory` for `target`.

        The number beside a path says that the directories above it are copied as well, but for so
        many of the first.

        Raises:
            NothingThereError, OSError.
        """
        for path, skipped in paths:
            try:
                source = beneath.open_in_root(root, path or ".", os.O_PATH)
            except OSError as e:
                if e.errno in {errno.ENOENT, errno.ENOTDIR}:
                    raise NothingThereError(path) from None
                raise
            try:
                if skipped is None:
                    self._one(source, path, target)
                else:
                    self._one(source, path, self._parents(root, path, skipped, target))
            finally:
                os.close(source)
        for directory, mtime_ns in reversed(self._times):
            with contextlib.suppress(FileNotFoundError):
                os.utime(directory, ns=(mtime_ns, mtime_ns), follow_symlinks=False)
        self._times.clear()

    def make_directory(self, path: str) -> None:
        """With those above it, where they are missing, also where a link leads to nothing yet."""
        made = ""
        for part in [part for part in path.split("/") if part]:
            made = f"{made}/{part}"
            try:
                os.mkdir(made, _DIRECTORY_MODE)
            except FileExistsError:
                if os.path.isdir(made):
                    continue
                real = os.path.realpath(made)
                if os.path.lexists(real):  # a file, or links in a circle
                    raise NotADirectoryError(
                        errno.ENOTDIR, os.strerror(errno.ENOTDIR), made
                    ) from None
                self.make_directory(real)
            else:
                os.chown(made, *(self._owner or (0, 0)))

    def _parents(self, root: int, path: str, skipped: int, target: str) -> str:
        """Where a source goes to: a directory, below which those above it are as they were."""
        self.make_directory(target)
        here, parts = target.rstrip("/"), [part for part in path.split("/") if part]
        for count in range(skipped + 1, len(parts) + 1):
            try:
                fd = beneath.open_in_root(root, "/".join(parts[:count]), _SEARCHED)
            except NotADirectoryError:  # the source itself
                break
            try:
                here = f"{here}/{parts[count - 1]}"
                if not os.path.isdir(here):
                    self._directory(here, os.fstat(fd), fd)
            finally:
                os.close(fd)
        return f"{here}/"

    def _one(self, source: int, path: str, target: str) -> None:
        status = os.fstat(source)
        if stat.S_ISDIR(status.st_mode):
            self.make_directory(target)
            self._tree(source, _Place("", target.rstrip("/"), path.strip("/")))
            return
        if target.endswith("/") or os.path.isdir(target):
            target = os.path.join(target, os.path.basename(path))
        self.make_directory(os.path.dirname(target))
        if os.path.isdir(target) and not os.path.islink(target):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
        fd = os.open(str(source), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._proc_fd)
        try:
            self._file(fd, status, target)
        finally:
            os.close(fd)

    def _tree(self, root: int, top: _Place) -> None:
        """What is in a directory, not that itself."""
        pending = [top]
        while pending:
            place = pending.pop()
            directory = beneath.open_beneath(root, place.source, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for name in sorted(os.listdir(directory)):
                    shown = f"{place.shown}/{name}" if place.shown else name
                    if not self._hides(shown):
                        target = f"{place.target}/{name}"
                        inner = _Place(f"{place.source}/{name}", target, shown)
                        pending += self._entry(directory, name, inner)
            finally:
                os.close(directory)

    def _entry(self, directory: int, name: str, place: _Place) -> list[_Place]:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        target = place.target
        if stat.S_ISDIR(status.st_mode):
            fd = os.open(name, _READ | os.O_DIRECTORY, dir_fd=directory)
            try:
                self._directory(target, status, fd)
            finally:
                os.close(fd)
            return [place]
        if os.path.isdir(target) and not os.path.islink(target):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
        if stat.S_ISREG(status.st_mode):
            fd = os.open(name, _READ, dir_fd=directory)
            try:
                self._file(fd, status, target)
            finally:
                os.close(fd)
        elif not stat.S_ISSOCK(status.st_mode):
            self._special(directory, name, status, target)
        return []

    def _directory(self, target: str, status: os.stat_result, source: int) -> None:
        if not os.path.isdir(target):
            _remove_file(target)
            os.mkdir(target, 0o700)
        self._attributes(target, status, source)
        self._times.append((target, status.st_mtime_ns))

    def _file(self, source: int, status: os.stat_result, target: str) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is neither a file nor a directory", target)
        _remove_file(target)
        key = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and key in self._links:
            os.link(self._links[key], target, follow_symlinks=False)
            return
        fd = os.open(target, _NEW, 0o600)
        try:
            copy_content(source, fd)
        finally:
            os.close(fd)
        self._attributes(target, status, source)
        os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns), follow_symlinks=False)
        self._links[key] = target

    def _special(self, directory: int, name: str, status: os.stat_result, target: str) -> None:
        """A link, a fifo or a device."""
        _remove_file(target)
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=directory), target)
        else:
            os.mknod(target, status.st_mode, status.st_rdev)
        self._attributes(target, status, None)
        os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns), follow_symlinks=False)

    def _attributes(self, target: str, status: os.stat_result, source: int | None) -> None:
        """Owner first: a change of it clears set-id bits and security.capability."""
        owner = self._owner or (status.st_uid, status.st_gid)
        os.chown(target, *owner, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            return
        mode = status.st_mode
        os.chmod(target, stat.S_IMODE(mode) if self._mode is None else self._mode(mode))
        for name in _xattrs(source):
            os.setxattr(target, name, os.getxattr(source or 0, name), follow_symlinks=False)


def _remove_file(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _xattrs(source: int | None) -> list[str]:
    if source is None:
        return []
    try:
        return [name for name in os.listxattr(source) if name.startswith(_KEPT_XATTRS)]
    except OSError as e:
        if e.errno != errno.ENOTSUP:
            raise
        return []


def globbed(root: int, pattern: Sequence[str | re.Pattern[str] | None]) -> Iterator[str]:
    """The paths below `root` of which each part is like that of the pattern, in order.

    A text stands for itself, an expression for the names that it matches in full, None for any
    number of directories.
    """
    pending = [("", 0)]
    while pending:
        path, depth = pending.pop()
        if depth == len(pattern):
            yield path
            continue
        part = pattern[depth]
        if part is None:
            pending.append((path, depth + 1))
            for name in _names(root, path, _ANY):
                inner = os.path.join(path, name)
                if _is_there(root, inner, os.O_DIRECTORY):
                    pending.append((inner, depth))
            continue
        names = [part] if isinstance(part, str) else _names(root, path, part)
        found = [os.path.join(path, name) for name in names]
        pending += [(inner, depth + 1) for inner in reversed(found) if _is_there(root, inner)]


def _names(root: int, path: str, expression: re.Pattern[str]) -> list[str]:
    try:
        fd = beneath.open_in_root(root, path or ".", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        return sorted(filter(expression.fullmatch, os.listdir(fd)))
    finally:
        os.close(fd)


def _is_there(root: int, path: str, flags: int = 0) -> bool:
    try:
        os.close(beneath.open_in_root(root, path, os.O_PATH | os.O_NOFOLLOW | flags))
    except OSError:
        return False
    return True


def owner_of(text: str) -> tuple[int, int]:
    """The ids of ``USER[:GROUP]`` by the current root's /etc/passwd and /etc/group.

    Without a group it is that of the user's name or number, or else the user's own; without a user
    it is root.

    Raises:
        ValueError: there is no such user or group.
    """
    user, _, group = text.partition(":")
    uid, own = _user(user) if user else (0, 0)
    if group:
        return uid, _group(group)
    if user.isdecimal():
        return uid, uid
    try:
        return uid, _group(user)
    except ValueError:
        return uid, own


def _user(name: str) -> tuple[int, int]:
    for fields in _lines("/etc/passwd"):
        if fields[0] == name and len(fields) > 3 and fields[2].isdecimal():  # noqa: PLR2004
            return int(fields[2]), int(fields[3]) if fields[3].isdecimal() else 0
    if _is_id(name):
        return int(name), int(name)
    raise ValueError(f"unable to find user {name}: no matching entries in passwd file")


def _group(name: str) -> int:
    for fields in _lines("/etc/group"):
        if fields[0] == name and len(fields) > 2 and fields[2].isdecimal():  # noqa: PLR2004
            return int(fields[2])
    if _is_id(name):
        return int(name)
    raise ValueError(f"unable to find group {name}: no matching entries in group file")


def _is_id(text: str) -> bool:
    return text.isdecimal() and len(text) <= len(str(_NO_ID)) and int(text) < _NO_ID


def _lines(path: str) -> Iterator[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                yield line.rstrip("\n").split(":")
    except (FileNotFoundError, NotADirectoryError):
        return
