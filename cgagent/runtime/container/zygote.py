"""The child side: a process in its namespaces and cgroup that waits for its job.

A fork of the supervisor, so nothing is imported here that the supervisor has not loaded. It ends
in exec or in `os._exit`. Over the socket it says `ROOTED` when it was asked to go to its root
before its job is known, and `READY` when only exec is left; a failure names its step. The socket is
close-on-exec: `READY` and then its end mean that the command is running; its end alone, that this
process died on the way.
"""

from __future__ import annotations

import errno
import gc
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from cgagent.errors import EXIT_CODE, CgagentError, InternalError, NoSpaceError
from cgagent.kernel import descriptors, namespaces, seccomp, signals, userns
from cgagent.runtime import wire
from cgagent.runtime.container import console, process, stage, steps
from cgagent.runtime.protocol import (
    CONFIG_FILE,
    CONSOLE,
    READY,
    ROOT,
    ROOTED,
    SET_UP,
    error_to_wire,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from cgagent.runtime.container.staged import Stage

FAILED: Final = 125
_ALL_OF_A_CONTAINER: Final = (
    namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWNET
    | namespaces.CLONE_NEWCGROUP
)
"""Told with the master of the terminal that the command will have."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where the process shall be before it knows its job."""

    join_files: tuple[str, ...]
    """``tasks`` files of v1 hierarchies; writing "0" moves the writer."""
    own: frozenset[str] = frozenset()
    """Kinds of namespaces that are new, as in `isolation`."""
    join: tuple[tuple[int, int], ...] = ()
    """(flag, descriptor) of namespaces to join, the pid namespace not among them: one is born
    into that."""
    host_mounts: int | None = None
    """The host's mount namespace as it will be at the job: ours is a copy from before."""
    stage: dict[str, Any] | None = None
    """What to mount and open ahead of the job: the arguments of `stage.make`."""
    enter_pidfd: int | None = None
    """Of a container's first process: join all its namespaces instead of having own ones."""
    enter_user: bool = False
    """Its user namespace, too."""


class _Progress:
    """Remembers what is being done, for the message when it fails."""

    def __init__(self) -> None:
        self.doing = "start"

    def __call__(self, step: str) -> None:
        self.doing = step


def run(sock: socket.socket, where: Surroundings) -> NoReturn:
    """Never returns: becomes the command or exits."""
    progress = _Progress()
    gc.disable()  # this is over before garbage would matter; a collection copies every page it sees
    try:
        _live(sock, where, progress)
    except CgagentError as e:
        _report(sock, e)
    except OSError as e:
        _report(sock, from_os_error(progress.doing, e))
    except BaseException as e:  # noqa: BLE001 - a fork must not unwind into the supervisor's loop
        _report(sock, InternalError(f"{progress.doing}: {type(e).__name__}: {e}"))
    os._exit(FAILED)


def from_os_error(doing: str, error: OSError) -> CgagentError:
    """A failure of a named step."""
    kind = NoSpaceError if error.errno == errno.ENOSPC else InternalError
    cause = error.strerror or str(error)
    where = f" {error.filename}" if error.filename else ""
    return kind(f"{doing}{where}: {cause[:1].lower()}{cause[1:]}")


def _report(sock: socket.socket, error: CgagentError) -> None:
    try:
        wire.send(sock, error_to_wire(error))
    except OSError:  # nobody listens, or a filter forbids it: the exit code has to say it
        os._exit(EXIT_CODE[error.kind])


def _live(sock: socket.socket, where: Surroundings, progress: _Progress) -> NoReturn:
    signals.reset_all()
    os.setsid()
    # A copy of another container's stdin pipe held here would keep that pipe from ending.
    keep = {0, 1, 2, sock.fileno(), *(fd for _, fd in where.join)}
    keep |= {fd for fd in (where.enter_pidfd, where.host_mounts) if fd is not None}
    descriptors.close_all_but(keep)
    progress("join the cgroup")
    join_cgroup(where)
    if where.enter_pidfd is None:
        progress("make namespaces")
        own_namespaces(where)
    staged = _make_stage(where)
    root = None
    job, fds = _receive(sock, progress)
    while job["op"] == ROOT:  # asked again, it may be, by the successor of who asked first
        root = root or _make_ahead(job, where, staged, progress)
        wire.send(sock, ROOTED)
        job, fds = _receive(sock, progress)
    settled = None
    if job["op"] == SET_UP:
        _take_streams(fds)
        root = root or _enter(job, where, staged, [], progress)
        settled = _settle(job, root, progress)
        _load_usual_filter(job, root, progress)
        job, fds = _receive(sock, progress)
    given = len(job.get("trees", ())) + 1 if "trees" in job else 0
    trees = fds[len(fds) - given :]
    _take_streams(fds[: len(fds) - given])
    if "driver" in job:
        # not loaded with the supervisor: this process stays outside of containers
        from cgagent.runtime.external.launch import launch

        launch(sock, job, progress)
    root = root or _enter(job, where, staged, trees, progress)
    settled = settled or _settle(job, root, progress)
    if root.console is not None:
        progress("take the terminal")
        wire.send(sock, CONSOLE, [root.console.master])
        console.enter(root.console)
    process.run(
        root.process,
        settled,
        progress,
        ready=lambda: wire.send(sock, READY),
        outside=root.outside,
        seccomp_filter=root.seccomp_filter,
        seccomp_flags=root.seccomp_flags,
    )


def _take_streams(fds: list[int]) -> None:
    """The standard ones; none where there is a terminal, or where they were taken before."""
    for target, fd in enumerate(fds):
        os.dup2(fd, target, inheritable=True)
        os.close(fd)


def _receive(sock: socket.socket, progress: _Progress) -> tuple[dict[str, Any], list[int]]:
    progress("wait for the job")
    received = wire.receive(sock)
    if received is None:  # not wanted any more
        os._exit(0)
    return received


@dataclass(slots=True)
class _Root:
    """``/`` is the container's; with what only the host's has of what is still to be done."""

    config: dict[str, Any]
    """The OCI configuration, or for a command run inside only its ``process``."""
    outside: process.Outside
    seccomp_filter: bytes | None
    """That is still to be loaded."""
    seccomp_flags: int
    console: console.Console | None
    is_new: bool
    """The container's own first process; else one more in a container that runs."""
    is_ahead: bool = False
    """It was made before its container was known, whose ``process`` comes with the job."""

    @property
    def process(self) -> dict[str, Any]:
        found: dict[str, Any] = self.config["process"]
        return found


def _enter(
    job: dict[str, Any],
    where: Surroundings,
    staged: Stage | None,
    trees: list[int],
    progress: _Progress,
) -> _Root:
    """Make the container's root and go there."""
    progress("read the seccomp filter")
    program = _read_bytes(job["seccomp"]) if job.get("seccomp") else None
    progress("read the configuration")
    config = _read(job)
    outside = process.Outside.prepare(config["process"])
    if where.enter_pidfd is None:
        rootfs = [] if trees else job["rootfs"]
        setup = steps.Setup(
            config, rootfs, job["root"], host_mounts=where.host_mounts, stage=staged
        )
        if trees:
            setup.root_tree, *others = trees
            setup.trees = dict(zip(job["trees"], others, strict=True))
        set_up_container(setup, progress)
        terminal = setup.console
    else:
        progress("join the container's namespaces")
        own_user = namespaces.CLONE_NEWUSER if where.enter_user else 0
        namespaces.setns(where.enter_pidfd, _ALL_OF_A_CONTAINER | own_user)
        if where.enter_user:
            userns.become_root()
        progress("make a terminal")
        terminal = console.make_in_own_root(config["process"])
    flags = seccomp.flags_of((config.get("linux") or {}).get("seccomp"))
    return _Root(
        config,
        outside,
        program,
        job.get("seccomp_flags", flags),
        terminal,
        is_new=where.enter_pidfd is None,
    )


def _make_ahead(
    job: dict[str, Any], where: Surroundings, staged: Stage | None, progress: _Progress
) -> _Root:
    """The root of a container to come, all of whose configuration is known but its process."""
    root = _enter(job, where, staged, [], progress)
    root.is_ahead = True
    _load_usual_filter(job, root, progress)
    return root


def _settle(job: dict[str, Any], root: _Root, progress: _Progress) -> process.Settled:
    """What its process needs in the root, and does without the streams."""
    if root.is_ahead:
        root.config["process"] = job["process"]
    return process.settle(root.process, progress, makes_directory=root.is_new)


def _load_usual_filter(job: dict[str, Any], root: _Root, progress: _Progress) -> None:
    """One that is known to let us go on."""
    if root.seccomp_filter is not None and job["filter_is_usual"]:
        progress("load the seccomp filter")
        seccomp.load(root.seccomp_filter, root.seccomp_flags)
        root.seccomp_filter = None


def join_cgroup(where: Surroundings) -> None:
    for path in where.join_files:
        with open(path, "w", encoding="ascii") as f:
            f.write("0")


def own_namespaces(where: Surroundings) -> None:
    """Those that clone does not make, and those of others."""
    for flag, fd in where.join:
        namespaces.setns(fd, flag)
        os.close(fd)
    # After joining the cgroup: the namespace's root is where the process is at that moment.
    if "cgroup" in where.own:
        namespaces.unshare(namespaces.CLONE_NEWCGROUP)
    if "network" in where.own:
        steps.loopback_up()


def _make_stage(where: Surroundings) -> Stage | None:
    if where.stage is None:
        return None
    try:
        return stage.make(**where.stage)
    except (CgagentError, OSError):  # the job meets the same cause and tells it to somebody
        return None


def _read_bytes(path: str) -> bytes:
    with open(path, "rb", buffering=0) as f:
        return f.read()


def _read(job: dict[str, Any]) -> dict[str, Any]:
    """The whole configuration, or for a command run inside only its process."""
    inside = "process_file" in job
    path = job["process_file"] if inside else os.path.join(job["bundle"], CONFIG_FILE)
    value = json.loads(_read_bytes(path))
    if not isinstance(value, dict):
        raise InternalError(f"{path} is not a JSON object")
    return {"process": value} if inside else value


def set_up_container(setup: steps.Setup, progress: Callable[[str], None]) -> None:
    """Every step of the plan; afterwards ``/`` is the container's."""
    for name, step in steps.PLAN:
        progress(name)
        step(setup)
