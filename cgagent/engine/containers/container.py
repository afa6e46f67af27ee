"""A container as the engine remembers it: what was asked, and what became of it.

`Container` is the engine's live object; its `Record` is what the database keeps. A record is
replaced as a whole and saved before anybody is told.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from cgagent.engine.containers.codec import from_plain, to_plain
from cgagent.engine.containers.config import ContainerConfig, ResolvedConfig
from cgagent.engine.options import boosts, networking
from cgagent.engine.options import limits as limit_json
from cgagent.engine.options.health import Health
from cgagent.engine.options.overrides import LimitOverride, in_force
from cgagent.engine.options.restart import RestartState
from cgagent.errors import UnsupportedError
from cgagent.images.drivers import RootFs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.cgroups import Limits
    from cgagent.engine.options.namespaces import Namespaces

Status = Literal["created", "running", "restarting", "exited"]
Migration = Callable[[dict[str, Any]], dict[str, Any]]

VERSION: Final = 1
"""The version of the form that a record's document has."""
_MIGRATIONS: Final[Mapping[int, Migration]] = {}
"""A step brings a document from the form of its number to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """A container's hibernation: it is frozen, and woken by whatever comes for it."""

    since_ns: int
    by: str
    """``user`` has asked for it, or it was ``idle``."""
    hears_packets: bool
    """Whether a packet wakes it; else exec, attach, a thaw, and its time."""
    memory_before_bytes: int | None = None
    memory_after_bytes: int | None = None
    """When its memory had been taken back; None: it was not, or is being."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What a running container's earlier cgroups have counted, before it was moved out of them."""

    counters: dict[str, Any]
    """As `cgagent.metrics.carried` has them."""
    oom_kills: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the last start. Times are Unix nanoseconds."""

    status: Status = "created"
    of_run: bool = False
    """It was made to be started at once, by a request that has not come so far."""
    pid: int | None = None
    started_ns: int | None = None
    finished_ns: int | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    oom: dict[str, Any] | None = None
    """Whose limit was hit, how many were killed, usage and limit; `engine.observe.watch` has it."""
    oom_kills: int = 0
    """How many of its processes the kernel's OOM killer has ended, as far as that was told."""
    error: str | None = None
    log_dropped_bytes: int = 0
    frozen_since_ns: int | None = None
    thaw_at_ns: int | None = None
    """When a freeze ends by itself."""
    sleep: Sleep | None = None
    """It is frozen for hibernation, or is about to be."""
    health: Health | None = None
    """None: it has no check."""
    boost_until_ns: int | None = None
    """When the boost of this run ends at the latest; None: it has none."""
    earlier: Earlier | None = None
    """None: it has been in one cgroup since its start."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Outcome:
        """The inverse of `asdict`, after JSON."""
        health, sleep = value.get("health"), value.get("sleep")
        earlier = value.get("earlier")
        parts = {
            "health": None if health is None else Health.from_json(health),
            "sleep": None if sleep is None else Sleep(**sleep),
            "earlier": None if earlier is None else Earlier(**earlier),
        }
        return cls(**{**value, **parts})


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A process tree of the host that was brought in; see `cgagent.engine.lifecycle.adopt`."""

    pid: int
    start_ticks: int
    """Of the first process, from /proc/PID/stat."""
    origins: tuple[tuple[int, tuple[str, ...]], ...]
    """Each process's cgroup directories from before."""

    def is_alive(self) -> bool:
        """Does the pid still mean the process that was adopted?"""
        return start_ticks(self.pid) == self.start_ticks

    def send_signal(self, number: int) -> None:
        """To the first process, if it is still there."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.is_alive():
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)


def start_ticks(pid: int) -> int | None:
    """When a process began: with its pid, what names it for good. None: no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return int(f.read().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    id: str
    name: str
    image_id: str
    created_ns: int
    cgroup_path: str
    rootfs: RootFs | None
    adopted: Adopted | None = None
    config: ContainerConfig
    """The container as it was asked for."""
    resolved: ResolvedConfig
    limits: Limits
    """The limits that the user asked for, at the creation or in an update."""
    overrides: tuple[LimitOverride, ...] = ()
    """Limits that policies hold it to, the latest last."""
    limits_changed_ns: int | None = None
    """When an update or an override last changed them; None: they are as at the creation."""
    undo: tuple[tuple[str, str], ...] = ()
    """While an update is made: what puts the earlier limits back; see `Group.earlier`."""
    moving: str = ""
    """While it is moved: the path of the cgroup that it is not in, before or after that."""
    restart: RestartState = field(default_factory=RestartState)
    outcome: Outcome = Outcome()

    @property
    def limits_in_force(self) -> Limits:
        """The limits that the kernel is to hold."""
        return in_force(self.limits, self.overrides) if self.overrides else self.limits

    def boosted(self) -> Record:
        """As it is when a run begins: with the boost that it has asked for."""
        overrides = boosts.begun(self.config.boost, self.limits, self.overrides)
        return self if overrides == self.overrides else replace(self, overrides=overrides)

    def unboosted(self) -> Record:
        """As it is when no run of it is boosted."""
        overrides = boosts.ended(self.overrides)
        return self if overrides == self.overrides else replace(self, overrides=overrides)

    def boost_until_ns(self, started_ns: int) -> int | None:
        """When the boost of a run that began then ends at the latest; None: it has none."""
        return boosts.until_ns(self.config.boost, self.overrides, started_ns)

    @property
    def group_limits(self) -> Limits:
        """Those of them that are its cgroup's."""
        return limit_json.of_group(self.limits_in_force, priority=self._sends_by_the_host)

    @property
    def network_limits(self) -> Limits:
        """Those of them that are its network interfaces'."""
        return limit_json.of_network(self.limits_in_force, priority=not self._sends_by_the_host)

    @property
    def _sends_by_the_host(self) -> bool:
        return networking.mode(self.config) == networking.HOST

    def to_document(self, configs: str) -> str:
        """JSON for the database: everything but the columns of their own.

        `configs` is `configs_document` of ours: the largest part, and the same nearly all the
        container's life.
        """
        rest = json.dumps(
            {
                "version": VERSION,
                "cgroup_path": self.cgroup_path,
                "rootfs": self.rootfs and asdict(self.rootfs),
                "adopted": self.adopted and asdict(self.adopted),
                "limits": limit_json.to_json(self.limits),
                "overrides": [o.to_json() for o in self.overrides],
                "limits_changed_ns": self.limits_changed_ns,
                "undo": self.undo,
                "moving": self.moving,
                "restart": asdict(self.restart),
                "outcome": asdict(self.outcome),
            }
        )
        return f'{rest[:-1]}, "configs": {configs}}}'

    @classmethod
    def from_document(
        cls, *, id_: str, name: str, image_id: str, created_ns: int, document: str
    ) -> Record:
        """The inverse, also of what an earlier version has written.

        Raises:
            UnsupportedError: a later version has written it.
        """
        value = migrated(json.loads(document), f"container {name}")
        return cls(
            id=id_,
            name=name,
            image_id=image_id,
            created_ns=created_ns,
            cgroup_path=value["cgroup_path"],
            rootfs=_rootfs(value["rootfs"]),
            adopted=_adopted(value["adopted"]),
            config=from_plain(ContainerConfig, value["configs"]["asked"]),
            resolved=from_plain(ResolvedConfig, value["configs"]["resolved"]),
            limits=limit_json.from_json(value["limits"]),
            overrides=tuple(map(LimitOverride.from_json, value["overrides"])),
            limits_changed_ns=value["limits_changed_ns"],
            undo=tuple((path, text) for path, text in value["undo"]),
            moving=value.get("moving", ""),
            restart=RestartState(**value["restart"]),
            outcome=Outcome.from_json(value["outcome"]),
        )

    def configs_document(self) -> str:
        """The configuration as asked and as resolved, as JSON."""
        return json.dumps({"asked": to_plain(self.config), "resolved": to_plain(self.resolved)})


def migrated(
    value: dict[str, Any], what: str, steps: Mapping[int, Migration] = _MIGRATIONS
) -> dict[str, Any]:
    """A document in this version's form. Raises UnsupportedError: it is of a later one."""
    version = value["version"]
    if version > VERSION:
        raise UnsupportedError(
            f"{what}: a later version of cgagent has written its record (form {version}, this "
            f"version knows {VERSION}); start that version"
        )
    for number in range(version, VERSION):
        value = steps[number](value)
    return value


def _rootfs(value: dict[str, Any] | None) -> RootFs | None:
    if value is None:
        return None
    return RootFs(tuple(value["lowers"]), value["upper"], value["work"])


def _adopted(value: dict[str, Any] | None) -> Adopted | None:
    if value is None:
        return None
    origins = tuple((pid, tuple(directories)) for pid, directories in value["origins"])
    return Adopted(pid=value["pid"], start_ticks=value["start_ticks"], origins=origins)


class Container:
    """The live object. `lock` is held by whoever changes it; waiting needs no lock."""

    __slots__ = ("_changed", "_configs", "_kept", "lock", "record", "removed")

    def __init__(self, record: Record) -> None:
        self.record = record
        self._configs: tuple[ContainerConfig, ResolvedConfig, str] | None = None
        self.lock = asyncio.Lock()
        self.removed = False
        self._kept = 0
        self._changed: asyncio.Event = asyncio.Event()

    def document(self, record: Record) -> str:
        """Of a record of this container, for the database."""
        kept = self._configs
        if kept is None or kept[0] is not record.config or kept[1] is not record.resolved:
            kept = record.config, record.resolved, record.configs_document()
            self._configs = kept
        return record.to_document(kept[2])

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def namespaces(self) -> Namespaces:
        """As it was made with."""
        return self.record.resolved.namespaces

    @property
    def running(self) -> bool:
        return self.record.outcome.status == "running"

    @property
    def frozen(self) -> bool:
        """Whether its tasks are frozen, by us or, as was seen, by another program."""
        return self.running and self.record.outcome.frozen_since_ns is not None

    @property
    def freezing(self) -> bool:
        """Whether a freeze for a time has begun, and is not known to have come about."""
        outcome = self.record.outcome
        return self.running and outcome.thaw_at_ns is not None and outcome.frozen_since_ns is None

    @property
    def sleeps(self) -> bool:
        """Whether it hibernates, or is about to."""
        return self.running and self.record.outcome.sleep is not None

    @property
    def restarting(self) -> bool:
        """It has ended, and is to be started again at `record.restart.due_ns`."""
        return self.record.outcome.status == "restarting"

    @property
    def up(self) -> bool:
        """It runs or soon will."""
        return self.running or self.restarting

    @property
    def removes_itself(self) -> bool:
        """When it ends now."""
        return self.record.config.auto_remove and not self._kept

    @property
    def is_kept(self) -> bool:
        """It is being restarted: its end is not the end of it."""
        return self._kept > 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Its end in here is not the end of it."""
        self._kept += 1
        try:
            yield
        finally:
            self._kept -= 1

    def with_outcome(self, **changes: Any) -> Record:
        """The record with parts of its outcome replaced; not yet kept."""
        return replace(self.record, outcome=replace(self.record.outcome, **changes))

    def require_started_here(self, what: str) -> None:
        """Raises UnsupportedError for an adopted one: we have none of its streams or files."""
        if self.record.adopted is not None:
            raise UnsupportedError(
                f"container {self.name} was adopted, not started by cgagent: {what} is not possible"
            )

    def notify(self) -> None:
        """Wake everybody who waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        await self._changed.wait()
