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
