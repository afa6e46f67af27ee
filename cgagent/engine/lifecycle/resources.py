"""What a container has, one thing after another: each with its part in the container's life.

A `Resource` says what is done for it when a container is made, starts, is found running, ends and
is removed. Whoever makes, starts, ends or removes containers walks the list, backwards where things
go, and names none of them: another kind of thing is another entry.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from cgagent.concurrency import in_thread
from cgagent.engine import jobs
from cgagent.engine.containers.bundle import root_mount
from cgagent.errors import CgagentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cgagent.cgroups import Group
    from cgagent.engine.containers.bundle import Bundle
    from cgagent.engine.containers.container import Container, Record
    from cgagent.engine.lifecycle.parents import Parents
    from cgagent.engine.lifecycle.placement import Placement
    from cgagent.engine.lifecycle.pool import Pool
    from cgagent.engine.lifecycle.setups import Setups
    from cgagent.engine.observe.monitor import Monitor
    from cgagent.engine.observe.watch import GroupWatch, SeenOom
    from cgagent.engine.options.runtimes import Runtimes
    from cgagent.engine.volumes import Volumes
    from cgagent.images.image import Image
    from cgagent.images.store import Images

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Making:
    """A container that is being made."""

    record: Record
    """With what has been acquired so far."""
    image: Image


@dataclass(slots=True)
class Ending:
    """A run that has ended, or a start that failed."""

    oom: SeenOom | None = None
    """What the OOM killer did last."""


class Resource:
    """One kind of thing that a container has. Methods that do not concern it do nothing."""

    step: ClassVar[str] = ""
    """The name in a job's steps of what `acquire` does."""

    async def acquire(self, making: Making) -> None:
        """When a container is made. Where it raises, nothing of its own is left."""

    async def undo(self, record: Record) -> None:
        """Of a container whose making failed later on."""

    def begin(self, container: Container) -> None:
        """Before the first process of a run is made."""

    async def waiting(self, container: Container, pid: int) -> None:
        """Its first process, `pid`, is in its namespaces and waits to be told to run the command.

        Where it raises, the run is over: `ended` and `left` follow.
        """

    def started(self, container: Container) -> None:
        """The command runs."""

    def resumed(self, container: Container) -> None:
        """It was found running when the agent started."""

    def ended(self, container: Container, ending: Ending) -> None:
        """The run is over, which is not in the record yet; its cgroup is still there."""

    async def left(self, container: Container) -> None:
        """The end of the run is in the record; its cgroup goes next."""

    def release(self, record: Record) -> None:
        """Delete its files. Called in a thread; what is not there is no error."""

    async def removed(self, container: Container, *, volumes: bool) -> None:
        """Just before the record goes; with `volumes` those of its own that have no name, too."""

    async def renamed(self, container: Container) -> None:
        """It is called something else now."""

    def forgotten(self, container_id: str) -> None:
        """The record is gone."""

    async def sweep(self, known: set[str]) -> None:
        """At the agent's start: remove what belongs to no container, these being all ids."""


class Resources:
    """The list, in the order in which things are acquired."""

    def __init__(self, found: Sequence[Resource]) -> None:
        self._all = list(found)

    def add(self, resource: Resource) -> None:
        self._all.append(resource)

    async def acquire(self, making: Making) -> None:
        """All of them, or none: where one fails, those before it are undone, the last first."""
        done: list[Resource] = []
        try:
            for resource in self._all:
                if resource.step:
                    jobs.step(resource.step)
                await resource.acquire(making)
                done.append(resource)
        except BaseException:
            await self._undo(done, making.record)
            raise

    async def undo(self, record: Record) -> None:
        await self._undo(self._all, record)

    @staticmethod
    async def _undo(done: Sequence[Resource], record: Record) -> None:
        for resource in reversed(done):
            await resource.undo(record)

    def begin(self, container: Container) -> None:
        for resource in self._all:
            resource.begin(container)

    async def waiting(self, container: Container, pid: int) -> None:
        for resource in self._all:
            await resource.waiting(container, pid)

    def started(self, container: Container) -> None:
        for resource in self._all:
            resource.started(container)

    def resumed(self, container: Container) -> None:
        for resource in self._all:
            resource.resumed(container)

    def ended(self, container: Container) -> Ending:
        ending = Ending()
        for resource in reversed(self._all):
            resource.ended(container, ending)
        return ending

    async def left(self, container: Container) -> None:
        for resource in reversed(self._all):
            await resource.left(container)

    def release(self, record: Record) -> None:
        for resource in reversed(self._all):
            resource.release(record)

    async def removed(self, container: Container, *, volumes: bool) -> None:
        for resource in reversed(self._all):
            await resource.removed(container, volumes=volumes)

    async def renamed(self, container: Container) -> None:
        for resource in self._all:
            await resource.renamed(container)

    def forgotten(self, container_id: str) -> None:
        for resource in reversed(self._all):
            resource.forgotten(container_id)

    async def sweep(self, known: set[str]) -> None:
        for resource in reversed(self._all):
            await resource.sweep(known)


class Directory(Resource):
    """Its bundle: logs, configuration, /etc files."""

    step = "files"

    def __init__(self, bundle: Callable[[str], Bundle]) -> None:
        self._bundle = bundle

    async def acquire(self, making: Making) -> None:
        record = making.record
        self._bundle(record.id).make(record.config, record.resolved.hostname)

    async def undo(self, record: Record) -> None:
        self.release(record)

    def release(self, record: Record) -> None:
        self._bundle(record.id).remove()


class Root(Resource):
    """The directories of its root file system."""

    step = "root"

    def __init__(self, images: Images, pool: Pool) -> None:
        self._images = images
        self._pool = pool

    async def acquire(self, making: Making) -> None:
        made = self._pool.take_root(making.record.id)
        if made is None:
            limit = making.record.config.root_limit_bytes
            prepare = partial(self._images.prepare, making.image, making.record.id, limit)
            quick = self._images.storage.driver.is_quick
            made = prepare() if quick else await in_thread(lambda _: prepare())
        making.record = replace(making.record, rootfs=made)

    async def undo(self, record: Record) -> None:
        self.release(record)

    def release(self, record: Record) -> None:
        self._images.release(record.id)

    async def sweep(self, known: set[str]) -> None:
        await asyncio.to_thread(self._images.sweep, known)


class PoolSlot(Resource):
    """What the pool has made of it: it may have the root mounted, and goes before that."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def undo(self, record: Record) -> None:
        await self._pool.discard(record.id)


class MountedVolumes(Resource):
    """Volumes that it is the first to have are filled; those without a name go with it."""

    step = "volumes"

    def __init__(self, volumes: Volumes, bundle: Callable[[str], Bundle]) -> None:
        self._volumes = volumes
        self._bundle = bundle

    async def acquire(self, making: Making) -> None:
        record = making.record
        if record.rootfs:
            staging = str(self._bundle(record.id).root)
            root = root_mount(record.rootfs)
            await self._volumes.populate(record.resolved.mounts, root, staging)

    async def removed(self, container: Container, *, volumes: bool) -> None:
        if volumes or container.record.config.auto_remove:
            await self._volumes.remove_anonymous(container)

    async def sweep(self, known: set[str]) -> None:  # noqa: ARG002
        await self._volumes.sweep()


class Cgroup(Resource):
    """Its group: the kernel is asked about the limits when the container is made."""

    def __init__(self, placement: Placement, parents: Parents, setups: Setups) -> None:
        self._placement = placement
        self._parents = parents
        self._setups = setups

    async def acquire(self, making: Making) -> None:
        record = making.record
        if not self._setups.configure_ahead(record):  # else its zygote prepares meanwhile
            await self._setups.try_limits(record, is_step=making.image.is_step)

    def release(self, record: Record) -> None:
        self._placement.group(record.cgroup_path).remove()

    async def removed(self, container: Container, *, volumes: bool) -> None:  # noqa: ARG002
        self._parents.prune()


class Watched(Resource):
    """The kernel's announcements of its group: OOM kills, limits hit, pressure."""

    def __init__(self, watch: GroupWatch, group: Callable[[Container], Group]) -> None:
        self._watch = watch
        self._group = group

    def begin(self, container: Container) -> None:
        self._watch.begin(container, self._group(container), new=True)

    def resumed(self, container: Container) -> None:
        self._watch.resume(container, self._group(container))

    def ended(self, container: Container, ending: Ending) -> None:
        ending.oom = self._watch.end(container, self._group(container))


class RuntimeState(Resource):
    """Another runtime's state of it, where it has one; gone before its cgroup goes."""

    def __init__(self, runtimes: Runtimes) -> None:
        self._runtimes = runtimes

    async def left(self, container: Container) -> None:
        try:
            driver = self._runtimes.of(container)
            if driver is not None:
                await asyncio.to_thread(driver.delete, container.id)
        except CgagentError as e:
            log.warning("container %s: %s", container.name, e.message)


class Figures(Resource):
    """What has been sampled of it."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def forgotten(self, container_id: str) -> None:
        self._monitor.forget(container_id)
