"""User namespaces: their mappings, written by a parent, and namespaces that are nothing but those.

Since kernel 3.8; needs CAP_SETUID, CAP_SETGID and CAP_SYS_ADMIN outside.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Self

from cgagent.errors import InvalidInputError
from cgagent.kernel import libc, namespaces

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Range:
    """`count` ids from `inside` on are those from `outside` on."""

    inside: int
    outside: int
    count: int


@dataclass(frozen=True, slots=True)
class Mappings:
    """Of user and of group ids."""

    uids: tuple[Range, ...]
    gids: tuple[Range, ...]

    @classmethod
    def of_block(cls, first: int, count: int) -> Self:
        """Ids from 0 on are those from `first` on."""
        block = (Range(0, first, count),)
        return cls(block, block)

    def write(self, pid: int) -> None:
        """To the user namespace of a process that was just made in it.

        Raises:
            InvalidInputError: the kernel refuses them.
        """
        for name, ranges in (("uid_map", self.uids), ("gid_map", self.gids)):
            text = "".join(f"{r.inside} {r.outside} {r.count}\n" for r in ranges)
            try:
                with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as f:
                    f.write(text)
            except OSError as e:
                reason = os.strerror(e.errno or 0).lower()
                raise InvalidInputError(f"{name} {text.strip()!r}: {reason}") from None


def root_of(pid: int) -> tuple[int, int]:
    """What user and group 0 of a process's user namespace are in ours.

    Raises:
        InvalidInputError: one is not mapped.
    """
    return _outside(f"/proc/{pid}/uid_map"), _outside(f"/proc/{pid}/gid_map")


def _outside(path: str) -> int:
    with open(path, encoding="ascii") as f:
        for line in f:
            inside, outside, _ = map(int, line.split())
            if inside == 0:
                return outside
    raise InvalidInputError("user namespace: id 0 of the container is not mapped; map it")


def carrier(mappings: Mappings) -> int:
    """A descriptor of a user namespace that nobody is in, for an id-mapped mount.

    Only for a single-threaded process.
    """
    pid, pidfd = namespaces.clone(namespaces.CLONE_NEWUSER)
    if pid == 0:
        _wait_for_death()
    try:
        mappings.write(pid)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)


def _wait_for_death() -> NoReturn:
    libc.prctl(namespaces.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    while True:
        signal.pause()


def become_root() -> None:
    """Be user and group 0 of the user namespace one has entered; capabilities stay."""
    os.setgroups(())
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def clone_beyond(
    joins: Iterable[tuple[int, int]], flags: int, cgroup_fd: int | None
) -> tuple[int, int]:
    """As `namespaces.clone`, by way of a process that joins namespaces first.

    Whoever is in another user namespace cannot join those of ours any more. `joins` has
    (flag, descriptor) pairs; a user namespace must be the last. The process ends; the new one
    is our own child.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    helper, helper_fd = namespaces.clone(0)
    if helper == 0:
        os.close(reading)
        if _clone_sibling(joins, flags, cgroup_fd, writing):
            os.close(writing)
            return 0, -1
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        answer = int(told.read() or "0")
    os.waitid(os.P_PIDFD, helper_fd, os.WEXITED)
    os.close(helper_fd)
    if answer <= 0:
        raise OSError(-answer, os.strerror(-answer))
    return answer, os.pidfd_open(answer)


def _clone_sibling(
    joins: Iterable[tuple[int, int]], flags: int, cgroup_fd: int | None, told: int
) -> bool:
    """Whether this is the new process; the helper has written its pid, or an error's negative."""
    try:
        for flag, fd in joins:
            namespaces.setns(fd, flag)
        pid, _ = namespaces.clone(flags | namespaces.CLONE_PARENT, cgroup_fd)
    except OSError as e:
        pid = -(e.errno or 1)
    if pid:
        os.write(told, str(pid).encode())
    return pid == 0
