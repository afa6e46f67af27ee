"""Which namespaces a container has of its own, which it joins, and which it shares with the host.

Read from ``linux.namespaces`` of an OCI configuration. A namespace that is not listed is the
host's, that is, the one of the process that creates the container.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InvalidInputError
from cgagent.kernel import namespaces
from cgagent.kernel.userns import Mappings, Range

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import ExitStack

FLAGS: Final[Mapping[str, int]] = {
    "user": namespaces.CLONE_NEWUSER,
    "pid": namespaces.CLONE_NEWPID,
    "mount": namespaces.CLONE_NEWNS,
    "uts": namespaces.CLONE_NEWUTS,
    "ipc": namespaces.CLONE_NEWIPC,
    "network": namespaces.CLONE_NEWNET,
    "cgroup": namespaces.CLONE_NEWCGROUP,
    "time": namespaces.CLONE_NEWTIME,
}
_NS_GET_NSTYPE: Final = 0xB703
_LAST_MAPPING: Final = 2**32 - 1


def mappings(holder: Mapping[str, Any], what: str) -> Mappings | None:
    """``uidMappings`` and ``gidMappings`` of an object; None if it has neither.

    Raises:
        InvalidInputError: one without the other, or no ranges of ids.
    """
    found = [holder.get(name) or () for name in ("uidMappings", "gidMappings")]
    if not any(found):
        return None
    if not all(found):
        raise InvalidInputError(f"{what}: uidMappings and gidMappings belong together")
    uids, gids = (tuple(_range(entry, what) for entry in entries) for entries in found)
    return Mappings(uids, gids)


def _range(entry: Mapping[str, Any], what: str) -> Range:
    values = [entry.get(name, -1) for name in ("containerID", "hostID", "size")]
    if not all(isinstance(v, int) and 0 <= v <= _LAST_MAPPING for v in values):
        raise InvalidInputError(
            f"{what}: a mapping of ids has containerID, hostID and size, each from 0 to 2^32-1"
        )
    return Range(*values)


@dataclass(frozen=True, slots=True)
class Isolation:
    """`own` has the kinds that are made new; `paths` the files of those that are joined."""

    own: frozenset[str]
    paths: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_oci(cls, entries: Iterable[Mapping[str, Any]]) -> Isolation:
        """Raises InvalidInputError: an unknown kind, one given twice, a relative path."""
        own, paths, seen = set(), [], set()
        for entry in entries:
            kind, path = entry["type"], entry.get("path")
            if kind not in FLAGS:
                raise InvalidInputError(f"namespace type {kind!r} is not known")
            if kind in seen:
                raise InvalidInputError(f"namespace type {kind!r} is given twice")
            seen.add(kind)
            if not path:
                own.add(kind)
            elif path.startswith("/"):
                paths.append((kind, path))
            else:
                raise InvalidInputError(f"namespace path {path!r} must be absolute")
        return cls(frozenset(own), tuple(paths))

    @property
    def private(self) -> frozenset[str]:
        """The kinds that are not the host's."""
        return self.own | {kind for kind, _ in self.paths}

    @property
    def clone_flags(self) -> int:
        """For clone3.

        Not the cgroup's: its root is where the process is at that moment. Not the time's: its
        clocks are set before anybody is in it.
        """
        return sum(FLAGS[kind] for kind in self.own - {"cgroup", "time"})

    @property
    def is_user_private(self) -> bool:
        """Whether its processes have no power over what is the host's."""
        return "user" in self.private

    def open(self, stack: ExitStack) -> tuple[tuple[int, int], ...]:
        """(flag, descriptor) of each namespace to join, closed with `stack`.

        Raises:
            InvalidInputError: a file is no namespace, or one of another type.
        """
        return tuple((FLAGS[kind], _open(kind, path, stack)) for kind, path in self.paths)


def _open(kind: str, path: str, stack: ExitStack) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as e:
        raise InvalidInputError(
            f"{kind} namespace {path}: {os.strerror(e.errno or 0).lower()}"
        ) from e
    stack.callback(os.close, fd)
    try:
        found = fcntl.ioctl(fd, _NS_GET_NSTYPE)
    except OSError:
        found = 0
    if found != FLAGS[kind]:
        raise InvalidInputError(f"{path} is not a namespace of type {kind!r}")
    return fd
