"""What can be asked of a container that is there: start, kill, delete, exec, pause, update, ps."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import CgagentError, ConflictError, NotFoundError, UnsupportedError
from cgagent.messages import wire
from cgagent.oci import store
from cgagent.runtime.container import hooks
from cgagent.runtime.messages.children import Go
from cgagent.runtime.messages.outcomes import Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cgroups import Group
    from cgagent.oci.create import Child

_FORWARDED: Final = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2),
)


def group(state: store.State) -> Group:
    """Its cgroup."""
    return _group(state.cgroup_path)


def _group(path: str) -> Group:
    """The library is loaded by the calls that need it: 60 ms."""
    from cgagent.cgroups import Host

    return Host.detect().group(path)


def status(entry: store.Entry, state: store.State) -> store.Status:
    if not store.is_alive(state):
        return "stopped"
    if entry.waits:
        return "created"
    with contextlib.suppress(NotFoundError, UnsupportedError):
        if group(state).freezer_state() != "thawed":
            return "paused"
    return "running"


def start(entry: store.Entry) -> None:
    """Let the user's program run.

    Raises:
        ConflictError: it does already, or has ended.
        CgagentError: a hook or the program failed; the process has ended.
    """
    with entry.locked():
        state = entry.state()
        found = status(entry, state)
        if found != "created":
            raise ConflictError(
                f"container {entry.id} is {found}, not created: it cannot be started"
            )
        config = entry.config()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            with store.short_path(entry.path) as directory:
                sock.connect(f"{directory}/{store.START_SOCKET}")
            os.unlink(os.path.join(entry.path, store.START_SOCKET))
            wire.send(sock, Go())
            received = wire.receive(sock, Failed)
        if received is not None:
            raise received[0].why.error()
        try:
            hooks.run(config, "poststart", store.view(state, "running"))
        except CgagentError:
            with contextlib.suppress(ConflictError):
                store.send(state, signal.SIGKILL)
            raise


def kill(entry: store.Entry, number: int, *, everyone: bool = False) -> None:
    """Signal the first process, or every process of the container's cgroup.

    Raises:
        ConflictError: it is not running.
    """
    state = entry.state()
    if everyone:
        for pid in _pids(state):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    else:
        store.send(state, number)
    if number == signal.SIGKILL:
        with contextlib.suppress(NotFoundError, UnsupportedError):
            group(state).thaw()  # a frozen v1 task dies only when it is thawed


def _pids(state: store.State) -> list[int]:
    try:
        return group(state).pids()
    except NotFoundError:
        return []


def pids(entry: store.Entry) -> list[int]:
    """Of the container's processes, in our own pid namespace."""
    return _pids(entry.state())


def delete(entry: store.Entry, warn: Callable[[str], None], *, force: bool) -> None:
    """Undo `create.create`.

    Raises:
        ConflictError: it has not ended, and it is not forced.
    """
    with entry.locked():
        try:
            state = entry.state()
        except NotFoundError:
            if not force:
                raise
            begun = entry.begun()
            if begun is not None:  # a create that was cut short
                _end_group(begun.cgroup_path, begun.cgroup_made)
            entry.remove()
            return
        found = status(entry, state)
        if found not in {"stopped", "created"} and not force:
            raise ConflictError(f"container {entry.id} is {found}: stop it first or use --force")
        config = entry.config()
        _end_group(state.cgroup_path, state.cgroup_made)
        entry.remove()
    for hook in hooks.of_kind(config, "poststop"):
        try:
            hooks.run({"hooks": {"poststop": [hook]}}, "poststop", store.view(state, "stopped"))
        except CgagentError as e:
            warn(e.message)


def _end_group(path: str, made: tuple[str, ...]) -> None:
    own = _group(path)
    with contextlib.suppress(NotFoundError):
        own.kill()
    own.remove(made=made)


def pause(entry: store.Entry) -> None:
    state = _running(entry)
    group(state).freeze()


def resume(entry: store.Entry) -> None:
    state = _running(entry)
    group(state).thaw()


def update(entry: store.Entry, wanted: dict[str, Any]) -> None:
    """Change limits of a container that has not ended; all of them or none.

    `wanted` is a ``linux.resources`` object.
    """
    from cgagent.runtime.spec import resources

    group(_running(entry)).apply(resources.limits(wanted))


def _running(entry: store.Entry) -> store.State:
    state = entry.state()
    if not store.is_alive(state):
        raise store.not_running(entry.id)
    return state


def pass_signals_on(child: Child) -> None:
    """From now on, those that ask this process to end or to do something are the child's."""
    for number in _FORWARDED:
        signal.signal(number, lambda n, _: _pass_on(child, n))


def wait(child: Child) -> int:
    """Until it ends; its exit code, 128+N by signal N. Signals are passed on meanwhile.

    They are waited for together with the child's end: one that came just before a plain wait
    would be handled only after it.
    """
    waited_for = {*_FORWARDED, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    while (info := os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOHANG)) is None:
        number = signal.sigwait(waited_for)
        if number != signal.SIGCHLD:
            _pass_on(child, number)
    ended_itself = info.si_code == os.CLD_EXITED
    return info.si_status if ended_itself else 128 + info.si_status


def _pass_on(child: Child, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(child.pidfd, number)
