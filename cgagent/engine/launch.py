"""Getting a container's first process ready: its cgroup, its namespaces, a zygote in both.

A few are kept ready ahead of time under ids that no container has yet; a new container takes one
of these ids, and its start finds the work done. On cgroup v1 that saves the 6 to 18 ms which the
kernel takes to move a task into a cgroup after an idle moment. Once its container is known, a
zygote can go on to set it up (`set_up`), and waits in the container's root for the start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.cgroups import CONTAINER_DEVICES
from cgagent.engine.bundle import Bundle
from cgagent.engine.names import new_id
from cgagent.engine.plan import etc_files
from cgagent.errors import CgagentError, NotFoundError
from cgagent.runtime import spec
from cgagent.runtime.oci.resources import device_rules
from cgagent.runtime.protocol import SET_UP, error_to_wire
from cgagent.runtime.spec import CgroupMount

if TYPE_CHECKING:
    from pathlib import Path

    from cgagent.cgroups import Group, Host, Limits
    from cgagent.engine.container import Options
    from cgagent.engine.watch import GroupWatch
    from cgagent.runtime.native import Supervisor

Namespaces = list[dict[str, Any]]

OUTSIDE: Final[Namespaces] = []
"""Of a zygote that becomes no container: it will call another runtime."""

POOL_SIZE: Final = 2
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


@dataclass(slots=True)
class _Ready:
    namespaces: Namespaces
    set_up: SetUp | None = None


class Launcher:
    """Owns cgroups and zygotes from before a container has them until it is started.

    And, for the ids that no container has yet, what their directories begin with.
    """

    def __init__(
        self,
        host: Host,
        supervisor: Supervisor,
        watch: GroupWatch,
        cgroup_parent: str,
        *,
        containers_dir: Path,
        stage_dir: Path,
    ) -> None:
        self._host = host
        self._supervisor = supervisor
        self._watch = watch
        self._parent = cgroup_parent.rstrip("/")
        self._containers_dir = containers_dir
        self._stage_dir = stage_dir
        self._ready: dict[str, _Ready] = {}  # by id
        self._pool: list[str] = []  # those in `_ready` that no container has
        self._in_use: set[str] = set()  # attached to or being started
        self._ending: dict[str, asyncio.Event] = {}  # being discarded
        self._refilling: asyncio.Task[None] | None = None
        self._closed = False
        self._cgroup_mounts: tuple[CgroupMount, ...] | None = None

    def group(self, path: str) -> Group:
        return self._host.group(path)

    def cgroup_path(self, container_id: str) -> str:
        return f"{self._parent}/{container_id}"

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

    async def reserve(self) -> str:
        """An id for a new container, with everything made ready if the pool has some."""
        if not self._pool:
            return new_id()
        idle = [i for i in self._ready if i not in self._pool and i not in self._in_use]
        container_id = self._pool.pop(0)
        if len(idle) >= _UNSTARTED_MAX:  # containers created and never started keep no process
            with contextlib.suppress(CgagentError):  # told when that one starts
                await self.discard(idle[0])
        return container_id

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
            group = self._host.group(self.cgroup_path(container_id))
            group.restrict_devices(device_rules(resources))

    async def _make(
        self,
        container_id: str,
        wanted: Namespaces,
        user_ids: tuple[int, int] | None = None,
        *,
        staged: bool = False,
    ) -> None:
        while container_id in self._ending:
            await self._ending[container_id].wait()
        if self.is_ready(container_id, wanted):
            return
        if container_id in self._ready:
            await self.discard(container_id)
        group = self._host.group(self.cgroup_path(container_id))
        group.create()
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
        except BaseException:  # a cancelled one may have been heard
            with contextlib.suppress(CgagentError):
                await self._end(container_id, group)
            raise
        self._watch.prepare(group)
        self._ready[container_id] = _Ready(wanted)

    def _stage(self, container_id: str, path: str) -> dict[str, Any]:
        """What most containers have the same is mounted now: see `cgagent.runtime.stage`."""
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

    async def discard(self, container_id: str, error: CgagentError | None = None) -> None:
        """Undo `prepare`. Clients attached already are told the error."""
        self._ready.pop(container_id, None)
        self._in_use.discard(container_id)
        group = self._host.group(self.cgroup_path(container_id))
        self._watch.forget(group)
        ended = self._ending[container_id] = asyncio.Event()
        try:
            await self._end(container_id, group, error)
        finally:
            ended.set()
            if self._ending.get(container_id) is ended:
                del self._ending[container_id]

    async def _end(
        self, container_id: str, group: Group, error: CgagentError | None = None
    ) -> None:
        told = {"error": error_to_wire(error)} if error else {}
        with contextlib.suppress(CgagentError):  # a lost supervisor took its zygotes along
            await self._supervisor.request("forget", key=container_id, status=told)

        def work() -> None:
            self._bundle(container_id).drop_ahead()
            with contextlib.suppress(NotFoundError):
                group.kill()  # a start given up too late, or one that outlived its supervisor
            group.remove()

        await asyncio.to_thread(work)

    def refill(self) -> None:
        """Top the pool up, in a moment: the container just asked for comes first."""
        if self._closed or (self._refilling is not None and not self._refilling.done()):
            return
        self._refilling = asyncio.create_task(self._refill())

    async def _refill(self) -> None:
        await asyncio.sleep(_REFILL_DELAY_S)
        while len(self._pool) < POOL_SIZE and not self._closed:
            container_id = new_id()
            try:
                await self._make(container_id, spec.namespaces(spec.OWN_NAMESPACES), staged=True)
            except CgagentError:
                return  # a start will meet the same cause and tell it to somebody
            self._pool.append(container_id)

    def forget_all(self) -> list[str]:
        """The supervisor is gone, and its zygotes with it; the ids they had cgroups under."""
        prepared = list(self._ready)
        self._pool.clear()
        self._ready.clear()
        self._in_use.clear()
        return prepared

    async def clean_up(self, ids: list[str]) -> None:
        """After zygotes that are gone, unless they have been made ready again."""
        for container_id in ids:
            if container_id not in self._ready:
                self._bundle(container_id).drop_ahead()
                with contextlib.suppress(CgagentError):  # in use: the next agent sweeps it
                    group = self._host.group(self.cgroup_path(container_id))
                    self._watch.forget(group)
                    await asyncio.to_thread(group.remove, _REMOVE_S)

    async def close(self) -> None:
        self._closed = True
        if self._refilling is not None:
            self._refilling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refilling
        for container_id in list(self._ready):
            await self.discard(container_id)
        self.forget_all()
