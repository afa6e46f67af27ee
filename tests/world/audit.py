"""What a test run may leave behind: taken before and after, the difference must be empty.

Counts only what belongs to cgagent or its tests, and not what another run does at the same time, as
far as that can be told.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.world import cache
from tests.world.naming import is_another_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_VETH = re.compile(r"veth|cga")
_CHECKOUT = Path(__file__).parents[2]
_VENV = re.compile(r"(/\S+)/\.venv/bin/")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Each set holds one line of text per object."""

    cgroups: frozenset[str]
    """Paths of every hierarchy at or below ``/NAME*``, without other runs' groups."""
    mounts: frozenset[str]
    """Mount points in our own mount namespace."""
    network_namespaces: frozenset[str]
    """Namespaces some process of cgagent's lives in, and those bound to a file."""
    processes: frozenset[str]
    """``PID COMMAND`` of processes whose command line has NAME in it.

    Neither our ancestors and us, nor what runs from the venv of another checkout.
    """
    links: frozenset[str]
    """Network interfaces that look like a container's."""
    files: frozenset[str]
    """What is directly in the folders given."""

    @classmethod
    def take(cls, roots: Iterable[Path] = (), name: str = "cgagent") -> Self:
        mounts = list(_mounts())
        processes = _processes(name)
        return cls(
            cgroups=frozenset(_cgroups(mounts, name)),
            mounts=frozenset(point for point, _ in mounts),
            network_namespaces=frozenset(_network_namespaces(mounts, processes)),
            processes=frozenset(f"{pid} {command}" for pid, command in processes.items()),
            links=frozenset(n for n in os.listdir("/sys/class/net") if _VETH.match(n)),
            files=frozenset(str(p) for root in roots for p in root.glob("*")),
        )


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """What is there after and was not before, as ``kind: object`` lines."""
    return [
        f"{field.name}: {item}"
        for field in fields(Snapshot)
        for item in sorted(getattr(after, field.name) - getattr(before, field.name))
    ]


def _mounts() -> Iterator[tuple[str, str]]:
    """Mount point and file system type of each mount."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        yield left.split()[4], right.split()[0]


def _cgroups(mounts: list[tuple[str, str]], name: str) -> Iterator[str]:
    for root, kind in mounts:
        if kind in ("cgroup", "cgroup2"):
            for top in Path(root).glob(f"{name}*/"):
                if not is_another_runs(top.name):
                    yield from (folder for folder, _, _ in os.walk(top))


def _processes(name: str) -> dict[int, str]:
    """Processes with `name` on their command line, without those of other checkouts."""
    own: dict[int, str] = {}
    ours = set(_ancestors())
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and int(entry) not in ours:
            try:
                raw = Path("/proc", entry, "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended meanwhile
            command = raw.replace(b"\0", b" ").decode(errors="replace").strip()
            venv = _VENV.search(command)
            if _is_benchmark(entry, command) or "/cgagent-guest-" in command:
                continue  # another run's
            is_ours = venv is None or Path(venv[1]) == _CHECKOUT
            if is_ours and name in command:
                own[int(entry)] = command
    return own


def _is_benchmark(pid: str, command: str) -> bool:
    """Whether it is an engine of the benchmarks: from the cache, in a PID namespace of theirs."""
    if not command.startswith(f"{cache.root()}/"):
        return False
    try:
        return os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    except (FileNotFoundError, ProcessLookupError):
        return True  # ended meanwhile


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        status = Path("/proc", str(pid), "stat").read_text()
        pid = int(status.rpartition(")")[2].split()[1])


def _network_namespaces(mounts: list[tuple[str, str]], processes: dict[int, str]) -> Iterator[str]:
    for root, kind in mounts:
        if kind == "nsfs":
            yield f"bound at {root}"
    own = os.readlink("/proc/self/ns/net")
    for pid in processes:
        try:
            namespace = os.readlink(f"/proc/{pid}/ns/net")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if namespace != own:
            yield f"{namespace} of process {pid}"
