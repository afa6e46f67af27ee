"""Getting a container's first process ready: its cgroup, its namespaces, a zygote in both.

A few are kept ready ahead of time under ids that no container has yet; a new container takes one
of these ids, and its start finds the work done. On cgroup v1 that saves the 6 to 18 ms which the
kernel takes to move a task into a cgroup after an idle moment. Once its container is known, a
zygote can go on to set it up (`set_up`), and waits in the container's root for the start. One is
already in the root of the container that is expected next, which most often is like the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.cgroups import CONTAINER_DEVICES
from cgagent.engine.containers.bundle import Bundle
from cgagent.engine.containers.names import new_id
from cgagent.engine.options.plan import etc_files
from cgagent.errors import CgagentError, NotFoundError
from cgagent.images.concurrency import to_its_end
from cgagent.runtime import spec
from cgagent.runtime.protocol import ROOT, SET_UP, error_to_wire
from cgagent.runtime.spec import CgroupMount
from cgagent.runtime.spec.resources import device_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from cgagent.cgroups import Group, Host, Limits
    from cgagent.engine.containers.container import Options, Record
    from cgagent.engine.lifecycle.parents import Parents
    from cgagent.engine.observe.watch import GroupWatch
    from cgagent.images.drivers import RootFs
    from cgagent.runtime.client import Supervisor

log = logging.getLogger(__name__)

Namespaces = list[dict[str, Any]]

_OWN: Final[Namespaces] = spec.namespaces(spec.OWN_NAMESPACES)
OUTSIDE: Final[Namespaces] = []
"""Of a zygote that becomes no container: it will call another runtime."""

_READ_LATE: Final = frozenset({"args", "cwd", "env", "user"})
"""Of ``process`` in an OCI configuration; the directory not where it cannot be made any more."""
_PROCESS_MAX: Final = 32 * 1024
"""Characters: it goes with the job."""

POOL_SIZE: Final = 2
_PREWARMED_KINDS: Final = 2
_UNSTARTED_MAX: Final = 16
_REFILL_DELAY_S: Final = 0.08
_REMOVE_S: Final = 1.0


@dataclass(slots=True, kw_only=True)
class SetUp:
    """What a container is, from where its start goes on."""

    options: Options
    config: dict[str, Any]
    """The OCI configuration."""
    job: dict[str, Any]
    """What the zygote needs to know of it."""
    limits: Limits | None = None
    """That the group holds already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooted:
    """What a container to come is made of, as far as it is."""

    record: Record
    """What it will probably be. Its limits hold already, its files are there."""
    config: dict[str, Any]
    """Its OCI configuration, of which the root is made."""
    job: dict[str, Any]
    """What else the zygote needs to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrewarmRequest:
    """What the next container will probably be."""

    reuse_key: object
    """Whatever container has the same can have the root."""
    make: Callable[[str], Rooted]
    """Of its id. Raises CgagentError."""


def same_root(made: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Do two OCI configurations differ only in what is read when the container is there?"""
    return made is wanted or _of_the_root(made) == _of_the_root(wanted)


def _of_the_root(config: dict[str, Any]) -> dict[str, Any]:
    late = _READ_LATE - {"cwd"} if config["root"]["readonly"] else _READ_LATE
    process = {k: v for k, v in config["process"].items() if k not in late}
    return {**config, "process": process}


@dataclass(slots=True)
class _Ready:
    namespaces: Namespaces
    set_up: SetUp | None = None
    reuse_key: object = None
    rooted: Rooted | None = None
    """Its root was made of that, before there was a container."""


class Launcher:
    """Owns cgroups and zygotes from before a container has them until it is started.

    And, for the ids that no container has yet, what their directories begin with.
    """

    def __init__(
        self,
        host: Host,
        supervisor: Supervisor,
        watch: GroupWatch,
        parents: Parents,
        *,
        containers_dir: Path,
        stage_dir: Path,
        release_root: Callable[[str], None],
    ) -> None:
        self._host = host
        self._supervisor = supervisor
        self._watch = watch
        self._parents = parents
        self._containers_dir = containers_dir
        self._stage_dir = stage_dir
        self._release_root = release_root
        self._ready: dict[str, _Ready] = {}  # by id
        self._pool: list[str] = []  # those in `_ready` that no container has
        self._requested: list[PrewarmRequest] = []  # what is to be made yet
        self._next: list[str] = []  # those with a root, the one prewarmed last at the end
        self._roots: dict[str, RootFs] = {}  # by id: those that no container has taken
        self._in_use: set[str] = set()  # attached to or being started
        self._ending: dict[str, asyncio.Event] = {}  # being discarded
        self._refilling: asyncio.Task[None] | None = None
        self._closed = False
        self._cgroup_mounts: tuple[CgroupMount, ...] | None = None

    @property
    def has_v1(self) -> bool:
        """Whether the host mounts a hierarchy of cgroup v1."""
        return bool(self._host.v1_mounts)

    def group(self, path: str) -> Group:
        return self._host.group(path)

    def cgroup_mounts(self, path: str) -> tuple[CgroupMount, ...]:
        """The hierarchies a container sees: those its group is in, with it as the root of each.

        One it is not in would show it the host's groups. All groups made here are alike.
        """
        if self._cgroup_mounts is None:
            self._cgroup_mounts = self._mounts_of(path)
        return self._cgroup_mounts

    def _mounts_of(self, path: str) -> tuple[CgroupMount, ...]:
        by_mount: dict[str, list[str]] = {}
        for controller, place in self._host.placements.items():
            if place.version == 1 and os.path.isdir(place.mount + path):
                name = "blkio" if controller == "io" else controller
                by_mount.setdefault(place.mount, []).append(name)
        if not by_mount:
            return (CgroupMount(name="", version=2),)
        mounts = [
            CgroupMount(name=os.path.basename(mount), version=1, controllers=",".join(names))
            for mount, names in by_mount.items()
        ]
        if self._host.unified:
            mounts.append(CgroupMount(name="unified", version=2))
        return tuple(mounts)

    async def reserve(self, reuse_key: object) -> str:
        """An id for a new container, with everything made ready if there is some.

        A prewarmed one if its reuse key is that of `PrewarmRequest.reuse_key`.
        """
        kept = {*self._pool, *self._roots, *self._in_use}
        idle = [i for i in self._ready if i not in kept]
        if len(idle) >= _UNSTARTED_MAX:  # containers created and never started keep no process
            with contextlib.suppress(CgagentError):  # told when that one starts
                await self.discard(idle[0])
        container_id = self._next_like(reuse_key)
        if container_id is not None:
            self._next.remove(container_id)
            return container_id
        return self._pool.pop(0) if self._pool else new_id()

    def take_root(self, container_id: str) -> RootFs | None:
        """By the container that has the id: the files of its root, if that was made ahead.

        From now on they are released with the container, and no more with its zygote.
        """
        return self._roots.pop(container_id, None)

    def rooted(self, container_id: str) -> Rooted | None:
        """What its zygote's root was made of, if that was made ahead."""
        ready = self._ready.get(container_id)
        return ready.rooted if ready else None

    def root_fits(self, container_id: str, config: dict[str, Any]) -> bool:
        """Can its zygote, wherever it is, go on to what this OCI configuration says?"""
        made = self.rooted(container_id)
        if made is None:
            return True
        is_small = len(json.dumps(config["process"])) < _PROCESS_MAX
        return is_small and same_root(made.config, config)

    async def prepare(
        self, container_id: str, wanted: Namespaces, user_ids: tuple[int, int] | None = None
    ) -> None:
        """Make cgroup and zygote, unless they are there, to be used. On failure nothing is left.

        `wanted` is ``linux.namespaces`` of the container's OCI configuration, `user_ids` the
        (first, count) of a user namespace.
        """
        await self._make(container_id, wanted, user_ids)
        self._in_use.add(container_id)

    def restrict_devices(self, container_id: str, resources: dict[str, Any]) -> None:
        """To what ``linux.resources`` says, where that is not what every container has."""
        if resources.get("devices"):
            group = self._host.group(self._parents.path(container_id))
            group.restrict_devices(device_rules(resources))

    async def _make(
        self,
        container_id: str,
        wanted: Namespaces,
        user_ids: tuple[int, int] | None = None,
        *,
        staged: bool = False,
        prewarm: PrewarmRequest | None = None,
    ) -> None:
        while container_id in self._ending:
            await self._ending[container_id].wait()
        if self.is_ready(container_id, wanted):
            return
        if container_id in self._ready:
            await self.replace(container_id)
        group = self._host.group(self._parents.path(container_id))
        self._parents.make(group)
        rooted = None
        try:
            group.restrict_devices(CONTAINER_DEVICES)
            await self._supervisor.request(
                "create",
                key=container_id,
                namespaces=wanted,
                user_ids=user_ids,
                stage=self._stage(container_id, group.path) if staged else None,
                **({} if wanted == OUTSIDE else self.place(group)),
            )
            if prewarm:
                rooted = await self._make_root(group, container_id, prewarm)
        except BaseException as e:  # a cancelled one may have been heard
            with contextlib.suppress(CgagentError):
                await self._end(container_id, group, e if isinstance(e, CgagentError) else None)
            raise
        self._watch.prepare(group)
        reuse_key = prewarm.reuse_key if prewarm else None
        self._ready[container_id] = _Ready(wanted, reuse_key=reuse_key, rooted=rooted)

    async def _make_root(self, group: Group, container_id: str, prewarm: PrewarmRequest) -> Rooted:
        made = prewarm.make(container_id)
        if made.record.rootfs is not None:
            self._roots[container_id] = made.record.rootfs
        bundle = self._bundle(container_id)
        bundle.write_config_ahead(made.config)
        here = {"bundle": str(bundle.ahead), "root": str(bundle.ahead_root)}
        await self._supervisor.request(ROOT, key=container_id, **{**made.job, **here})
        group.apply(made.record.limits, new=True)
        return made

    def _stage(self, container_id: str, path: str) -> dict[str, Any]:
        """What most containers have the same is mounted now: see `runtime.container.stage`."""
        self._stage_dir.mkdir(mode=0o700, exist_ok=True)
        bundle = self._bundle(container_id)
        bundle.make_ahead()
        return {
            "directory": str(self._stage_dir),
            "config": spec.kernel_part(self.cgroup_mounts(path)),
            "sources": [
                {
                    "mount": spec.entry(point),
                    "now": str(bundle.ahead / os.path.basename(point.source)),
                }
                for point in etc_files(bundle.path)
            ],
        }

    def _bundle(self, container_id: str) -> Bundle:
        return Bundle(self._containers_dir, container_id)

    @staticmethod
    def place(group: Group) -> dict[str, Any]:
        """Where a zygote shall be, for the supervisor's ``create``."""
        return {"cgroup_dir": group.unified_dir(), "join_files": group.join_files()}

    def is_ready(self, container_id: str, wanted: Namespaces | None = None) -> bool:
        """Has it a zygote, in these namespaces?"""
        ready = self._ready.get(container_id)
        return ready is not None and (wanted is None or ready.namespaces == wanted)

    def set_up(self, container_id: str, what: SetUp, streams: dict[str, Any]) -> None:
        """Let the zygote of a container that is not to be started yet go on as far as it can."""
        self._ready[container_id].set_up = what
        self._supervisor.hint(SET_UP, key=container_id, **what.job, **streams)

    def set_up_of(self, container_id: str) -> SetUp | None:
        ready = self._ready.get(container_id)
        return ready.set_up if ready else None

    async def give_up(self, container_id: str) -> bool:
        """Its zygote, unless a client is attached or it is being started; whether it has none."""
        if container_id in self._in_use:
            return False
        if container_id in self._ready:
            await self.discard(container_id)
        return True

    def launched(self, container_id: str) -> None:
        """The zygote has become the container's first process."""
        self._ready.pop(container_id, None)
        self._in_use.discard(container_id)

    async def replace(self, container_id: str) -> None:
        """Undo `prepare`, which is to follow again. Clients that are attached stay, and wait."""
        await self._discard(container_id, None, keep_clients=True)

    async def discard(self, container_id: str, error: CgagentError | None = None) -> None:
        """Undo `prepare`. Clients attached already are told the error."""
        await self._discard(container_id, error)

    async def _discard(
        self, container_id: str, error: CgagentError | None, *, keep_clients: bool = False
    ) -> None:
        self._ready.pop(container_id, None)
        for kept in (self._pool, self._next):
            if container_id in kept:
                kept.remove(container_id)
        self._in_use.discard(container_id)
        group = self._host.group(self._parents.path(container_id))
        self._watch.forget(group)
        ended = self._ending[container_id] = asyncio.Event()
        try:
            await self._end(container_id, group, error, keep_clients=keep_clients)
        finally:
            ended.set()
            if self._ending.get(container_id) is ended:
                del self._ending[container_id]

    async def _end(
        self,
        container_id: str,
        group: Group,
        error: CgagentError | None = None,
        *,
        keep_clients: bool = False,
    ) -> None:
        told = {"error": error_to_wire(error)} if error else None
        how = {"status": told, "keep_clients": keep_clients}
        await to_its_end(self._end_all(container_id, group, how))

    async def _end_all(self, container_id: str, group: Group, how: dict[str, Any]) -> None:
        with contextlib.suppress(CgagentError):  # a lost supervisor took its zygotes along
            await self._supervisor.request("forget", key=container_id, **how)

        def work() -> None:
            try:
                with contextlib.suppress(NotFoundError):
                    group.kill()  # a start given up too late, or one that outlived its supervisor
                group.remove()
            finally:  # nobody has the root mounted any more
                self._drop_ahead(container_id)

        await asyncio.to_thread(work)
        self._parents.prune()

    def _drop_ahead(self, container_id: str) -> None:
        """The files that were made ahead, as far as no container has taken them."""
        self._bundle(container_id).drop_ahead()
        if self._roots.pop(container_id, None) is not None:
            self._release_root(container_id)

    def refill(self, prewarm: PrewarmRequest | None = None) -> None:
        """Top the pool up, in a moment: the container just asked for comes first."""
        if prewarm is not None and self._supervisor.knows(ROOT):
            others = [f for f in self._requested if f.reuse_key != prewarm.reuse_key]
            self._requested = [*others, prewarm][-_PREWARMED_KINDS:]
        if not self._closed and (self._refilling is None or self._refilling.done()):
            self._refilling = asyncio.create_task(self._refill())

    async def _refill(self) -> None:
        await asyncio.sleep(_REFILL_DELAY_S)
        with contextlib.suppress(CgagentError):  # a start will meet the cause and tell somebody
            while not self._closed:
                if len(self._pool) < POOL_SIZE:
                    container_id = new_id()
                    await self._make(container_id, _OWN, staged=True)
                    self._pool.append(container_id)
                elif self._requested:
                    await self._make_next(self._requested.pop(0))
                else:
                    return

    async def _make_next(self, prewarm: PrewarmRequest) -> None:
        container_id = self._next_like(prewarm.reuse_key)
        if container_id is None:
            while len(self._next) >= _PREWARMED_KINDS:
                await self.discard(self._next[0])
            container_id = new_id()
            await self._make(container_id, _OWN, staged=True, prewarm=prewarm)
        else:
            self._next.remove(container_id)
        self._next.append(container_id)

    def _next_like(self, reuse_key: object) -> str | None:
        return next((i for i in self._next if self._ready[i].reuse_key == reuse_key), None)

    async def discard_prepared_roots(self) -> None:
        """Nobody but containers has the layers of one mounted, until the next one is made."""
        await self._stop_refilling()
        self._requested.clear()
        await self._discard_all(self._next)
        self.refill()

    async def _discard_all(self, ids: Collection[str]) -> None:
        """Until there are none: one that is taken meanwhile is somebody's."""
        while ids:
            container_id = next(iter(ids))
            try:
                await self.discard(container_id)
            except CgagentError as e:  # the next agent sweeps it
                log.warning("what was made ahead as %s is left behind: %s", container_id, e.message)

    async def _stop_refilling(self) -> None:
        if self._refilling is not None:
            self._refilling.cancel()
            await asyncio.wait([self._refilling])

    def forget_all(self) -> list[str]:
        """The supervisor is gone, and its zygotes with it; the ids they had cgroups under."""
        prepared = list(self._ready)
        self._next.clear()
        self._pool.clear()
        self._ready.clear()
        self._in_use.clear()
        return prepared

    async def clean_up(self, ids: list[str]) -> None:
        """After zygotes that are gone, unless they have been made ready again."""
        for container_id in ids:
            if container_id not in self._ready:
                with contextlib.suppress(CgagentError):  # in use: the next agent sweeps it
                    self._drop_ahead(container_id)
                    group = self._host.group(self._parents.path(container_id))
                    self._watch.forget(group)
                    await asyncio.to_thread(group.remove, _REMOVE_S)
                    self._parents.prune()

    async def close(self) -> None:
        self._closed = True
        await self._stop_refilling()
        await self._discard_all(self._ready)
        self.forget_all()
