"""Processes of the host under cgagent's limits: adopted with all their descendants, and released.

An adopted tree is a container without an image, a log or namespaces of its own: it is sampled,
limited, frozen and killed like any other. cgagent is not its parent, so it learns that it has
ended but not with which exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import psutil

from cgagent.cgroups import Membership
from cgagent.engine.containers.config import ContainerConfig, ResolvedConfig
from cgagent.engine.containers.container import (
    Adopted,
    Container,
    Outcome,
    Record,
    start_ticks,
)
from cgagent.engine.containers.names import new_id
from cgagent.engine.options import limits as limit_rules
from cgagent.engine.options.networking import EndpointSpec
from cgagent.errors import (
    ConflictError,
    DeniedError,
    InvalidInputError,
    NotFoundError,
)
from cgagent.runtime.messages.outcomes import Exit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cgagent.cgroups import Group, Host, Limits
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.options.limits import Conveniences

log = logging.getLogger(__name__)

_ROUNDS: Final = 20
"""A tree that forks while it is moved is followed this often."""
_POLL_S: Final = 1.0


class Adoption:
    def __init__(
        self, host: Host, containers: Containers, lifecycle: Lifecycle, jobs: Jobs, parent: str
    ) -> None:
        self._host = host
        self._containers = containers
        self._lifecycle = lifecycle
        self._jobs = jobs
        self._parent = parent.rstrip("/")
        self._watches: dict[str, asyncio.Task[None]] = {}

    async def adopt(
        self, pid: int, name: str | None, asked: Limits, extra: Conveniences
    ) -> Container:
        """Move a process and its descendants into a group of their own, under limits.

        Raises:
            NotFoundError: no such process, or one that ends meanwhile.
            InvalidInputError: a thread's id.
            ConflictError: it is a container's or a zombie, or the name is taken.
            DeniedError: it is ourselves, or a kernel thread.
        """
        async with self._jobs.run("adopt", pid=str(pid)), _while_there(pid):
            root = self._process(pid)
            chosen = self._lifecycle.choose_name(name)
            held = limit_rules.resolve(asked, extra)
            origins = self._origins(root)
            group = self._host.group(f"{self._parent}/{new_id()}")
            group.create()
            try:
                group.apply(held)
                # Kept before anything is moved: a crash then leaves no process that is nobody's.
                container = self._containers.add(_record(root, chosen, group.path, held, origins))
            except BaseException:
                await asyncio.to_thread(group.remove)
                raise
            async with container.lock:
                try:
                    await asyncio.to_thread(self._move, root, group, origins)
                    moved = _moved(container.record, origins)
                    self._containers.save(container, moved, "adopt")
                except BaseException:
                    await self._give_back(container, origins)
                    raise
            self._lifecycle.watch.begin(container, group)
            self.watch(container)
            return container

    def _process(self, pid: int) -> psutil.Process:
        try:
            process = psutil.Process(pid)
            ours = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
        except (psutil.NoSuchProcess, ValueError):
            raise NotFoundError(f"process {pid} does not exist") from None
        leader = _leader(pid)
        if leader != pid:
            raise InvalidInputError(
                f"{pid} is a thread of process {leader}; adopt that, with all its threads"
            )
        if _is_zombie(process):
            raise ConflictError(
                f"process {pid} has ended and waits for its parent, process {process.ppid()}, "
                "to take note (a zombie): there is nothing to adopt"
            )
        if pid in ours:
            raise DeniedError(f"process {pid} is the agent or one of its parents: not adopted")
        if not process.cmdline() and process.ppid() in {0, 2}:
            raise DeniedError(f"process {pid} is a kernel thread: not adopted")
        groups = {self._parent, *(c.record.cgroup_path for c in self._containers)}
        directories = Membership.of(self._host, pid).directories
        if any(f"{group}/" in f"{d}/" for group in groups for d in directories):
            raise ConflictError(f"process {pid} is in a container already; see cgagent ps")
        return process

    def _origins(self, root: psutil.Process) -> dict[int, Membership]:
        """Where the tree's processes are now."""
        origins = {root.pid: Membership.of(self._host, root.pid)}
        for process in root.children(recursive=True):
            with contextlib.suppress(NotFoundError):  # it has ended
                origins[process.pid] = Membership.of(self._host, process.pid)
        return origins

    async def _give_back(self, container: Container, origins: dict[int, Membership]) -> None:
        """Everything where it was, and the container forgotten; its lock is held by the caller."""
        await asyncio.to_thread(_restore, self._lifecycle.group(container), origins)
        await self._lifecycle.forget(container)

    def _move(self, root: psutil.Process, group: Group, origins: dict[int, Membership]) -> None:
        """Until all of the tree is inside: a child born meanwhile is where its parent was."""
        for _ in range(_ROUNDS):
            tree = [root, *root.children(recursive=True)]
            inside = set(group.pids())
            outside = [p.pid for p in tree if p.pid not in inside and not _is_zombie(p)]
            if not outside:
                return
            for pid in outside:
                with contextlib.suppress(NotFoundError):  # it has ended
                    if pid not in origins:
                        origins[pid] = Membership.of(self._host, pid)
                    group.join(pid)
        raise ConflictError(f"process {root.pid} forks faster than it can be followed")

    async def release(self, container: Container) -> None:
        """Put an adopted tree back where it was and forget it; its limits end.

        Raises:
            InvalidInputError: it was started here, not adopted.
        """
        adopted = container.record.adopted
        if adopted is None:
            raise InvalidInputError(
                f"container {container.name} was started by cgagent; stop it instead"
            )
        async with self._jobs.run("release", container=container.id):
            self._unwatch(container.id)
            group = self._lifecycle.group(container)
            async with container.lock:
                self._lifecycle.watch.end(container, group)
                await self._give_back(container, _memberships(adopted))
        self._lifecycle.publish(container, "release")

    # -- its end ----------------------------------------------------------------------------

    async def resume(self) -> None:
        """After a restart of the agent: watch who is here; undo an adoption that was cut short."""
        for container in list(self._containers):
            adopted = container.record.adopted
            if adopted is None:
                continue
            if container.running:
                self.watch(container)
            elif container.record.outcome.status == "created":
                log.warning("container %s: its adoption was cut short: undone", container.name)
                async with container.lock:
                    await self._give_back(container, _memberships(adopted))

    def watch(self, container: Container) -> None:
        task = asyncio.create_task(self._until_ended(container))
        self._watches[container.id] = task
        task.add_done_callback(_log_failure)

    def _unwatch(self, container_id: str) -> None:
        task = self._watches.pop(container_id, None)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        for container_id in list(self._watches):
            self._unwatch(container_id)

    async def _until_ended(self, container: Container) -> None:
        adopted = container.record.adopted
        if adopted is None:
            return
        await _process_ended(adopted)
        with contextlib.suppress(NotFoundError):
            # descendants live on, and v1 does not tell when they end; it may be moved meanwhile
            while self._lifecycle.group(container).has_pids():  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)
        self._watches.pop(container.id, None)
        await self._lifecycle.exited(container, Exit())


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("an adopted container's end could not be noted", exc_info=task.exception())


async def _process_ended(adopted: Adopted) -> None:
    """Until the process is gone; at once if its pid is another process's by now."""
    try:
        pidfd = os.pidfd_open(adopted.pid)
    except ProcessLookupError:
        return
    try:
        if not adopted.is_alive():
            return
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, ended.set)
        try:
            await ended.wait()
        finally:
            asyncio.get_running_loop().remove_reader(pidfd)
    finally:
        os.close(pidfd)


@contextlib.asynccontextmanager
async def _while_there(pid: int) -> AsyncIterator[None]:
    """What is asked of a process that ends meanwhile, or is a zombie by then."""
    try:
        yield
    except psutil.NoSuchProcess:
        raise NotFoundError(f"process {pid} has ended meanwhile") from None


def _leader(pid: int) -> int:
    """The process that a thread is of; itself, if it is one."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("Tgid:"))
    except (FileNotFoundError, ProcessLookupError):
        raise NotFoundError(f"process {pid} does not exist") from None


def _is_zombie(process: psutil.Process) -> bool:
    """Whether it has ended, noted or not."""
    try:
        found: str = process.status()
    except psutil.NoSuchProcess:
        return True
    return found == psutil.STATUS_ZOMBIE


def _restore(group: Group, origins: dict[int, Membership]) -> None:
    """Everything in the group goes where it was; what was born in it, where the root was."""
    root = next(iter(origins.values()))
    for _ in range(_ROUNDS):
        try:
            pids = group.pids()
        except NotFoundError:
            return
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(NotFoundError):  # it has ended
                origins.get(pid, root).restore(pid)


def _memberships(adopted: Adopted) -> dict[int, Membership]:
    """The root's first."""
    return {pid: Membership(directories) for pid, directories in adopted.origins}


def _record(
    root: psutil.Process, name: str, path: str, held: Limits, origins: dict[int, Membership]
) -> Record:
    ticks = start_ticks(root.pid)
    if ticks is None:
        raise NotFoundError(f"process {root.pid} has ended meanwhile")
    return Record(
        id=path.rpartition("/")[2],
        name=name,
        image_id="",
        created_ns=time.time_ns(),
        cgroup_path=path,
        rootfs=None,
        adopted=Adopted(pid=root.pid, start_ticks=ticks, origins=_places(origins)),
        config=ContainerConfig(image="", networks=(EndpointSpec(network="host"),)),
        resolved=ResolvedConfig(args=_arguments(root)),
        limits=held,
        outcome=Outcome(pid=root.pid),
    )


def _arguments(process: psutil.Process) -> tuple[str, ...]:
    """Its command line; what is not UTF-8 is replaced, as a record is text."""
    words = process.cmdline() or [process.name()]
    return tuple(os.fsencode(word).decode(errors="replace") for word in words)


def _moved(record: Record, origins: dict[int, Membership]) -> Record:
    return replace(
        record,
        adopted=record.adopted and replace(record.adopted, origins=_places(origins)),
        outcome=replace(record.outcome, status="running", started_ns=record.created_ns),
    )


def _places(origins: dict[int, Membership]) -> tuple[tuple[int, tuple[str, ...]], ...]:
    return tuple((pid, m.directories) for pid, m in origins.items())
