"""Which namespaces a container shares: docker's ``--pid``, ``--ipc``, ``--uts`` and the like.

With the host, or with another container; the other one may be gone or stopped when it matters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from cgagent.errors import ConflictError, InvalidInputError, UnsupportedError
from cgagent.runtime.spec import Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HOST: Final = "host"
AUTO: Final = "auto"
ID_COUNT: Final = 65536
_FIRST_ID: Final = 1 << 20
_LAST_ID: Final = 1 << 31
_JOIN: Final = "container:"
_CHOICES: Final = {
    "pid": ("", HOST),
    "ipc": ("private", "shareable", "none", HOST),
    "uts": ("", HOST),
    "cgroup": ("private", HOST),
    "network": ("", HOST),
}
JOINABLE: Final = ("pid", "ipc", "network")
_FILES: Final = {"network": "net"}
"""Names of files in /proc/PID/ns that are not the kind's own."""


@dataclass(frozen=True, kw_only=True)
class NamespaceModes:
    """A mode of Docker's for each kind, as asked; empty: one of the container's own."""

    pid: str = ""
    ipc: str = ""
    uts: str = ""
    cgroupns: str = ""
    userns: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespaces:
    """Docker's modes, by the kernel's names. Empty: one of the container's own."""

    pid: str = ""
    ipc: str = "private"
    uts: str = ""
    cgroup: str = "private"
    network: str = ""
    user: str = ""
    user_first_id: int = 0
    """Where its ids begin on the host, if it has a user namespace of its own."""

    @property
    def user_ids(self) -> tuple[int, int] | None:
        """(first, count) on the host."""
        return (self.user_first_id, ID_COUNT) if self.user == AUTO else None

    def joined(self, kind: str) -> str | None:
        """The id of the container whose namespace of a kind is joined."""
        mode: str = getattr(self, kind)
        return mode.removeprefix(_JOIN) if mode.startswith(_JOIN) else None


class Sharer(Protocol):
    """A container whose namespaces another one may join."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def namespaces(self) -> Namespaces: ...
    def require_started_here(self, what: str) -> None:
        """Raises ConflictError if it was adopted."""


def asked(
    modes: NamespaceModes, user: str, user_first_id: int = 0, *, network: str = ""
) -> Namespaces:
    """What is asked for, not checked. `user` is its mode, asked for or the agent's setting."""
    return Namespaces(
        pid=modes.pid,
        ipc=modes.ipc or "private",
        uts=modes.uts,
        cgroup=modes.cgroupns or "private",
        network=network,
        user=user,
        user_first_id=user_first_id,
    )


def checked(n: Namespaces, find: Callable[[str], Sharer]) -> Namespaces:
    """With other containers by their ids.

    Raises:
        InvalidInputError: an unknown mode, or one that does not go with a user namespace.
        UnsupportedError: an unknown mode of that.
        NotFoundError: no such container.
        ConflictError: its ipc namespace is not for others.
    """
    if n.user not in {"", HOST, AUTO}:
        raise UnsupportedError(f"user mode {n.user!r} is not known here; use {HOST} or {AUTO}")
    shared = [kind for kind in _CHOICES if getattr(n, kind).startswith((HOST, _JOIN))]
    if n.user == AUTO and shared:
        raise InvalidInputError(
            f"--userns {AUTO}: its {shared[0]} namespace must be its own, too; or use --userns host"
        )
    modes: dict[str, Any] = {kind: _checked(n, kind, find) for kind in _CHOICES}
    return replace(n, **modes)


def _checked(n: Namespaces, kind: str, find: Callable[[str], Sharer]) -> str:
    mode: str = getattr(n, kind)
    if mode in _CHOICES[kind]:
        return mode
    other = n.joined(kind)
    if kind not in JOINABLE or not other:
        known = ", ".join(c for c in _CHOICES[kind] if c)
        known += f", {_JOIN}NAME" if kind in JOINABLE else ""
        raise InvalidInputError(f"invalid {kind} mode: {mode!r}; known are {known}")
    container = find(other)
    container.require_started_here(f"sharing its {kind} namespace")
    if kind == "ipc":
        _require_shareable(container)
    return _JOIN + container.id


def free_ids(taken: Iterable[int]) -> int:
    """Where the ids of one more container begin.

    Raises:
        ConflictError: all are taken.
    """
    used = set(taken)
    for first in range(_FIRST_ID, _LAST_ID, ID_COUNT):
        if first not in used:
            return first
    raise ConflictError("--userns auto: no ids are left; remove containers")


def _require_shareable(container: Sharer) -> None:
    mode = container.namespaces.ipc
    if mode not in {"shareable", HOST}:
        raise ConflictError(
            f"container {container.name} does not share its ipc namespace ({mode}); "
            "create it with --ipc shareable"
        )


def private(n: Namespaces) -> frozenset[str]:
    """The kinds that are not the host's."""
    return frozenset(e.type for e in listed(n, lambda _: 0))


def listed(
    n: Namespaces, pid_of: Callable[[str], int], network: str | None = None
) -> tuple[Namespace, ...]:
    """``linux.namespaces``. `pid_of` has the first process of a container to be joined.

    `network` is the file of a network namespace of its own that is there already.
    """

    def one(kind: str, *, shared: bool) -> list[Namespace]:
        if shared:
            return []
        other = n.joined(kind) if kind in JOINABLE else None
        file = _FILES.get(kind, kind)
        made = network if kind == "network" else None
        return [Namespace(kind, f"/proc/{pid_of(other)}/ns/{file}" if other else made)]

    return (
        *one("pid", shared=n.pid == HOST),
        Namespace("mount"),
        *one("uts", shared=n.uts == HOST),
        *one("ipc", shared=n.ipc == HOST),
        *one("cgroup", shared=n.cgroup == HOST),
        *one("network", shared=n.network == HOST),
        *([Namespace("user")] if n.user == AUTO else []),
    )
