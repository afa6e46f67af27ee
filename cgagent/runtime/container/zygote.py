"""The supervisor's child: a process in its namespaces and cgroup that waits for its job.

Over the socket it says `Prepared` when it has done what can be done before its start, and `Ready`
when only exec is left; a failure names its step. The socket is close-on-exec: `Ready` and then its
end mean that the command is running; its end alone, that this process died on the way.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from cgagent.errors import CgagentError, InternalError
from cgagent.kernel import descriptors, namespaces, seccomp, signals, userns
from cgagent.kernel.joining import join_cgroup
from cgagent.messages import wire
from cgagent.runtime.container import birth, console, process, stage, steps
from cgagent.runtime.messages.agent import Prepare, Start
from cgagent.runtime.messages.jobs import ContainerJob, ExecJob
from cgagent.runtime.messages.zygote import Console, Prepared, Ready
from cgagent.runtime.protocol import CONFIG_FILE

if TYPE_CHECKING:
    import socket

    from cgagent.runtime.container.staged import Stage
    from cgagent.runtime.messages.agent import KernelMounts

_ALL_OF_A_CONTAINER: Final = (
    namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWNET
    | namespaces.CLONE_NEWCGROUP
)
_JOBS: Final[tuple[type[Prepare | Start], ...]] = (Prepare, Start)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where the process shall be before it knows its job."""

    join_files: tuple[str, ...]
    """As for `join_cgroup`."""
    own: frozenset[str] = frozenset()
    """Kinds of namespaces that are new, as in `isolation`."""
    join: tuple[tuple[int, int], ...] = ()
    """As for `birth.own_namespaces`."""
    host_mounts: int | None = None
    """The host's mount namespace as it will be at the job: ours is a copy from before."""
    mounts: KernelMounts | None = None
    """What to mount and open ahead of the job."""
    enter_pidfd: int | None = None
    """Of a container's first process: join all its namespaces instead of having own ones."""
    enter_user: bool = False
    """Its user namespace, too."""


def run(sock: socket.socket, where: Surroundings) -> NoReturn:
    """Never returns: becomes the command or exits."""
    birth.live(sock, lambda reporter: _live(reporter, where))


def _live(progress: birth.Reporter, where: Surroundings) -> NoReturn:
    signals.reset_all()
    os.setsid()
    # A copy of another container's stdin pipe held here would keep that pipe from ending.
    keep = {0, 1, 2, progress.sock.fileno(), *(fd for _, fd in where.join)}
    keep |= {fd for fd in (where.enter_pidfd, where.host_mounts) if fd is not None}
    descriptors.close_all_but(keep)
    progress("join the cgroup")
    join_cgroup(where.join_files)
    if where.enter_pidfd is None:
        progress("make namespaces")
        birth.own_namespaces(where.own, where.join)
    zygote = _Zygote(progress, where)
    job, fds = zygote.receive()
    while isinstance(job, Prepare):  # for each part, and again for a successor of who asked first
        zygote.prepare(job, fds)
        job, fds = zygote.receive()
    zygote.start(job, fds)


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

    @property
    def process(self) -> dict[str, Any]:
        found: dict[str, Any] = self.config["process"]
        return found


class _Zygote:
    """The process in its namespaces; what it has of its job is kept, so no part is done twice."""

    def __init__(self, progress: birth.Reporter, where: Surroundings) -> None:
        self._progress = progress
        self._where = where
        self._stage = _make_stage(where)
        self._root: _Root | None = None
        self._settled: process.Settled | None = None

    def receive(self) -> tuple[Prepare | Start, list[int]]:
        self._progress("wait for the job")
        received = wire.receive(self._progress.sock, *_JOBS)
        if received is None:  # not wanted any more
            os._exit(0)
        return received

    def prepare(self, asked: Prepare, fds: list[int]) -> None:
        """The root of a container to come; where its streams are known, all before its start."""
        _take_streams(fds)
        root = self._root = self._root or self._make_root(asked.job)
        if asked.streams is not None:
            self._settled = self._settled or self._settle(asked.job, root)
        if root.seccomp_filter is not None and asked.job.filter_is_usual:  # it lets us go on
            self._progress("load the seccomp filter")
            seccomp.load(root.seccomp_filter, root.seccomp_flags)
            root.seccomp_filter = None
        wire.send(self._progress.sock, Prepared())

    def start(self, asked: Start, fds: list[int]) -> NoReturn:
        """All that is left to do; the descriptors are the streams', then those of `trees`."""
        given = 0 if asked.trees is None else len(asked.trees) + 1
        trees = fds[len(fds) - given :]
        _take_streams(fds[: len(fds) - given])
        if asked.launch is not None:
            # not loaded with the supervisor: this process stays outside of containers
            from cgagent.runtime.external.launch import launch

            launch(self._progress.sock, asked, asked.launch, self._progress)
        if isinstance(asked.job, ExecJob):
            root = self._join(asked.job)
        else:
            root = self._root or self._make_root(asked.job, trees, asked.trees or ())
        settled = self._settled or self._settle(asked.job, root)
        if root.console is not None:
            self._progress("take the terminal")
            wire.send(self._progress.sock, Console(), [root.console.master])
            console.enter(root.console)
        process.run(
            root.process,
            settled,
            self._progress,
            ready=lambda: wire.send(self._progress.sock, Ready()),
            outside=root.outside,
            seccomp_filter=root.seccomp_filter,
            seccomp_flags=root.seccomp_flags,
        )

    def _make_root(
        self, job: ContainerJob, trees: list[int] | None = None, places: tuple[int, ...] = ()
    ) -> _Root:
        """Make the container's root and go there."""
        program = self._filter(job)
        self._progress("read the configuration")
        config = _read_json(os.path.join(job.bundle, CONFIG_FILE))
        outside = process.Outside.prepare(config["process"])
        setup = steps.Setup(
            config,
            [] if trees else list(job.rootfs),
            job.root,
            host_mounts=self._where.host_mounts,
            stage=self._stage,
        )
        if trees:
            setup.root_tree, *others = trees
            setup.trees = dict(zip(places, others, strict=True))
        birth.set_up_container(setup, self._progress)
        flags = seccomp.flags_of((config.get("linux") or {}).get("seccomp"))
        return _Root(config, outside, program, flags, setup.console)

    def _join(self, job: ExecJob) -> _Root:
        """Go to the root of a container that runs."""
        if self._where.enter_pidfd is None:
            raise InternalError("a command was asked for, and there is no container to run it in")
        program = self._filter(job)
        self._progress("read the configuration")
        config = {"process": _read_json(job.process_file)}
        outside = process.Outside.prepare(config["process"])
        self._progress("join the container's namespaces")
        own_user = namespaces.CLONE_NEWUSER if self._where.enter_user else 0
        namespaces.setns(self._where.enter_pidfd, _ALL_OF_A_CONTAINER | own_user)
        if self._where.enter_user:
            userns.become_root()
        self._progress("make a terminal")
        terminal = console.make_in_own_root(config["process"])
        return _Root(config, outside, program, job.seccomp_flags, terminal)

    def _filter(self, job: ContainerJob | ExecJob) -> bytes | None:
        self._progress("read the seccomp filter")
        return _read_bytes(job.seccomp) if job.seccomp else None

    def _settle(self, job: ContainerJob | ExecJob, root: _Root) -> process.Settled:
        """What its process needs in the root, and does without the streams."""
        is_new = isinstance(job, ContainerJob)
        if isinstance(job, ContainerJob) and job.process is not None:
            root.config["process"] = job.process
        return process.settle(root.process, self._progress, makes_directory=is_new)


def _take_streams(fds: list[int]) -> None:
    """The standard ones; none where there is a terminal, or where they were taken before."""
    for target, fd in enumerate(fds):
        os.dup2(fd, target, inheritable=True)
        os.close(fd)


def _make_stage(where: Surroundings) -> Stage | None:
    if where.mounts is None:
        return None
    try:
        return stage.make(where.mounts)
    except (CgagentError, OSError):  # the job meets the same cause and tells it to somebody
        return None


def _read_bytes(path: str) -> bytes:
    with open(path, "rb", buffering=0) as f:
        return f.read()


def _read_json(path: str) -> dict[str, Any]:
    value = json.loads(_read_bytes(path))
    if not isinstance(value, dict):
        raise InternalError(f"{path} is not a JSON object")
    return value
