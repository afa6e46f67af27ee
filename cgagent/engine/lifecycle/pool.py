"""Getting a container's first process ready: its cgroup, its namespaces, a zygote in both.

A few are kept ready ahead of time under ids that no container has yet; a new container takes one
of these ids, and its start finds the work done. On cgroup v1 that saves the 6 to 18 ms which the
kernel takes to move a task into a cgroup after an idle moment. Once its container is known, a
zygote can go on to set it up (`prepare`), and waits in the container's root for the start. One is
already in the root of the container that is expected next, which most often is like the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from cgagent.cgroups import CONTAINER_DEVICES
from cgagent.concurrency import to_its_end
from cgagent.engine.containers.bundle import Bundle
from cgagent.engine.containers.names import new_id
from cgagent.engine.options.plan import etc_files
from cgagent.errors import CgagentError, NotFoundError
from cgagent.runtime import spec
from cgagent.runtime.messages.agent import BindSource, Create, Forget, KernelMounts, Pid, Prepare
from cgagent.runtime.messages.outcomes import Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator
    from pathlib import Path

    from cgagent.cgroups import Group, Limits
    from cgagent.engine.containers.config import ResolvedConfig
    from cgagent.engine.containers.container import Record
    from cgagent.engine.lifecycle.placement import Placement
    from cgagent.engine.observe.watch import GroupWatch
    from cgagent.images.drivers import RootFs
    from cgagent.runtime.client import Supervisor
    from cgagent.runtime.messages.jobs import ContainerJob, Streams

log = logging.getLogger(__name__)

Namespaces = list[dict[str, Any]]

OWN: Final[Namespaces] = spec.namespaces(spec.OWN_NAMESPACES)
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
class Configured:
    """What a container's zygote was set up with: its start goes on from there."""

    resolved: ResolvedConfig
    config: dict[str, Any]
    """The OCI configuration."""
    job: ContainerJob
    """What the zygote needs to know of it."""
    limits: Limits | None = None
    """That the group holds already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrewarmedRoot:
    """Record, configuration and job that a prewarmed root was made of."""

    record: Record
    """What it will probably be. Its limits hold already, its files are there."""
    config: dict[str, Any]
    """Its OCI configuration, of which the root is made."""
    job: ContainerJob
    """What else the zygote needs to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrewarmRequest:
    """What the next container will probably be."""

    reuse_key: object
    """Whatever container has the same can have the root."""
    network: str
    """The id of the network that it has a place in; empty: none."""
    make: Callable[[str], PrewarmedRoot]
    """Of its id. Raises CgagentError."""


def same_root(made: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Do two OCI configurations differ only in what is read when the container is there?"""
    return made is wanted or _of_the_root(made) == _of_the_root(wanted)


def _of_the_root(config: dict[str, Any]) -> dict[str, Any]:
    late = _READ_LATE - {"cwd"} if config["root"]["readonly"] else _READ_LATE
    process = {k: v for k, v in config["process"].items() if k not in late}
    return {**config, "process": process}


class Places(Protocol):
    """Containers' places in networks, by their ids; see `cgagent.engine.networks.endpoints`."""

    def reserve_ahead(self, container_id: str, network_id: str) -> None: ...
    def is_ahead(self, container_id: str) -> bool: ...
    async def attach(self, container_id: str, pid: int) -> None: ...
    def detach(self, container_id: str) -> None: ...
    def forget(self, container_id: str) -> None: ...


class State(enum.Enum):
    """What a slot is at the moment; in all but the last it has a cgroup and a zygote.

    ::

        SPAWNED ──┐ reserve           make_ready          launched
                  ├────────> RESERVED ────────> ATTACHED ──────────> (the container's own)
        PREWARMED ┘             │                  │
           │                    │ discard          │ discard
           └────────────────────┴──────────────────┴──> ENDING ──> (gone)
    """

    SPAWNED = "spawned"
    """It is kept ready, under an id that no container has."""
    PREWARMED = "prewarmed"
    """It is prewarmed: its root is made, too, and no container has its id."""
    RESERVED = "reserved"
    """A container has its id."""
    ATTACHED = "attached"
    """A client is attached to it, or it is being started."""
    ENDING = "ending"
    """It is being discarded."""


@dataclass(slots=True)
class Slot:
    """One id with what was made ready for it."""

    id: str
    namespaces: Namespaces
    state: State = State.RESERVED
    pid: int = 0
    """The zygote's process id."""
    network: str = ""
    """The id of the network that it has a place in ahead of its container."""
    configured: Configured | None = None
    reuse_key: object = None
    rooted: PrewarmedRoot | None = None
    """What its root was made of, before there was a container."""
    rootfs: RootFs | None = None
    """The files of that root, until a container takes them."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Pool:
    """Owns cgroups and zygotes from before a container has them until it is started.

    And, for the ids that no container has yet, what their directories begin with.
    """

    def __init__(
        self,
        placement: Placement,
        supervisor: Supervisor,
        watch: GroupWatch,
        *,
        containers_dir: Path,
        stage_dir: Path,
        release_root: Callable[[str], None],
        places: Places,
    ) -> None:
        self._placement = placement
        self._supervisor = supervisor
        self._watch = watch
        self._containers_dir = containers_dir
        self._stage_dir = stage_dir
        self._release_root = release_root
        self._places = places
        self._network = ""
        self._slots: dict[str, Slot] = {}  # by id; what is prewarmed in the order of its requests
        self._making: set[str] = set()  # ids of slots to come
        self._requested: list[PrewarmRequest] = []  # what is to be made yet
        self._refilling: asyncio.Task[None] | None = None
        self._preparing: set[asyncio.Task[None]] = set()
        self._closed = False

    def _in(self, state: State) -> list[Slot]:
        return [slot for slot in self._slots.values() if slot.state is state]

    def _slot(self, container_id: str) -> Slot | None:
        """What is ready for a container; None too while it is being discarded."""
        slot = self._slots.get(container_id)
        return None if slot is None or slot.state is State.ENDING else slot

    def expect(self, network: str) -> None:
        """Zygotes that are made from now on have a place in this network; empty: in none."""
        self._network = network

    async def reserve(self, reuse_key: object, network: str = "") -> str:
        """An id for a new container, with everything made ready if there is some.

        A prewarmed one is taken where its request had the same reuse key, and one that is only
        spawned where it has a place in this network, or none if that is empty.
        """
        self.expect(network)
        idle = [slot for slot in self._in(State.RESERVED) if slot.rootfs is None]
        if len(idle) >= _UNSTARTED_MAX:  # containers created and never started keep no process
            with contextlib.suppress(CgagentError):  # told when that one starts
                await self.discard(idle[0].id)
        spawned = (s for s in self._in(State.SPAWNED) if s.network == network)
        slot = self._prewarmed(reuse_key) or next(spawned, None)
        if slot is None:
            return new_id()
        slot.state = State.RESERVED
        return slot.id

    def take_root(self, container_id: str) -> RootFs | None:
        """By the container that has the id: the files of its root, if that was made ahead.

        From now on they are released with the container, and no more with its slot.
        """
        slot = self._slots.get(container_id)
        if slot is None:
            return None
        rootfs, slot.rootfs = slot.rootfs, None
        return rootfs

    def rooted(self, container_id: str) -> PrewarmedRoot | None:
        """What its zygote's root was made of, if that was made ahead."""
        slot = self._slot(container_id)
        return slot.rooted if slot else None

    def root_fits(self, container_id: str, config: dict[str, Any]) -> bool:
        """Can its zygote, wherever it is, go on to what this OCI configuration says?"""
        made = self.rooted(container_id)
        if made is None:
            return True
        is_small = len(json.dumps(config["process"])) < _PROCESS_MAX
        return is_small and same_root(made.config, config)

    async def make_ready(
        self, container_id: str, wanted: Namespaces, user_ids: tuple[int, int] | None = None
    ) -> None:
        """Make cgroup and zygote, unless they are there, to be used. On failure nothing is left.

        `wanted` is ``linux.namespaces`` of the container's OCI configuration, `user_ids` the
        (first, count) of a user namespace.
        """
        slot = await self._make(container_id, wanted, user_ids)
        slot.state = State.ATTACHED

    async def _make(
        self,
        container_id: str,
        wanted: Namespaces,
        user_ids: tuple[int, int] | None = None,
        *,
        staged: bool = False,
        prewarm: PrewarmRequest | None = None,
        network: str = "",
    ) -> Slot:
        while (there := self._slots.get(container_id)) and there.state is State.ENDING:
            await there.ended.wait()
        if there is not None and there.namespaces == wanted:
            return there
        if there is not None:
            await self.replace(container_id)
        slot = Slot(container_id, wanted)
        group = self._placement.of(container_id)
        self._placement.make(group)
        self._making.add(container_id)
        try:
            group.restrict_devices(CONTAINER_DEVICES)
            is_outside = wanted == OUTSIDE
            made = await self._supervisor.request(
                Create(
                    key=container_id,
                    namespaces=tuple(wanted),
                    cgroup_dir=None if is_outside else group.unified_dir(),
                    join_files=() if is_outside else group.join_files(),
                    user_ids=user_ids,
                    mounts=self._kernel_mounts(container_id, group.path) if staged else None,
                )
            )
            slot.pid = made.pid
            if network:
                await self._attach(slot, network)
            if prewarm:
                await self._make_root(slot, group, prewarm)
        except BaseException as e:  # a cancelled one may have been heard
            if network:
                self._places.forget(slot.id)
            with contextlib.suppress(CgagentError):
                await self._end(slot, group, e if isinstance(e, CgagentError) else None)
            raise
        finally:
            self._making.discard(container_id)
        self._watch.prepare(group)
        self._slots[container_id] = slot
        return slot

    async def _attach(self, slot: Slot, network: str) -> None:
        """Give it a place in the network; its container says whether that suits."""
        self._places.reserve_ahead(slot.id, network)
        await self._places.attach(slot.id, slot.pid)
        slot.network = network

    def _leave(self, slot: Slot) -> None:
        """Its links go with its namespace; its places, too, unless a container has taken them."""
        if self._places.is_ahead(slot.id):
            self._places.forget(slot.id)
        else:
            self._places.detach(slot.id)

    def pid(self, container_id: str) -> int:
        """Return the process id of a container's zygote."""
        return self._slots[container_id].pid

    async def _make_root(self, slot: Slot, group: Group, prewarm: PrewarmRequest) -> None:
        made = prewarm.make(slot.id)
        slot.rootfs = made.record.rootfs
        bundle = self._bundle(slot.id)
        bundle.write_config_ahead(made.config)
        here = made.job.replace(bundle=str(bundle.ahead), root=str(bundle.ahead_root))
        await self._supervisor.request(Prepare(key=slot.id, job=here))
        group.apply(made.record.group_limits, new=True)
        slot.rooted, slot.reuse_key = made, prewarm.reuse_key

    def _kernel_mounts(self, container_id: str, path: str) -> KernelMounts:
        """What most containers have the same is mounted now: see `runtime.container.stage`."""
        self._stage_dir.mkdir(mode=0o700, exist_ok=True)
        bundle = self._bundle(container_id)
        bundle.make_ahead()
        return KernelMounts(
            directory=str(self._stage_dir),
            config=spec.kernel_part(self._placement.mounts(path)),
            sources=tuple(
                BindSource(
                    mount=spec.entry(point),
                    now=str(bundle.ahead / os.path.basename(point.source)),
                )
                for point in etc_files(bundle.path)
            ),
        )

    def _bundle(self, container_id: str) -> Bundle:
        return Bundle(self._containers_dir, container_id)

    def is_ready(self, container_id: str, wanted: Namespaces | None = None) -> bool:
        """Has it a zygote, in these namespaces?"""
        slot = self._slot(container_id)
        return slot is not None and (wanted is None or slot.namespaces == wanted)

    def prepare(self, container_id: str, what: Configured, streams: Streams) -> None:
        """Let the zygote of a container that is not to be started yet go on as far as it can.

        It is asked now, and nobody waits for the answer: the start may be asked meanwhile.
        """
        slot = self._slots[container_id]
        slot.configured = what
        asked = Prepare(key=container_id, job=what.job, streams=streams)
        answer = self._supervisor.request(asked, limit_s=None)
        task = asyncio.create_task(self._heed(slot, answer))
        self._preparing.add(task)
        task.add_done_callback(self._preparing.discard)

    async def _heed(self, slot: Slot, answer: Awaitable[Pid]) -> None:
        """A zygote that could not be set up has ended; a start of it meets the cause and tells."""
        try:
            await answer
        except CgagentError:
            if self._slots.get(slot.id) is slot and slot.state is not State.ATTACHED:
                with contextlib.suppress(CgagentError):  # told when it is started
                    await self.discard(slot.id)

    def configured(self, container_id: str) -> Configured | None:
        slot = self._slot(container_id)
        return slot.configured if slot else None

    async def give_up(self, container_id: str) -> bool:
        """Its zygote, unless a client is attached or it is being started; whether it has none."""
        slot = self._slot(container_id)
        if slot is not None and slot.state is State.ATTACHED:
            return False
        if slot is not None:
            await self.discard(container_id)
        return True

    def launched(self, container_id: str) -> None:
        """The zygote has become the container's first process."""
        self._slots.pop(container_id, None)

    async def replace(self, container_id: str) -> None:
        """Undo `make_ready`, which is to follow again. Clients that are attached stay, and wait."""
        await self.discard(container_id, keep_clients=True)

    async def discard(
        self, container_id: str, error: CgagentError | None = None, *, keep_clients: bool = False
    ) -> None:
        """Undo `make_ready`, or end what was made ahead.

        Clients that are attached already are told the error. It may be of an id of which nothing is
        known here: its group goes.
        """
        slot = self._slots.setdefault(container_id, Slot(container_id, OUTSIDE))
        if slot.state is State.ENDING:
            await slot.ended.wait()
            return
        self._leave(slot)
        with self._ending(slot):
            group = self._placement.of(container_id)
            self._watch.forget(group)
            await self._end(slot, group, error, keep_clients=keep_clients)

    @contextlib.contextmanager
    def _ending(self, slot: Slot) -> Iterator[None]:
        """Hold the slot in state ENDING during the block: `_make` for its id waits until then."""
        slot.state = State.ENDING
        self._slots[slot.id] = slot
        try:
            yield
        finally:
            slot.ended.set()
            self._slots.pop(slot.id, None)

    async def _end(
        self,
        slot: Slot,
        group: Group,
        error: CgagentError | None = None,
        *,
        keep_clients: bool = False,
    ) -> None:
        told = Status.of_failure(error) if error else None
        forget = Forget(key=slot.id, status=told, keep_clients=keep_clients)
        await to_its_end(self._end_all(slot, group, forget))

    async def _end_all(self, slot: Slot, group: Group, forget: Forget) -> None:
        with contextlib.suppress(CgagentError):  # a lost supervisor took its zygotes along
            await self._supervisor.request(forget)

        def work() -> None:
            try:
                with contextlib.suppress(NotFoundError):
                    group.kill()  # a start given up too late, or one that outlived its supervisor
                group.remove()
            finally:  # nobody has the root mounted any more
                self._drop_ahead(slot)

        await asyncio.to_thread(work)
        self._placement.prune()

    def _drop_ahead(self, slot: Slot) -> None:
        """The files that were made ahead, as far as no container has taken them."""
        self._bundle(slot.id).drop_ahead()
        rootfs, slot.rootfs = slot.rootfs, None
        if rootfs is not None:
            self._release_root(slot.id)

    def refill(self, prewarm: PrewarmRequest | None = None) -> None:
        """Top the pool up, in a moment: the container just asked for comes first."""
        if prewarm is not None:
            others = [f for f in self._requested if f.reuse_key != prewarm.reuse_key]
            self._requested = [*others, prewarm][-_PREWARMED_KINDS:]
        if not self._closed and (self._refilling is None or self._refilling.done()):
            self._refilling = asyncio.create_task(self._refill())

    async def _refill(self) -> None:
        await asyncio.sleep(_REFILL_DELAY_S)
        with contextlib.suppress(CgagentError):  # a start will meet the cause and tell somebody
            while not self._closed:
                spawned = self._in(State.SPAWNED)
                others = [slot for slot in spawned if slot.network != self._network]
                if others:
                    await self.discard(others[0].id)
                elif len(spawned) < POOL_SIZE:
                    slot = await self._make(new_id(), OWN, staged=True, network=self._network)
                    slot.state = State.SPAWNED
                elif self._requested:
                    await self._prewarm(self._requested.pop(0))
                else:
                    return

    async def _prewarm(self, request: PrewarmRequest) -> None:
        slot = self._prewarmed(request.reuse_key)
        if slot is not None:
            self._slots[slot.id] = self._slots.pop(slot.id)  # the last to be given up
            return
        while len(there := self._in(State.PREWARMED)) >= _PREWARMED_KINDS:
            await self.discard(there[0].id)
        slot = await self._make(
            new_id(), OWN, staged=True, prewarm=request, network=request.network
        )
        slot.state = State.PREWARMED

    def _prewarmed(self, reuse_key: object) -> Slot | None:
        return next((s for s in self._in(State.PREWARMED) if s.reuse_key == reuse_key), None)

    async def leave(self, network: str) -> None:
        """Discard the zygotes of containers to come that have a place in this network."""
        await self._stop_refilling()
        if self._network == network:
            self.expect("")
        self._requested = [r for r in self._requested if r.network != network]
        for slot in list(self._slots.values()):
            if slot.network == network and slot.state in {State.SPAWNED, State.PREWARMED}:
                await self.discard(slot.id)
        self.refill()

    async def discard_prewarmed(self) -> None:
        """Nobody but containers has the layers of one mounted, until the next one is made."""
        await self._stop_refilling()
        self._requested.clear()
        await self._discard_all({State.PREWARMED})
        self.refill()

    async def _discard_all(self, states: Collection[State]) -> None:
        """Until there are none: one that is taken meanwhile is somebody's."""
        while ids := [slot.id for slot in self._slots.values() if slot.state in states]:
            try:
                await self.discard(ids[0])
            except CgagentError as e:  # the next agent sweeps it
                log.warning("what was made ahead as %s is left behind: %s", ids[0], e.message)

    async def _stop_refilling(self) -> None:
        if self._refilling is not None:
            self._refilling.cancel()
            await asyncio.wait([self._refilling])

    def forget_all(self) -> list[Slot]:
        """The supervisor is gone, and its zygotes with it; what there was, for `clean_up`."""
        lost = [slot for slot in self._slots.values() if slot.state is not State.ENDING]
        for slot in lost:
            self._leave(slot)
            del self._slots[slot.id]
        return lost

    async def clean_up(self, lost: list[Slot]) -> None:
        """After zygotes that are gone, unless they have been made ready again.

        What is just made ahead may be lost, too, with nobody to say so: it ends here.
        """
        await self._stop_refilling()
        for slot in lost:
            if slot.id in self._slots or slot.id in self._making:
                continue
            with self._ending(slot), contextlib.suppress(CgagentError):  # the next agent sweeps it
                self._drop_ahead(slot)
                group = self._placement.of(slot.id)
                self._watch.forget(group)
                await asyncio.to_thread(group.remove, _REMOVE_S)
                self._placement.prune()

    async def close(self) -> None:
        self._closed = True
        await self._stop_refilling()
        await self._discard_all(set(State) - {State.ENDING})
        self.forget_all()
        for task in self._preparing:
            task.cancel()
