"""Reading a group's usage again and again at the least cost.

A `Reader` keeps a descriptor for each file, as a pread costs a tenth of an open, read and close,
and parses again only what has changed. It belongs to whoever samples; close it when the group
has gone. Many readers share one `Descriptors`, which bounds what they keep together.
"""

from __future__ import annotations

import errno
import os
import resource
import threading
from os import pread
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from cgagent.cgroups import files
from cgagent.cgroups.controllers import assemble
from cgagent.cgroups.hierarchy import LINKS_OF_A_LEAF, with_subgroups
from cgagent.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from cgagent.cgroups.controller import Meter
    from cgagent.cgroups.group import Group
    from cgagent.cgroups.usage import Usage
    from cgagent.errors import CgagentError

MAX_DESCRIPTORS: Final = 25_000
_OF_LIMIT: Final = 0.75
"""How much of what the process may have at most."""
_RESERVED: Final = 0.4
"""Of all, for `_FIRST`: with thousands of groups two files of each rather than all of some."""

_LOOK_AGAIN: Final = 256
"""Reads after which files that were not there are looked for again: controllers get enabled."""

_FAST: Final = frozenset(
    {
        *("cpu.stat", "cpuacct.usage"),
        *("memory.current", "memory.usage_in_bytes", "pids.current"),
        *("cpu.pressure", "memory.pressure", "io.pressure"),
    }
)
"""What changes from second to second and costs the kernel little."""

_PULSE: Final = ("cpuacct.usage", "cpu.stat")
"""Where the CPU time is: the file of v1, of v2."""

_FIRST: Final = frozenset(_PULSE)
"""What is read at every reading; all else only of a group in which something has run."""

_CHUNK: Final = 8192
_SHORT: Final = 4096
"""A shorter answer is the whole file: kernfs fills a page at most before a short read."""

_VANISHED: Final = files.ABSENT | {errno.ENODEV}
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE})


class Descriptors:
    """How many descriptors readers may keep in all. May be shared between threads.

    Beyond it a reader opens, reads and closes: slower, and never short of descriptors.
    The last `reserved` are for files that are read at every reading.
    """

    def __init__(self, max_descriptors: int = MAX_DESCRIPTORS, reserved: int = 0) -> None:
        self._left = max_descriptors
        self._reserved = reserved
        self._lock = threading.Lock()

    @classmethod
    def bounded(cls, max_descriptors: int = MAX_DESCRIPTORS) -> Descriptors:
        """So many, but no more than this process can well have; a part of them reserved."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = max_descriptors
        if hard != resource.RLIM_INFINITY:
            most = min(most, int(hard * _OF_LIMIT))
        return cls(most, int(most * _RESERVED))

    def take(self, *, first: bool = False) -> bool:
        with self._lock:
            if self._left <= (0 if first else self._reserved):
                return False
            self._left -= 1
            return True

    def give_back(self, count: int) -> None:
        with self._lock:
            self._left += count


_SHARED: Final = Descriptors.bounded()


class Reader:
    """Usage of one group. Holds up to 46 descriptors; not to be shared between threads.

    It stays with the group it was made for: one that was removed and made again under the
    same path is another, and reading raises NotFoundError. Without `deep` no file of a group
    below it is read, of which the root group has all: processes, and on v1 OOM kills, are None.
    """

    def __init__(
        self, group: Group, descriptors: Descriptors | None = None, *, deep: bool = True
    ) -> None:
        self._group = group
        self._deep = deep
        self._budget = descriptors or _SHARED
        self._kept: dict[str, int] = {}
        self._sources: dict[str, _Source] = {}
        self._inodes: dict[str, int] = {}
        self._trees: list[_Tree] = []
        self._shows_end = False
        self._records: dict[str, object] = {}
        self._last: Usage | None = None
        self._pulse: tuple[int, bytes] | None = None
        self._reads = 0

    def read(self, *, full: bool = True, at_rest: bool = False) -> Usage:
        """The group's usage now.

        Without `full` only CPU time and throttling, memory in use, the number of tasks and
        pressure are read (on v1 of CPU time the total alone), and where no CPU time was used
        since the last reading not even these, unless `at_rest`: no task has run that could have
        changed them, but reclaim may have taken memory. All else is what the last full reading
        found. The first is full.

        Raises:
            NotFoundError: the group is gone.
        """
        self._pulse = None
        if self._reads % _LOOK_AGAIN == 0 or (
            # By its kept descriptors a group that is gone shows itself.
            (full or not self._shows_end) and self._has_changed()
        ):
            self._look()
            full = True
        self._reads += 1
        try:
            return self._usage(full=full, at_rest=at_rest)
        except OSError as error:
            if error.errno not in _VANISHED:
                raise self._failure(error) from error
        self._look()  # a controller was disabled, or the group has gone
        try:
            return self._usage()
        except OSError as error:
            raise (self._gone() if error.errno in _VANISHED else self._failure(error)) from error

    def rests(self) -> bool:
        """Whether `read` without `full` would return what it last did, for a quarter of its cost.

        That is known of a group in which nothing had run at the last reading either: a period
        in which it was throttled is counted later than the CPU time used in it.
        """
        if self._pulse is None or self._reads % _LOOK_AGAIN == 0:
            return False
        descriptor, told = self._pulse
        try:
            if pread(descriptor, _CHUNK, 0) != told:
                return False
        except OSError:  # `read` will say why
            return False
        self._reads += 1
        return True

    def close(self) -> None:
        self._pulse = None
        self._drop(self._kept)
        self._kept = {}
        self._sources = {}
        self._reads = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _usage(self, *, full: bool = True, at_rest: bool = False) -> Usage:
        """Assembled anew only where some record is another than before."""
        changed = self._last is None
        for name, source in self._sources.items():  # CPU time comes first
            if full or source.is_fast:
                record = source.read(full=full)
                if record is not self._records.get(name):
                    self._records[name] = record
                    changed = True
                elif name == "cpu" and not full and self._last is not None:
                    self._pulse = source.pulse()
                    if not at_rest:
                        return self._last
        if changed or self._last is None:
            self._last = assemble(self._records)
        return self._last

    def _has_changed(self) -> bool:
        """Whether groups below it came or went, which some files are read of.

        Raises:
            NotFoundError: the group is gone, or another has its name.
        """
        for directory, descriptor, groups in self._trees:
            try:
                # One by its path, which may be another group's by now; the others by
                # descriptors, which cost a third of that.
                state = os.stat(directory) if descriptor is None else os.fstat(descriptor)
            except FileNotFoundError:
                raise self._gone() from None
            if state.st_ino != self._inodes[directory]:
                raise self._gone()
            is_leaf = state.st_nlink <= LINKS_OF_A_LEAF and len(groups) == 1
            if not is_leaf and self._deep and groups != list(with_subgroups(directory)):
                return True
        return False

    def _look(self) -> None:
        """Find the files there are now, keeping the descriptors of those known."""
        inodes = self._group.inodes()
        if not inodes or (self._inodes and not inodes.items() <= self._inodes.items()):
            raise self._gone()
        self._inodes = self._inodes or inodes
        controllers = self._group.controllers(deep=self._deep)
        trees = [d for d in controllers.trees() if d in inodes] or list(inodes)[:1]
        before, self._kept = self._kept, {}
        try:
            self._trees = [_Tree(trees[0], None, self._with_subgroups(trees[0]))]
            self._trees += [self._tree(directory, before) for directory in trees[1:]]
            self._sources = {
                name: _Source(meter, [self._find(path, before) for path in meter.paths()])
                for name, meter in controllers.meters().items()
            }
        finally:
            self._drop(before)
        self._records, self._last = {}, None
        cpu = self._sources.get("cpu")
        self._shows_end = cpu is not None and cpu.shows_end

    def _tree(self, directory: str, before: dict[str, int]) -> _Tree:
        descriptor = before.pop(directory, None)
        if descriptor is None:
            descriptor = self._open(directory)
        if descriptor is not None:
            self._kept[directory] = descriptor
        return _Tree(directory, descriptor, self._with_subgroups(directory))

    def _with_subgroups(self, directory: str) -> list[str]:
        return list(with_subgroups(directory)) if self._deep else [directory]

    def _find(self, path: str, before: dict[str, int]) -> _File | None:
        """The file with a descriptor if one may be kept, without one else; None if absent."""
        descriptor = before.pop(path, None)
        if descriptor is None:
            descriptor = self._open(path)
        if descriptor is None:
            return None if files.read(path) is None else _File(path, None)
        self._kept[path] = descriptor
        try:
            os.pread(descriptor, 1, 0)
        except OSError as error:
            if error.errno not in _VANISHED:
                raise self._failure(error) from error
            self._drop({path: self._kept.pop(path)})
            return None
        return _File(path, descriptor)

    def _open(self, path: str) -> int | None:
        """None where the file is not there or no descriptor is left to keep."""
        if not self._budget.take(first=os.path.basename(path) in _FIRST):
            return None
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self._budget.give_back(1)
            if error.errno in _VANISHED | _EXHAUSTED:
                return None
            raise files.failure(f"{path}: cannot be opened", error) from error

    def _drop(self, descriptors: dict[str, int]) -> None:
        for descriptor in descriptors.values():
            os.close(descriptor)
        self._budget.give_back(len(descriptors))

    def _gone(self) -> NotFoundError:
        return NotFoundError(f"cgroup {self._group.path}: it does not exist")

    def _failure(self, error: OSError) -> CgagentError:
        return files.failure(f"cgroup {self._group.path}: its usage cannot be read", error)


class _File(NamedTuple):
    path: str
    descriptor: int | None
    """None: to be opened for each reading."""


class _Tree(NamedTuple):
    """A directory below which files are read too."""

    directory: str
    descriptor: int | None
    groups: list[str]


class _Source:
    """One meter, its files, and what it made of them last time."""

    def __init__(self, meter: Meter[object], found: Sequence[_File | None]) -> None:
        self._meter = meter
        self._files = [file for file in found if file]
        self._absent = [place for place, file in enumerate(found) if not file]
        names = [os.path.basename(file.path) for file in self._files]
        self._fast = [
            (place, *file) for place, file in enumerate(self._files) if names[place] in _FAST
        ]
        self._pulse = next((names.index(name) for name in _PULSE if name in names), None)
        self.is_fast = bool(self._fast)
        self._descriptors = [d for _, d in self._files if d is not None]
        self.is_kept = len(self._descriptors) == len(self._files)
        self.shows_end = self.is_fast and all(kept is not None for _, _, kept in self._fast)
        """Each reading reads some file by a descriptor that was opened before."""
        self._last: list[bytes] | None = None
        self._record: object = None

    def read(self, *, full: bool) -> object:
        """The meter's record; the one before where no file has changed.

        Raises:
            OSError: as it came.
        """
        if full or self._last is None:
            if self.is_kept:
                raw = [pread(descriptor, _CHUNK, 0) for descriptor in self._descriptors]
            else:
                raw = [_chunk(path, descriptor) for path, descriptor in self._files]
        else:
            raw = self._last.copy()
            for place, path, descriptor in self._fast:
                raw[place] = _chunk(path, descriptor)
        if raw != self._last:
            texts: list[str | None] = [chunk.decode() for chunk in raw]
            for place, chunk in enumerate(raw):
                if len(chunk) >= _SHORT:
                    texts[place] = _read_whole(self._files[place])
            for place in self._absent:
                texts.insert(place, None)
            self._record = self._meter.usage(texts)
            self._last = raw
        return self._record

    def pulse(self) -> tuple[int, bytes] | None:
        """The kept descriptor of CPU time and what it last read; None where none is kept."""
        if self._pulse is None or self._last is None:
            return None
        descriptor = self._files[self._pulse].descriptor
        return None if descriptor is None else (descriptor, self._last[self._pulse])


def _chunk(path: str, descriptor: int | None) -> bytes:
    if descriptor is not None:
        return os.pread(descriptor, _CHUNK, 0)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, _CHUNK, 0)
    finally:
        os.close(descriptor)


def _read_whole(file: _File) -> str:
    if file.descriptor is None:
        return files.read(file.path) or ""
    return files.read_all(file.descriptor)
