"""A container as the engine remembers it: what was asked, and what became of it.

`Container` is the engine's live object; its `Record` is what the database keeps. A record is
replaced as a whole and saved before anybody is told.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from cgagent.engine import limits as limit_json
from cgagent.images import RootFs
from cgagent.runtime.spec import Volume

if TYPE_CHECKING:
    from cgagent.cgroups import Limits

Status = Literal["created", "running", "exited"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `create` was asked for, after the image's defaults were filled in."""

    image: str
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    working_dir: str = "/"
    user: str = ""
    hostname: str = ""
    network: Literal["none", "host"] = "none"
    volumes: tuple[Volume, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    auto_remove: bool = False
    stdin: bool = False
    stdin_once: bool = False
    stop_signal: str = "SIGTERM"
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the last start. Times are Unix nanoseconds."""

    status: Status = "created"
    pid: int | None = None
    started_ns: int | None = None
    finished_ns: int | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    error: str | None = None
    log_dropped_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    id: str
    name: str
    image_id: str
    created_ns: int
    cgroup_path: str
    rootfs: RootFs
    options: Options
    limits: Limits
    outcome: Outcome = Outcome()

    def to_document(self) -> str:
        """JSON for the database: everything but the columns of their own."""
        return json.dumps(
            {
                "cgroup_path": self.cgroup_path,
                "rootfs": asdict(self.rootfs),
                "options": asdict(self.options),
                "limits": limit_json.to_json(self.limits),
                "outcome": asdict(self.outcome),
            }
        )

    @classmethod
    def from_document(
        cls, *, id_: str, name: str, image_id: str, created_ns: int, document: str
    ) -> Record:
        value: dict[str, Any] = json.loads(document)
        options = value["options"]
        volumes = tuple(Volume(**v) for v in options.pop("volumes"))
        for key in ("args", "env"):
            options[key] = tuple(options[key])
        return cls(
            id=id_,
            name=name,
            image_id=image_id,
            created_ns=created_ns,
            cgroup_path=value["cgroup_path"],
            rootfs=RootFs(
                tuple(value["rootfs"]["lowers"]), value["rootfs"]["upper"], value["rootfs"]["work"]
            ),
            options=Options(volumes=volumes, **options),
            limits=limit_json.from_json(value["limits"]),
            outcome=Outcome(**value["outcome"]),
        )


class Container:
    """The live object. `lock` is held by whoever changes it; waiting needs no lock."""

    __slots__ = ("_changed", "lock", "record", "removed")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.lock = asyncio.Lock()
        self.removed = False
        self._changed: asyncio.Event = asyncio.Event()

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def running(self) -> bool:
        return self.record.outcome.status == "running"

    def with_outcome(self, **changes: Any) -> Record:
        """The record with parts of its outcome replaced; not yet kept."""
        return replace(self.record, outcome=replace(self.record.outcome, **changes))

    def notify(self) -> None:
        """Wake everybody who waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        await self._changed.wait()
