"""Create and rename: a container as a record with its files, before anything runs."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cgagent.engine import jobs
from cgagent.engine.containers.bundle import root_mount
from cgagent.engine.containers.container import Outcome, Record
from cgagent.engine.containers.names import check_name, new_id, random_name
from cgagent.engine.lifecycle.pool import PrewarmRequest
from cgagent.engine.lifecycle.shared import require_there
from cgagent.engine.options import limits, namespaces, systemd
from cgagent.engine.options import request as create
from cgagent.errors import ConflictError, UnsupportedError

if TYPE_CHECKING:
    from cgagent.cgroups import Limits
    from cgagent.engine.containers.container import Container, Options
    from cgagent.engine.lifecycle.pool import Rooted
    from cgagent.engine.lifecycle.setups import Setups
    from cgagent.engine.lifecycle.shared import Shared
    from cgagent.engine.options.logging import LogConfig
    from cgagent.engine.options.namespaces import Namespaces
    from cgagent.engine.options.request import Request
    from cgagent.images.image import Image

_MANY: Final = 500


class Creation:
    def __init__(self, shared: Shared, setups: Setups, log_default: LogConfig) -> None:
        self._shared = shared
        self._setups = setups
        self._log_default = log_default

    async def create(self, request: Request, *, of_run: bool = False) -> Container:
        """Make a container of an image; nothing runs yet.

        `of_run`: it is to be started at once, and if the agent dies before that and it was to
        remove itself, the next agent removes it.

        Raises:
            InvalidInputError, NoSuchImageError, ConflictError (name taken), NoSpaceError.
        """
        async with self._shared.jobs.run("create", image=request.image):
            jobs.step("resolve")
            name = self.choose_name(request.name)
            chosen = self._shared.runtimes.checked(request.runtime, image=request.image)
            request = replace(
                request,
                runtime=chosen,
                namespaces=self._with_ids(request.namespaces, chosen),
                cgroup_parent=self._parent(request.cgroup_parent),
            )
            image = self._shared.images.resolve(request.image)
            if await self._shared.images.complete(image):
                await self._shared.pool.discard_prepared_roots()  # they stand on what was lost
            held = limits.resolve(request.limits, request.conveniences)
            await self._shared.leftovers.make_room(self._shared.containers_dir.parent)
            reuse_key = create.reuse_key(request, image.id, held)
            container_id = (
                new_id()  # what is ready is below our own parent
                if request.cgroup_parent
                else await self._shared.pool.reserve(reuse_key)
            )
            prewarm = None
            try:
                options = self._options(request, image, container_id)
                async with self._shared.volumes.held(options.mounts):
                    container = await self._make(
                        container_id, name, image, options, held, of_run=of_run
                    )
                if self._setups.can_prewarm(container.record):
                    make = partial(self._prewarmed, request, image, held)
                    prewarm = PrewarmRequest(reuse_key=reuse_key, make=make)
            except BaseException:
                if self._shared.pool.is_ready(container_id):
                    await self._shared.pool.discard(container_id)
                raise
            finally:
                self._shared.pool.refill(prewarm)  # it may have been one of those kept ready
            return container

    def _options(self, request: Request, image: Image, container_id: str) -> Options:
        find = self._shared.containers.find
        options = create.options(request, image.config, container_id, find, self._log_default)
        systemd.require_possible(options, has_v1=self._shared.placement.has_v1)
        return options

    def _prewarmed(self, request: Request, image: Image, held: Limits, container_id: str) -> Rooted:
        """What the next container will be, if that is asked for as this one was."""
        options = self._options(request, image, container_id)
        rootfs = self._shared.images.prepare(image, container_id)
        try:
            return self._setups.rooted(
                self._record(
                    container_id, image, name="", options=options, limits=held, rootfs=rootfs
                )
            )
        except BaseException:
            self._shared.images.release(container_id)
            raise

    def _parent(self, asked: str) -> str:
        supervisor = self._shared.supervisor
        agents = (os.getpid(), supervisor.pid, supervisor.keeper_pid)
        return self._shared.parents.checked(asked, filter(None, agents))

    def _with_ids(self, asked: Namespaces, runtime: str) -> Namespaces:
        """With ids of the host's that no other container has, if it is to have a user namespace.

        Raises:
            UnsupportedError: another runtime is to make one.
        """
        mode = asked.user or self._shared.userns
        if mode != namespaces.AUTO:
            return replace(asked, user=mode)
        if runtime:
            raise UnsupportedError(f"--userns auto needs --runtime native, not {runtime}")
        taken = (c.record.options.namespaces.user_first_id for c in self._shared.containers)
        return replace(asked, user=namespaces.AUTO, user_first_id=namespaces.free_ids(taken))

    async def _make(
        self,
        container_id: str,
        name: str,
        image: Image,
        options: Options,
        held: Limits,
        *,
        of_run: bool,
    ) -> Container:
        bundle = self._shared.bundle(container_id)
        jobs.step("files")
        bundle.make(options)
        try:
            jobs.step("root")
            rootfs = self._shared.pool.take_root(container_id)
            if rootfs is None:
                rootfs = self._shared.images.prepare(image, container_id)
            jobs.step("volumes")
            await self._shared.volumes.populate(
                options.mounts, root_mount(rootfs), str(bundle.root)
            )
            record = self._record(
                container_id,
                image,
                name=name,
                options=options,
                limits=held,
                rootfs=rootfs,
                outcome=Outcome(of_run=of_run),
            )
            if not self._setups.ahead(record):  # else it goes on while we write the record
                await self._setups.try_limits(options.cgroup_parent, record.limits)
            jobs.step("record")
            return self._shared.containers.add(record, "create")
        except BaseException:
            await self._shared.pool.discard(container_id)  # it may have the root mounted
            self._shared.images.release(container_id)
            bundle.remove()
            raise

    def _record(self, container_id: str, image: Image, options: Options, **rest: Any) -> Record:
        return Record(
            id=container_id,
            image_id=image.id,
            created_ns=time.time_ns(),
            cgroup_path=self._shared.parents.below(options.cgroup_parent, container_id),
            options=options,
            **rest,
        )

    def choose_name(self, wanted: str | None) -> str:
        """The name wanted, or a free one.

        Raises:
            ConflictError: it is taken.
        """
        if wanted:
            if self._shared.containers.name_taken(check_name(wanted)):
                raise ConflictError(
                    f"container name {wanted!r} is taken; remove that container "
                    f"(cgagent rm {wanted}) or choose another name"
                )
            return wanted
        while self._shared.containers.name_taken(name := random_name()):
            if len(self._shared.containers) > _MANY:  # the names run out: make them longer
                return f"{name}_{time.time_ns():x}"
        return name

    async def rename(self, container: Container, name: str) -> None:
        """Call it something else, running or not.

        Raises:
            InvalidInputError: the name. ConflictError: it is taken, or was its name already.
        """
        async with self._shared.jobs.run("rename", container=container.id, to=name), container.lock:
            require_there(container)
            self._shared.containers.rename(container, self.choose_name(check_name(name)))
