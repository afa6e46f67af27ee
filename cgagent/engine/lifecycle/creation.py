"""Create and rename: a container as a record with its files, before anything runs."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from cgagent.engine import jobs
from cgagent.engine.containers.container import Outcome, Record
from cgagent.engine.containers.names import check_name, new_id, random_name
from cgagent.engine.lifecycle.claims import Claims
from cgagent.engine.lifecycle.pool import PrewarmRequest
from cgagent.engine.lifecycle.resources import Making
from cgagent.engine.lifecycle.shared import require_there
from cgagent.engine.options import limits, namespaces, systemd
from cgagent.engine.options.platforms import require_platform, require_runnable
from cgagent.engine.options.resolve import Choices, canonical, resolve, reuse_key
from cgagent.errors import ConflictError, UnsupportedError

if TYPE_CHECKING:
    from cgagent.cgroups import Limits
    from cgagent.engine.containers.config import ContainerConfig, CreateRequest
    from cgagent.engine.containers.container import Container
    from cgagent.engine.lifecycle.pool import PrewarmedRoot
    from cgagent.engine.lifecycle.resources import Resources
    from cgagent.engine.lifecycle.setups import Setups
    from cgagent.engine.lifecycle.shared import Shared
    from cgagent.engine.options.logging import LogConfig
    from cgagent.images.image import Image

_TRIES: Final = 20
"""How often a random name is drawn before a longer one: there are some thousand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A request with all that a container is made of, and the next one like it."""

    config: ContainerConfig
    choices: Choices
    image: Image
    limits: Limits

    def reuse_key(self) -> object:
        return reuse_key(self.config, self.choices, self.image.id, self.limits)


class Creation:
    def __init__(
        self, shared: Shared, setups: Setups, resources: Resources, log_default: LogConfig
    ) -> None:
        self._shared = shared
        self._setups = setups
        self._resources = resources
        self._log_default = log_default
        self._names_of_those_made = Claims[str]()
        self._ids_of_those_made = Claims[int]()

    async def create(self, request: CreateRequest, *, of_run: bool = False) -> Container:
        """Make a container of an image; nothing runs yet.

        `of_run`: it is to be started at once, and if the agent dies before that and it was to
        remove itself, the next agent removes it.

        Raises:
            InvalidInputError, NoSuchImageError, ConflictError (name taken), NoSpaceError.
            DeniedError: the access policy does not let the caller have it.
        """
        async with self._shared.jobs.run("create", image=request.config.image):
            jobs.step("resolve")
            name = self.choose_name(request.name)
            held = limits.resolve(request.limits, request.conveniences)
            wanted = self._wanted(request, held)
            with (
                self._names_of_those_made.held(name),
                self._ids_of_those_made.held(wanted.choices.user_first_id),
            ):
                return await self._create(request, wanted, name, of_run=of_run)

    async def _create(
        self, request: CreateRequest, wanted: _Wanted, name: str, *, of_run: bool
    ) -> Container:
        key = wanted.reuse_key()
        if await self._shared.images.complete(wanted.image):
            await self._shared.pool.discard_prewarmed()  # they stand on what was lost
        await self._shared.leftovers.make_room(self._shared.containers_dir.parent)
        container_id = (
            new_id()  # what is ready is below our own parent
            if wanted.choices.cgroup_parent
            else await self._shared.pool.reserve(key, wanted.choices.network)
        )
        prewarm = None
        try:
            record = self._record(container_id, wanted, name=name)
            record = replace(record, outcome=Outcome(of_run=of_run))
            self._shared.jobs.require_permitted_container(_judged(record, request))
            async with self._shared.volumes.held(record.resolved.mounts):
                container = await self._make(Making(record, wanted.image))
            if request.step is not None and request.step.secrets:
                self._shared.secrets[container.id] = request.step.secrets
            if request.step is None and self._setups.can_prewarm(container.record):
                make = partial(self._prewarmed, wanted)
                prewarm = PrewarmRequest(reuse_key=key, network=wanted.choices.network, make=make)
        except BaseException:
            if self._shared.pool.is_ready(container_id):
                await self._shared.pool.discard(container_id)
            raise
        finally:
            self._shared.pool.refill(prewarm)  # it may have been one of those kept ready
        return container

    def _wanted(self, request: CreateRequest, held: Limits) -> _Wanted:
        """The request, completed by what the agent decides: runtime, cgroup parent, ids, log."""
        config, platform, step = request.config, request.platform, request.step
        runtime = self._shared.runtimes.checked(config.runtime, image=config.image)
        user_mode = config.userns or self._shared.userns
        image = step.image if step else self._shared.images.resolve(config.image)
        if step:
            config = replace(config, mounts=(*config.mounts, *step.mounts))
        if platform:
            require_platform(image, config.image, platform)
        require_runnable(image)
        asked = canonical(config)
        return _Wanted(
            config=asked,
            choices=Choices(
                runtime=runtime,
                cgroup_parent=self._parent(config),
                user_mode=user_mode,
                user_first_id=self._free_ids(runtime) if user_mode == namespaces.AUTO else 0,
                network=self._shared.networks.endpoints.kind(asked),
                log_default=self._log_default,
            ),
            image=image,
            limits=held,
        )

    def _prewarmed(self, wanted: _Wanted, container_id: str) -> PrewarmedRoot:
        """Make root and configuration of a container that will probably be asked for like this."""
        record = self._record(container_id, wanted, name="")
        limit = wanted.config.root_limit_bytes
        rootfs = self._shared.images.prepare(wanted.image, container_id, limit)
        try:
            return self._setups.rooted(replace(record, rootfs=rootfs))
        except BaseException:
            self._shared.images.release(container_id)
            raise

    def _parent(self, config: ContainerConfig) -> str:
        """The path of the cgroup that it is to be below; empty: the agent's own."""
        asked, groups = config.cgroup_parent, self._shared.groups
        if config.group:
            if asked:
                raise ConflictError("a group and a cgroup parent exclude each other; give one")
            path = groups.path(groups.find(config.group).name)
            groups.require_room(f"{path}/new")
            return path
        supervisor = self._shared.supervisor
        agents = (os.getpid(), supervisor.pid, supervisor.keeper_pid)
        return self._shared.parents.checked(asked, filter(None, agents))

    def _free_ids(self, runtime: str) -> int:
        """Ids of the host's that no other container has.

        Raises:
            UnsupportedError: another runtime is to make the user namespace.
        """
        if runtime:
            raise UnsupportedError(f"--userns auto needs --runtime native, not {runtime}")
        kept = (c.record.resolved.namespaces.user_first_id for c in self._shared.containers)
        return namespaces.free_ids({*kept, *self._ids_of_those_made})

    def _record(self, container_id: str, wanted: _Wanted, *, name: str) -> Record:
        """Without a root so far. Raises CgagentError: what was asked for cannot be."""
        find = self._shared.containers.find
        resolved = resolve(wanted.config, wanted.choices, wanted.image.config, container_id, find)
        resolved = replace(resolved, is_step=wanted.image.is_step)
        has_v1 = self._shared.placement.has_v1
        systemd.require_possible(wanted.config, resolved, has_v1=has_v1)
        return Record(
            id=container_id,
            name=name,
            image_id=wanted.image.id,
            created_ns=time.time_ns(),
            cgroup_path=self._shared.parents.below(resolved.cgroup_parent, container_id),
            rootfs=None,
            config=wanted.config,
            resolved=resolved,
            limits=wanted.limits,
        )

    async def _make(self, making: Making) -> Container:
        await self._resources.acquire(making)
        try:
            jobs.step("record")
            record, groups = making.record, self._shared.groups
            if record.config.group:  # it may have gone, or others may have come, meanwhile
                groups.find(record.config.group)
            groups.require_room(record.cgroup_path)
            return self._shared.containers.add(record, "create")
        except BaseException:
            await self._resources.undo(making.record)
            raise

    def choose_name(self, wanted: str | None) -> str:
        """The name wanted, or a free one.

        Raises:
            ConflictError: it is taken.
        """
        if wanted:
            if self._is_taken(check_name(wanted)):
                raise ConflictError(
                    f"container name {wanted!r} is taken; remove that container "
                    f"(cgagent rm {wanted}) or choose another name"
                )
            return wanted
        drawn = (random_name() for _ in range(_TRIES))
        free = next((name for name in drawn if not self._is_taken(name)), None)
        return free or f"{random_name()}_{time.time_ns():x}"

    def _is_taken(self, name: str) -> bool:
        return name in self._names_of_those_made or self._shared.containers.name_taken(name)

    async def rename(self, container: Container, name: str) -> None:
        """Call it something else, running or not.

        Raises:
            InvalidInputError: the name. ConflictError: it is taken, or was its name already.
        """
        async with self._shared.jobs.run("rename", container=container.id, to=name), container.lock:
            require_there(container)
            self._shared.containers.rename(container, self.choose_name(check_name(name)))
            await self._resources.renamed(container)


def _judged(record: Record, request: CreateRequest) -> Record:
    """What its caller has to be permitted: of a build's step, without the build's own files."""
    if request.step is None:
        return record
    return replace(record, resolved=replace(record.resolved, mounts=()))
