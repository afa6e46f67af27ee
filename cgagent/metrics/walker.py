"""What no cgroup file counts: files in the writable layer, descriptors, tasks and TCP by state.

They are counted by walking, so it is done slowly, in a thread of its own and one container after
the other; a scrape shows what was found last. The owner calls `start` and `stop`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import stat
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from cgagent.errors import CgagentError, NotFoundError
from cgagent.kernel import beneath
from cgagent.metrics import connections, disks
from cgagent.metrics.background import Background

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cgagent.metrics.disks import Disk

log = logging.getLogger(__name__)

INTERVAL_S: Final = 60.0
_IDLE_S: Final = 300.0
"""Until one in which nothing has run is walked again: others may have written there."""
_LOOK_S: Final = 5.0
"""After which a new container is looked at."""
_BUSY: Final = 0.02
"""Of one CPU, at most, whatever there is to walk."""
_BLOCK_BYTES: Final = 512
_RESOLVE: Final = beneath.RESOLVE_BENEATH | beneath.RESOLVE_NO_SYMLINKS | beneath.RESOLVE_NO_XDEV
_SKIPPED: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV})
"""Gone, or replaced by something else."""

STATES: Final = ("sleeping", "running", "stopped", "uninterruptible", "zombie")
"""What a task may be; the first four have cAdvisor's names."""
_STATES: Final = {
    b"R": "running",
    b"S": "sleeping",
    b"I": "sleeping",
    b"T": "stopped",
    b"t": "stopped",
    b"D": "uninterruptible",
    b"Z": "zombie",
    b"X": "zombie",
}


@dataclass(frozen=True, slots=True)
class ToCount:
    """Something to look at: a container's writable directory and its processes."""

    id: str
    writable: str | None
    pids: Callable[[], Iterable[int]]
    cpu_ns: int | None = None
    """What it has run so far, as far as that is known: as long as it is the same, nothing of its
    own has changed."""
    first: int | None = None
    """Its first process."""


@dataclass(frozen=True, slots=True)
class Counted:
    file_descriptors: int
    tasks: Mapping[str, int]
    """By state, as in `STATES`."""
    used_bytes: int | None
    """On disk, holes left out, a file with several names counted once."""
    used_inodes: int | None
    limit_bytes: int | None
    """Of the file system that the writable layer is on."""
    free_inodes: int | None
    total_inodes: int | None
    device: str | None = None
    """MAJOR:MINOR of the disk that the writable layer is on."""
    sockets: int = 0
    """Of the descriptors."""
    soft_open_files: int | None = None
    """The first process's soft limit on them; -1 is unlimited, as by getrlimit."""
    connections: Mapping[str, Mapping[str, int]] | None = None
    """TCP sockets by state, by family; None without a network namespace of its own."""


class Walker:
    def __init__(self, held: Callable[[], Iterable[ToCount]]) -> None:
        self._held = held
        self._found: dict[str, Counted] = {}
        self._due_s: dict[str, float] = {}
        self._walked: dict[str, tuple[float, int | None]] = {}
        """When each was last walked, and its CPU time before that."""
        self._disks: dict[str, Disk] = {}
        self._background = Background("walker", self._run)
        self.start = self._background.start
        self.stop = self._background.stop

    def get(self, target_id: str) -> Counted | None:
        return self._found.get(target_id)

    def disk(self, target_id: str) -> Disk | None:
        """The disk below its writable layer, as it was a few seconds ago."""
        found = self._found.get(target_id)
        return self._disks.get(found.device) if found and found.device else None

    def walk(self) -> None:
        """Look at what is new, and at what was last looked at an interval ago; rest in between."""
        held = {one.id: one for one in self._held()}
        for gone in self._due_s.keys() - held.keys():
            del self._due_s[gone]
            self._found.pop(gone, None)
            self._walked.pop(gone, None)
        self._read_disks()
        for one in held.values():
            if time.monotonic() < self._due_s.get(one.id, 0.0):
                continue
            began_s = time.thread_time()
            try:
                self._found[one.id] = self._look(one)
            except (CgagentError, OSError) as error:
                self._found.pop(one.id, None)
                if not isinstance(error, NotFoundError):  # it has ended
                    log.warning("%s: its files and descriptors: %s", one.id, error)
            self._due_s[one.id] = time.monotonic() + INTERVAL_S
            if self._background.wait((time.thread_time() - began_s) * (1 / _BUSY - 1)):
                return

    def _look(self, one: ToCount) -> Counted:
        found, now_s = self._found.get(one.id), time.monotonic()
        walked_s, cpu_ns = self._walked.get(one.id, (-_IDLE_S, None))
        if found and one.cpu_ns is not None and one.cpu_ns == cpu_ns and now_s - walked_s < _IDLE_S:
            return replace(found, **_room(one.writable)._asdict())
        self._walked[one.id] = now_s, one.cpu_ns
        return look(one, self._background.is_stopping)

    def _read_disks(self) -> None:
        devices = {found.device for found in self._found.values() if found.device}
        read = {device: disks.read(device) for device in devices}
        self._disks = {device: disk for device, disk in read.items() if disk}

    def _run(self) -> None:
        while not self._background.wait(_LOOK_S):
            self.walk()


def look(held: ToCount, cancelled: Callable[[], bool] = lambda: False) -> Counted:
    """Count what one container holds now; of what vanishes meanwhile nothing is counted."""
    pids = list(held.pids())
    used_bytes = used_inodes = device = None
    if held.writable is not None and os.path.isdir(held.writable):
        used_bytes, used_inodes = disk_usage(held.writable, cancelled)
        device = disks.below(held.writable)
    descriptors = list(map(_descriptors, pids))
    return Counted(
        file_descriptors=sum(all_of for all_of, _ in descriptors),
        sockets=sum(sockets for _, sockets in descriptors),
        soft_open_files=None if held.first is None else _soft_open_files(held.first),
        tasks=_tasks(pids),
        connections=None if held.first is None else connections.by_state(held.first),
        used_bytes=used_bytes,
        used_inodes=used_inodes,
        device=device,
        **_room(held.writable)._asdict(),
    )


class _Room(NamedTuple):
    """Of a file system, which others use as well."""

    limit_bytes: int | None = None
    free_inodes: int | None = None
    total_inodes: int | None = None


def _room(path: str | None) -> _Room:
    if path is None or not os.path.isdir(path):
        return _Room()
    system = os.statvfs(path)
    return _Room(system.f_frsize * system.f_blocks, system.f_favail, system.f_files)


def _descriptors(pid: int) -> tuple[int, int]:
    """All that a process has, and how many of them are sockets."""
    try:
        all_of = os.listdir(f"/proc/{pid}/fd")
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    return len(all_of), sum(_is_socket(f"/proc/{pid}/fd/{fd}") for fd in all_of)


def _is_socket(descriptor: str) -> bool:
    try:
        return os.readlink(descriptor).startswith("socket:")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _soft_open_files(pid: int) -> int | None:
    try:
        return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
    except ProcessLookupError:
        return None


def _tasks(pids: Iterable[int]) -> dict[str, int]:
    """How many threads of the processes are in each state."""
    found = dict.fromkeys(STATES, 0)
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                found[_state(f"/proc/{pid}/task/{thread}/stat")] += 1
    return found


def _state(stat_file: str) -> str:
    """The letter is behind the command's name, which may have any bytes and is in parentheses."""
    with open(stat_file, "rb") as file:
        letter = file.read().rpartition(b")")[2].split()[0]
    return _STATES.get(letter, "sleeping")


def disk_usage(root: str, cancelled: Callable[[], bool]) -> tuple[int, int]:
    """Bytes and inodes of a directory and all below it.

    The container changes it meanwhile: no link is followed, nor a way to another file system.
    """
    used, inodes = 0, 0
    linked: set[int] = set()
    pending = [""]
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while pending and not cancelled():
            path = pending.pop()
            try:
                entries = _entries(top, path)
            except OSError as error:
                if error.errno in _SKIPPED:
                    continue
                raise
            for name, state in entries:
                if stat.S_ISDIR(state.st_mode):
                    pending.append(f"{path}/{name}" if path else name)
                elif state.st_nlink > 1:
                    if state.st_ino in linked:
                        continue
                    linked.add(state.st_ino)
                used += state.st_blocks * _BLOCK_BYTES
                inodes += 1
    finally:
        os.close(top)
    return used, inodes


def _entries(top: int, path: str) -> list[tuple[str, os.stat_result]]:
    fd = beneath.open_beneath(top, path, os.O_RDONLY | os.O_DIRECTORY, resolve=_RESOLVE)
    try:
        found = []
        with os.scandir(fd) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
        return found
    finally:
        os.close(fd)
