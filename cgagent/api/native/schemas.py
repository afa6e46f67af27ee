"""What goes over the wire: requests checked, answers shaped. Times are Unix nanoseconds."""

from __future__ import annotations

import time
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cgagent.api.native.numbers import FreezeSeconds
from cgagent.engine.containers.codec import to_plain
from cgagent.engine.containers.container import Outcome
from cgagent.engine.options import limits as limit_json
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.overrides import LimitOverride, require_foreign
from cgagent.engine.options.restart import RestartPolicy
from cgagent.engine.options.wishes import Wishes
from cgagent.engine.values import Process

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.containers.container import Container, Record
    from cgagent.engine.events import Event
    from cgagent.engine.jobs import Job
    from cgagent.engine.lifecycle.control import Control
    from cgagent.engine.sessions.streams import Exec
    from cgagent.engine.values import Image, Limits, Report
    from cgagent.engine.volumes import Volume

_SHOWN: Final = tuple(f.name for f in fields(Outcome) if f.name not in {"of_run", "earlier"})

Bytes = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=-1)]
Max = Literal["max"]
_NONE_AT_ALL: Final = frozenset({"memory_swap_max_bytes", "memory_zswap_max_bytes"})
"""A 0 is a limit in these fields: it allows nothing at all, as it does for huge pages."""


class Strict(BaseModel):
    """An unknown field is an error: a limit is never ignored silently."""

    model_config = ConfigDict(extra="forbid")


class IoMaxBody(Strict):
    major: int
    minor: int
    rbps: Bytes | Max | None = None
    wbps: Bytes | Max | None = None
    riops: Bytes | Max | None = None
    wiops: Bytes | Max | None = None

    @field_validator("rbps", "wbps", "riops", "wiops")
    @classmethod
    def _zero_is_no_limit(cls, value: int | str | None) -> int | str | None:
        return "max" if value == 0 else value


class IoWeightBody(Strict):
    major: int
    minor: int
    weight: int | None = None


class IoLatencyBody(Strict):
    major: int
    minor: int
    target_us: Annotated[int, Field(ge=1)] | Max


class LimitsBody(Strict):
    """Kernel spellings with units; ``"max"`` is no limit. The last two are docker's units.

    As in docker's API a limit of 0 is one that is not asked for, and -1 is no limit where
    docker has that. 0 is a limit of swap, compressed swap and huge pages alone.
    """

    kept: ClassVar[frozenset[str]] = _NONE_AT_ALL
    """Whose 0, or empty value, says something."""

    memory_max_bytes: Bytes | Max | None = None
    memory_high_bytes: Bytes | Max | None = None
    memory_low_bytes: Bytes | Max | None = None
    memory_min_bytes: Bytes | Max | None = None
    memory_swap_max_bytes: Bytes | Max | None = None
    memory_zswap_max_bytes: Bytes | Max | None = None
    memory_swappiness: int | None = None
    oom_group: bool | None = None
    oom_kill_disable: bool | None = None
    cpu_weight: int | None = None
    cpu_shares: int | None = None
    cpu_quota_us: Count | Max | None = None
    cpu_period_us: int | None = None
    cpu_burst_us: int | None = None
    cpu_idle: bool | None = None
    cpu_rt_period_us: int | None = None
    cpu_rt_runtime_us: Count | Max | None = None
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    pids_max: Count | Max | None = None
    io_weight: int | None = None
    blkio_weight: int | None = None
    io_weight_device: list[IoWeightBody] | None = None
    blkio_weight_device: list[IoWeightBody] | None = None
    io_max: list[IoMaxBody] | None = None
    io_latency: list[IoLatencyBody] | None = None
    hugetlb_max_bytes: list[tuple[str, Bytes | Max]] | None = None
    net_rate_in_bits: Count | Max | None = None
    """Wire bits a second to each interface; 0 is no limit."""
    net_rate_out_bits: Count | Max | None = None
    net_priority: Annotated[int, Field(ge=0)] | None = None
    conf: list[tuple[str, str]] | None = None
    """Any other file of a controller, and what to write into it."""
    cpus: Annotated[float, Field(ge=0)] | None = None
    memory_swap_bytes: Count | None = None
    """Memory and swap together; -1 is unlimited swap."""

    @field_validator(
        *("cpu_quota_us", "cpu_rt_runtime_us", "pids_max", "net_rate_in_bits", "net_rate_out_bits")
    )
    @classmethod
    def _minus_one_is_no_limit(cls, value: int | str | None) -> int | str | None:
        return "max" if value == -1 else value

    @field_validator("pids_max", "net_rate_in_bits", "net_rate_out_bits")
    @classmethod
    def _zero_is_no_limit(cls, value: int | str | None) -> int | str | None:
        return "max" if value == 0 else value

    @field_validator("memory_swappiness")
    @classmethod
    def _no_swappiness(cls, value: int | None) -> int | None:
        return None if value == -1 else value

    @field_validator("io_weight_device", "blkio_weight_device")
    @classmethod
    def _no_weights(cls, value: list[IoWeightBody] | None) -> list[IoWeightBody] | None:
        return value and [device for device in value if device.weight != 0]

    @model_validator(mode="after")
    def _zero_is_not_asked_for(self) -> Self:
        for name in type(self).model_fields.keys() - self.kept - {"memory_swappiness"}:
            value = getattr(self, name)
            if value in (0, "", []) and value is not False:
                setattr(self, name, None)
        return self

    def limits(self) -> Limits:
        values = self.model_dump(exclude_none=True, exclude={"cpus", "memory_swap_bytes"})
        return limit_json.from_json(values)

    def conveniences(self) -> Conveniences:
        return Conveniences(cpus=self.cpus, memory_swap_bytes=self.memory_swap_bytes)


class RestartBody(Strict):
    name: str = "no"
    max_retries: int = 0

    def policy(self) -> RestartPolicy:
        return RestartPolicy(self.name, self.max_retries)


class ChangeBody(LimitsBody):
    """Limits of an existing group: those that docker lacks can be reset to the kernel's default."""

    kept: ClassVar[frozenset[str]] = _NONE_AT_ALL | {
        "memory_min_bytes",
        "cpu_burst_us",
        "cpuset_cpus",
        "cpuset_mems",
        "net_priority",
    }


_WISHES: Final = tuple(field.name for field in fields(Wishes))


class UpdateBody(ChangeBody):
    """Limits, and what else can be changed of a container that is there."""

    restart: RestartBody | None = None
    reclaim: str | None = None
    """``off``, ``auto`` or ``auto:psi=0.1%``."""
    boost: str | None = None
    """``off``, or as in ``cpus=2,memory=1g,for=30s``: from the next start on."""
    budget: str | None = None
    """``off``, or as in ``cpu=1h/24h,io=50g/1d:freeze``: counted from now on."""
    auto_size: str | None = None
    """``off``, or as in ``memory=128m..1g,cpu=0.1..2``."""

    def limits(self) -> Limits:
        values = self.model_dump(exclude_none=True, exclude={"restart", *_WISHES})
        return ChangeBody(**values).limits()

    def wishes(self) -> Wishes:
        return Wishes(**{name: getattr(self, name) for name in _WISHES})


class OverrideBody(Strict):
    """Limits that hold instead of the user's until their owner lifts them."""

    reason: str
    limits: ChangeBody

    def override(self, owner: str) -> LimitOverride:
        return LimitOverride(
            owner=require_foreign(owner),
            reason=self.reason,
            since_ns=time.time_ns(),
            limits=self.limits.limits(),
        )


class AdoptBody(Strict):
    pid: Annotated[int, Field(ge=1)]
    name: str | None = None
    limits: LimitsBody = LimitsBody()


class GroupBody(Strict):
    """What to do with a cgroup: an action, or limits to set."""

    action: Literal["freeze", "thaw", "kill", "set"]
    limits: ChangeBody = ChangeBody()
    force: bool = False
    timeout_s: FreezeSeconds = 10.0


class ExecBody(Strict):
    command: Annotated[list[str], Field(min_length=1)]
    env: list[str] = []
    working_dir: str | None = None
    user: str | None = None
    tty: bool = False
    console_size: tuple[int, int] | None = None
    privileged: bool = False
    """With every capability."""

    def process(self, container: Container) -> Process:
        resolved = container.record.resolved
        names = {item.partition("=")[0] for item in self.env}
        kept = [item for item in resolved.env if item.partition("=")[0] not in names]
        if self.tty and not any(item.startswith("TERM=") for item in (*kept, *self.env)):
            kept.append("TERM=xterm")
        return Process(
            args=tuple(self.command),
            env=(*kept, *self.env),
            cwd=self.working_dir or resolved.working_dir,
            user=resolved.user if self.user is None else self.user,
            terminal=self.tty,
            console_size=self.console_size,
        )


def container_summary(container: Container) -> dict[str, Any]:
    """One line of ``ps``."""
    record = container.record
    outcome = {name: getattr(record.outcome, name) for name in _SHOWN}
    if record.outcome.health is not None:
        outcome["health"] = asdict(record.outcome.health)
        del outcome["health"]["log"]
    sleep = record.outcome.sleep
    outcome["sleep"] = asdict(sleep) if sleep is not None and container.sleeps else None
    if container.frozen:
        outcome["status"] = "frozen"
    return {
        "id": record.id,
        "name": record.name,
        "image": record.config.image,
        "image_id": record.image_id,
        "created_ns": record.created_ns,
        "args": list(record.resolved.args),
        "labels": record.resolved.labels,
        "mounts": [
            {"type": m.type, "source": m.source, "destination": m.destination}
            for m in record.resolved.mounts
        ],
        "state": outcome,
        "restart_policy": record.config.restart.name,
        "restart_count": record.restart.count,
    }


def container_detail(
    container: Container, control: Control, log_path: str, volume_path: Callable[[str], str]
) -> dict[str, Any]:
    """Everything: `limits` is what the user asked for, `overrides` what policies hold it to.

    `limits_held` is what the kernel holds; `drift` has where that is not what is in force,
    but for the kernel's rounding: somebody changed it, say.
    """
    record = container.record
    held, in_force = control.held_limits(container), record.limits_in_force
    mounts = [
        {**asdict(m), "mountpoint": volume_path(m.source) if m.type == "volume" else m.source}
        for m in record.resolved.mounts
    ]
    shown = container_summary(container)
    if container.running:  # as it is now
        shown["state"]["status"] = "frozen" if control.is_frozen(container) else "running"
    if record.outcome.health is not None:
        shown["state"]["health"] = asdict(record.outcome.health)
    return {
        **shown,
        "config": to_plain(record.config),
        "resolved": to_plain(record.resolved),
        "mounts": mounts,
        "limits": limit_json.to_json(record.limits),
        "overrides": [o.to_json() for o in record.overrides],
        "limits_held": None if held is None else limit_json.to_json(held),
        "drift": None if held is None else limit_json.drift_to_json(in_force.diff(held)),
        "cgroup_path": record.cgroup_path,
        "log_path": log_path,
    }


def preview_view(record: Record) -> dict[str, Any]:
    kept = limit_json.as_kept(record.limits_in_force)
    return {
        "limits": limit_json.to_json(record.limits),
        "overrides": [o.to_json() for o in record.overrides],
        "limits_kept": limit_json.to_json(kept),
    }


def exec_view(run: Exec) -> dict[str, Any]:
    return {
        "id": run.id,
        "container_id": run.container.id,
        "status": run.status,
        "args": list(run.process.args),
        "tty": run.process.terminal,
        "stdin": run.stdin,
        "privileged": run.privileged,
        "user": run.process.user,
        "working_dir": run.process.cwd,
        "pid": run.pid,
        "exit_code": run.exit_code,
    }


def image_view(image: Image) -> dict[str, Any]:
    return {
        "id": image.id,
        "names": list(image.names),
        "size_bytes": image.size_bytes,
        "created": None if image.created is None else image.created.isoformat(),
        "config": asdict(image.config),
        "layers": list(image.layers),
        "layer_sizes_bytes": list(image.layer_sizes),
        "diff_ids": list(image.diff_ids),
        "architecture": image.architecture,
        "manifest": image.manifest,
    }


def report_view(report: Report) -> dict[str, Any]:
    return {
        "problems": [{"image": p.image, "cause": p.cause} for p in report.problems],
        "repaired": [{"image": p.image, "cause": p.cause} for p in report.repaired],
        "failures": list(report.failures),
    }


def volume_view(volume: Volume) -> dict[str, Any]:
    return {
        "name": volume.name,
        "driver": "local",
        "created_ns": volume.row.created_ns,
        "anonymous": volume.row.anonymous,
        "labels": volume.row.labels,
        "mountpoint": volume.mountpoint,
        "containers": list(volume.users),
    }


def event_view(event: Event) -> dict[str, Any]:
    return asdict(event)


def job_view(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.name,
        "arguments": job.arguments,
        "status": job.status,
        "progress": job.progress,
        "error": job.error,
        "caller": job.caller,
        "started_at": job.started_at,
        "duration_s": job.duration_s,
        "steps": [asdict(step) for step in job.steps],
    }
