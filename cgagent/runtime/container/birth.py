"""Making a container's process, up to the point where the two who make one differ.

A supervisor's zygote (`zygote`) and the child of `cgagent oci create` (`cgagent.oci.init`) are born
alike: a clone into the cgroup and the namespaces, with a socket over which it reports. It is a fork
of its parent, so nothing is imported here that the parent has not loaded; it ends in exec or in
`os._exit`.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from cgagent.errors import EXIT_CODE, CgagentError, InternalError, NoSpaceError
from cgagent.kernel import namespaces
from cgagent.messages import wire
from cgagent.runtime.container import steps
from cgagent.runtime.messages.outcomes import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

FAILED: Final = 125


@dataclass(frozen=True, slots=True)
class Born:
    """The parent's view of the child."""

    pid: int
    pidfd: int
    sock: socket.socket

    def kill(self) -> None:
        """Kill and reap it."""
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)


def spawn(
    clone: Callable[[int | None], tuple[int, int]],
    run: Callable[[socket.socket], NoReturn],
    *,
    cgroup_dir: str | None,
    pid_namespace: int | None,
) -> Born:
    """A child that does `run` with its end of the socket.

    `clone` gets a descriptor of the cgroup's directory and returns what `namespaces.clone` does;
    `pid_namespace` is a descriptor of the one that the child is born into, None: the parent's.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    cgroup_fd = None
    try:
        if cgroup_dir:
            cgroup_fd = os.open(cgroup_dir, os.O_RDONLY | os.O_CLOEXEC)
        with _children_in(pid_namespace):
            pid, pidfd = clone(cgroup_fd)
            if pid == 0:
                run(theirs)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        if cgroup_fd is not None:
            os.close(cgroup_fd)
    return Born(pid, pidfd, ours)


@contextmanager
def _children_in(pid_namespace: int | None) -> Iterator[None]:
    """Children are born in the pid namespace of this descriptor, an nsfs file or a pidfd.

    They are the caller's to reap all the same.
    """
    if pid_namespace is None:
        yield
        return
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespaces.setns(pid_namespace, namespaces.CLONE_NEWPID)
        try:
            yield
        finally:
            namespaces.setns(own, namespaces.CLONE_NEWPID)
    finally:
        os.close(own)


class Reporter:
    """Where the child tells of a failure, with the step that it was at."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._doing = "start"

    def __call__(self, step: str) -> None:
        self._doing = step

    def tell(self, error: BaseException) -> None:
        try:
            wire.send(self.sock, Failed.of(self._named(error)))
        except OSError:  # nobody listens, or a filter forbids it: the exit code has to say it
            os._exit(EXIT_CODE[self._named(error).kind])

    def _named(self, error: BaseException) -> CgagentError:
        if isinstance(error, CgagentError):
            return error
        if isinstance(error, OSError):
            return from_os_error(self._doing, error)
        return InternalError(f"{self._doing}: {type(error).__name__}: {error}")


def from_os_error(doing: str, error: OSError) -> CgagentError:
    """A failure of a named step."""
    kind = NoSpaceError if error.errno == errno.ENOSPC else InternalError
    cause = error.strerror or str(error)
    where = f" {error.filename}" if error.filename else ""
    return kind(f"{doing}{where}: {cause[:1].lower()}{cause[1:]}")


def live(sock: socket.socket, life: Callable[[Reporter], NoReturn]) -> NoReturn:
    """The whole life of the child until exec. Never returns.

    There is no collection of garbage: it would copy every page it sees, and after a filter of
    system calls nothing may ask the kernel for memory.
    """
    reporter = Reporter(sock)
    gc.disable()
    try:
        life(reporter)
    except BaseException as e:  # noqa: BLE001 - a fork must not unwind into the parent's code
        reporter.tell(e)
    os._exit(FAILED)


def own_namespaces(own: frozenset[str], join: Iterable[tuple[int, int]]) -> None:
    """Those that clone does not make, and (flag, descriptor) of those of others.

    After the cgroup is joined: the root of a cgroup namespace is where the process is at that
    moment. The pid namespace is not among those to `join`: a process is born into that.
    """
    for flag, fd in join:
        namespaces.setns(fd, flag)
        os.close(fd)
    if "cgroup" in own:
        namespaces.unshare(namespaces.CLONE_NEWCGROUP)
    if "network" in own:
        steps.loopback_up()


def set_up_container(setup: steps.Setup, progress: Callable[[str], None]) -> None:
    """Every step of the plan; afterwards ``/`` is the container's."""
    for name, step in steps.PLAN:
        progress(name)
        step(setup)
