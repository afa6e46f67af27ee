"""What a test run may leave behind: taken before and after, the difference must be empty.

An object counts only when it can be attributed to this run: its name, or a path, a variable or a
cgroup that belongs to it, carries the run's id or lies in a folder of the run. So whatever somebody
else makes on the machine meanwhile does not matter.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.world import hosts
from tests.world.naming import RUN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LINKS = Path("/sys/class/net")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Each set holds one line of text per object of this run."""

    cgroups: frozenset[str]
    """Paths of every hierarchy at or below a top-level group of the run."""
    mounts: frozenset[str]
    """Mount points in our own mount namespace; the run is in the point, the source or an option."""
    network_namespaces: frozenset[str]
    """Namespaces that a process of the run lives in, and those bound to a file of the run."""
    processes: frozenset[str]
    """``PID COMMAND``; neither our ancestors nor us."""
    links: frozenset[str]
    """Network interfaces: all of a network of our own, else those with the run in their name."""
    files: frozenset[str]
    """Entries of the folders given."""

    @classmethod
    def take(
        cls, folders: Iterable[Path] = (), contents: Iterable[Path] = (), mark: str = RUN
    ) -> Self:
        """`folders` belong to the run as a whole; `contents` are listed as `files`, too.

        `mark` is a text that only the run's objects have.
        """
        contents = tuple(contents)
        marks = _Marks(mark, (*folders, *contents))
        mounts = list(_mounts())
        processes = _processes(marks)
        return cls(
            cgroups=frozenset(_cgroups(mounts, marks)),
            mounts=frozenset(m.point for m in mounts if marks.are_in(m.line)),
            network_namespaces=frozenset(_network_namespaces(mounts, marks, processes)),
            processes=frozenset(f"{pid} {command}" for pid, command in processes.items()),
            links=frozenset(_links(marks)),
            files=frozenset(str(p) for folder in contents for p in folder.glob("*")),
        )


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """What is there after and was not before, as ``kind: object`` lines."""
    return [
        f"{field.name}: {item}"
        for field in fields(Snapshot)
        for item in sorted(getattr(after, field.name) - getattr(before, field.name))
    ]


class _Marks:
    """Texts that nothing but this run has: its id, and the folders it was given."""

    def __init__(self, mark: str, folders: Iterable[Path]) -> None:
        self._texts = [os.fsencode(mark), *(os.fsencode(f"{folder}/") for folder in folders)]

    def are_in(self, text: str | bytes) -> bool:
        raw = os.fsencode(text) + b"/"
        return any(mark in raw for mark in self._texts)


@dataclass(frozen=True, slots=True)
class _Mount:
    point: str
    kind: str
    line: str
    """The whole line of mountinfo."""


def _mounts() -> Iterator[_Mount]:
    text = os.fsdecode(Path("/proc/self/mountinfo").read_bytes())
    for line in text.removesuffix("\n").split("\n"):
        left, _, right = line.partition(" - ")
        yield _Mount(point=left.split(" ")[4], kind=right.split(" ")[0], line=line)


def _cgroups(mounts: list[_Mount], marks: _Marks) -> Iterator[str]:
    for mount in mounts:
        if mount.kind in ("cgroup", "cgroup2"):
            for top in Path(mount.point).glob("*/"):
                if marks.are_in(top.name):
                    yield from (folder for folder, _, _ in os.walk(top))


def _links(marks: _Marks) -> Iterator[str]:
    for _, name in socket.if_nameindex():
        if hosts.has_left_the_machines_network() or _is_our_link(name, marks):
            yield name


def _is_our_link(name: str, marks: _Marks) -> bool:
    try:
        alias = (_LINKS / name / "ifalias").read_text()
    except OSError:  # it went meanwhile
        return False
    return marks.are_in(name) or marks.are_in(alias)


def _processes(marks: _Marks) -> dict[int, str]:
    """The command lines of the run's processes."""
    own: dict[int, str] = {}
    ours = set(_ancestors())
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        if pid in ours:
            continue
        try:
            if any(map(marks.are_in, _traces(Path("/proc", str(pid))))):
                command = Path("/proc", str(pid), "cmdline").read_bytes()
                own[pid] = command.replace(b"\0", b" ").decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    return own


def _traces(process: Path) -> Iterator[bytes | str]:
    """Where a process may show whose it is: words, variables, cgroups, and what it has open."""
    for name in ("cmdline", "environ", "cgroup"):
        yield (process / name).read_bytes()
    for name in ("cwd", "root", *(f"fd/{number}" for number in os.listdir(process / "fd"))):
        try:
            yield os.readlink(process / name)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENAMETOOLONG}:
                raise
            continue  # it was closed meanwhile, or is a path longer than a name may be


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        status = Path("/proc", str(pid), "stat").read_text()
        pid = int(status.rpartition(")")[2].split()[1])


def _network_namespaces(
    mounts: list[_Mount], marks: _Marks, processes: dict[int, str]
) -> Iterator[str]:
    for mount in mounts:
        if mount.kind == "nsfs" and marks.are_in(mount.line):
            yield f"bound at {mount.point}"
    own = os.readlink("/proc/self/ns/net")
    for pid in processes:
        try:
            namespace = os.readlink(f"/proc/{pid}/ns/net")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if namespace != own:
            yield f"{namespace} of process {pid}"
