"""Where each cgroup controller of a host lives.

A controller is attached to one hierarchy at a time: a v1 mount or the cgroup2 mount. So all is
decided per controller; "hybrid" is only a name for a host that has both kinds. cgroup2's core
(pressure, freeze, kill, events) works on its mount even when it has no controller there.

Found once by `Layout.detect` and constant for a process's life: mounts of cgroup file systems
are made at boot.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, Self

from cgagent.cgroups import files
from cgagent.errors import InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Version = Literal[1, 2]

# The controllers a group uses. `freezer` (v1) only where cgroup2 has no freezer.
USED: Final = (
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "io",
    "pids",
    "hugetlb",
    "rdma",
    "misc",
    "devices",
    "net_prio",
    "freezer",
)

# v1's name of the block IO controller; here it is always called by v2's.
_RENAMED: Final = {"blkio": "io"}

_NAME_MAX: Final = 255
LINKS_OF_A_LEAF: Final = 2  # its own name and its "."


@dataclass(frozen=True, slots=True)
class Placement:
    """One controller's hierarchy: its version, its mount point, and our own group in it.

    `own_path` is relative to the mount's visible root, as `Group.path` is; "/" when our own
    group is not below it: a bind mount of another subtree, or another cgroup namespace.
    """

    controller: str
    version: Version
    mount: str
    own_path: str


@dataclass(frozen=True)
class Layout:
    """The cgroup hierarchies of a machine. Immutable; holds no descriptors.

    `placements` maps a controller to its place; v1's blkio is called "io". `unified` is the
    place of cgroup2's core, None where no cgroup2 is mounted.
    """

    placements: Mapping[str, Placement]
    unified: Placement | None

    @classmethod
    def detect(cls, root: str = "/") -> Self:
        """Read where the controllers are; `root` lets a recorded tree stand for the host.

        Raises:
            UnsupportedError: no cgroup file system is mounted.
        """
        root = root.rstrip("/")
        mounts = list(_mounts(files.read(f"{root}/proc/self/mountinfo") or "", root))
        own = dict(_own_paths(files.read(f"{root}/proc/self/cgroup") or ""))
        placements: dict[str, Placement] = {}
        unified = None
        for mount in sorted(mounts, key=lambda mount: mount.rank):
            if mount.version == 2:  # noqa: PLR2004 - cgroup2
                unified = unified or mount.place("", own.get("", "/"))
                continue
            for name in mount.options & own.keys():
                place = mount.place(_RENAMED.get(name, name), own[name])
                placements.setdefault(place.controller, place)
        if unified:
            for name in (files.read(f"{unified.mount}/cgroup.controllers") or "").split():
                place = Placement(name, 2, unified.mount, unified.own_path)
                placements.setdefault(name, place)
        if not placements and not unified:
            raise UnsupportedError("host: no cgroup file system is mounted: mount cgroup2")
        return cls(placements, unified)

    @property
    def layout(self) -> Literal["v1", "v2", "hybrid"]:
        """For display. Nothing is decided by it."""
        if not self.unified:
            return "v1"
        return "hybrid" if self.v1_mounts else "v2"

    @cached_property
    def v1_mounts(self) -> tuple[str, ...]:
        """The v1 mount points of the used controllers, co-mounted ones once."""
        places = (self.placements.get(name) for name in USED)
        return tuple(dict.fromkeys(p.mount for p in places if p and p.version == 1))

    @cached_property
    def v2_controllers(self) -> frozenset[str]:
        """The used controllers that are on cgroup2."""
        return frozenset(n for n in USED if (p := self.placements.get(n)) and p.version != 1)

    def mounts_without(self, path: str) -> list[str]:
        """Mount points of all hierarchies, named ones included, that have no group of this path."""
        mounts = _mounts(files.read("/proc/self/mountinfo") or "", "")
        return [m.point for m in mounts if not os.path.isdir(m.point + path)]

    def __hash__(self) -> int:
        return hash((tuple(self.placements), self.unified))


def checked_path(path: str) -> str:
    parts = path.split("/")[1:]
    plain = all(p not in {"", ".", ".."} and len(os.fsencode(p)) <= _NAME_MAX for p in parts)
    if path != "/" and (not path.startswith("/") or not plain or "\n" in path or "\0" in path):
        raise InvalidInputError(
            f"cgroup path {path!r}: it must be absolute, without empty, '.' or '..' parts"
        )
    return path


@dataclass(frozen=True, slots=True)
class _Mount:
    """A cgroup line of mountinfo. `top` is the group that the mount shows as its root."""

    version: Version
    point: str
    top: str
    options: frozenset[str]

    @property
    def rank(self) -> tuple[bool, bool]:
        """The host's own mounts before bind mounts of a subtree and odd mount points."""
        return self.top != "/", "/sys/fs/cgroup" not in self.point

    def place(self, controller: str, own: str) -> Placement:
        inside = own if self.top == "/" and not own.startswith("/..") else "/"
        if self.top != "/" and own.startswith(f"{self.top}/"):
            inside = own.removeprefix(self.top)
        return Placement(controller, self.version, self.point, inside)


def _mounts(mountinfo: str, root: str) -> Iterator[_Mount]:
    for line in files.lines(mountinfo):
        left, _, right = line.partition(" - ")
        kind, _, super_options = right.split(" ", 2)
        if kind not in {"cgroup", "cgroup2"}:
            continue
        _, _, _, top, point, *_ = left.split(" ")
        version: Version = 2 if kind == "cgroup2" else 1
        options = frozenset(super_options.split(","))
        yield _Mount(version, root + _unescaped(point), _unescaped(top), options)


def _unescaped(field: str) -> str:
    """Mountinfo writes blanks and the like as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _own_paths(text: str) -> Iterator[tuple[str, str]]:
    """(v1 controller, path) pairs; the controller of cgroup2's line is ""."""
    for line in files.lines(text):
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            if not name.startswith("name="):  # systemd's own hierarchy controls nothing
                yield name, path


def with_subgroups(directory: str) -> Iterator[str]:
    """A group and all below it; cheap where there are none, as its link count tells."""
    yield directory
    try:
        links = os.stat(directory).st_nlink
    except FileNotFoundError:
        return
    if links > LINKS_OF_A_LEAF:
        yield from subgroups(directory)


def subgroups(directory: str) -> Iterator[str]:
    """The directories of all groups below a group, children before their parents."""
    for name in names_below(directory):
        child = f"{directory}/{name}"
        yield from subgroups(child)
        yield child


def names_below(directory: str) -> list[str]:
    """The names of the groups right below a group; none where it has gone meanwhile."""
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
