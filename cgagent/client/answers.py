"""What the agent answers, as frozen dataclasses. Times are Unix nanoseconds where they end in ns.

Each has the fields that a program most often wants by type, and `raw`, all that the agent said. A
field that a later agent adds is in `raw`, and no error.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any], **others: Any) -> Self:
        """`others` are fields that `raw` has in another form, or not at all."""
        known = {f.name for f in fields(cls)}
        found = {name: value for name, value in raw.items() if name in known}
        return cls(**{**found, **cls._nested(raw), "raw": raw, **others})

    @classmethod
    def _nested(cls, _raw: Mapping[str, Any]) -> dict[str, Any]:
        """Fields that are answers themselves."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Created(Answer):
    """A container, as soon as it is there."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep(Answer):
    """A container's hibernation."""

    since_ns: int
    by: str
    """user or idle."""
    hears_packets: bool
    """Whether a packet wakes it."""
    memory_before_bytes: int | None
    memory_after_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class State(Answer):
    """What became of a container's last start."""

    status: str
    """created, running, frozen, restarting, exited and so on."""
    pid: int | None
    exit_code: int | None
    started_ns: int | None
    finished_ns: int | None
    oom_killed: bool
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSummary(Answer):
    """A container as the list has it."""

    id: str
    name: str
    image: str
    image_id: str | None
    created_ns: int
    args: list[str]
    labels: dict[str, str]
    state: State
    restart_count: int

    @classmethod
    def _nested(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        return {"state": State.of(raw["state"])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Container(ContainerSummary):
    """All about a container; its configuration and its mounts are in `raw`."""

    limits: dict[str, Any]
    """Those that its user has asked for."""
    limits_held: dict[str, Any] | None
    """Those that the kernel holds; None where it does not run."""
    cgroup_path: str
    log_path: str
    networks: list[dict[str, Any]]
    published_ports: list[dict[str, Any]]
    etag: str = ""
    """For an update that is to be made of this state alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Answer):
    """A group of containers."""

    name: str
    cgroup_path: str
    created_ns: int
    labels: dict[str, str]
    status: str
    """thawed, frozen, or stopped: its budget is spent."""
    containers: list[str]
    """Names of those in it, and in the groups in it."""
    running: int
    groups: list[str]
    """Names of the groups in it, at any depth."""
    max_containers: int | None
    limits: dict[str, Any]
    """The limits that its user has asked for."""
    overrides: list[dict[str, Any]]
    """Overrides by which policies hold it to other limits: owner, reason, since_ns, limits."""
    budget: str
    budgets: list[dict[str, Any]]
    """By resource: used, amount, begins_ns, ends_ns, action, state."""
    reclaim: str
    limits_held: dict[str, Any] | None = None
    """Those that the kernel holds; a list does not say, and None also where it is not there."""
    etag: str = ""
    """For an update that is to be made of this state alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec(Answer):
    """A command that is or was run inside a container."""

    id: str
    container_id: str
    status: str
    args: list[str]
    pid: int | None
    exit_code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Answer):
    id: str
    names: list[str]
    size_bytes: int
    created: str | None
    architecture: str
    config: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network(Answer):
    id: str
    name: str
    driver: str
    created_ns: int
    interface: str
    internal: bool
    ipv6: bool
    labels: dict[str, str]
    subnets: list[dict[str, Any]]
    containers: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Answer):
    name: str
    created_ns: int
    anonymous: bool
    labels: dict[str, str]
    mountpoint: str
    containers: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Answer):
    """Something that happened; `id` is that of the object it happened to."""

    time_ns: int
    type: str
    action: str
    id: str
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Answer):
    """A change the agent makes or has made."""

    id: int
    name: str
    arguments: dict[str, str]
    status: str
    """running, done, failed or cancelled."""
    progress: str
    error: str | None
    started_at: float
    """Unix seconds."""
    duration_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry(Answer):
    """A line of output; its own newline is part of it."""

    log: str
    stream: str
    """stdout or stderr."""
    time: str
    """RFC 3339, UTC, with nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats(Answer):
    """One sample of a container's figures."""

    id: str
    name: str
    at_s: float
    """Unix seconds."""
    status: str
    usage: dict[str, Any]
    """By controller, as the kernel counts."""
    rates: dict[str, Any] | None
    """Since the sample before; None: there was none."""
    memory_limit_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause(Answer):
    """What holds something back."""

    kind: str
    """cpu-quota, memory-max, io-neighbour and so on; docs/why.md has them all."""
    group: str
    """The cgroup whose limit it is, or that takes what is missing; "/" is the host."""
    container: str | None
    """The name of the container whose cgroup that is."""
    share: float | None
    """Of the time that was looked at; None: it is not measured, or something fails."""
    fails: bool
    says: str
    evidence: list[dict[str, Any]]
    """Each with what, value, unit and file."""
    commands: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(Answer):
    """Why a container is slow, or not."""

    cgroup: str
    container: str | None
    status: str
    span_s: float
    lost: dict[str, float | None]
    """Shares of the time in which some task waited for cpu, memory and io."""
    verdict: str
    causes: list[Cause]
    """The worst first; none: nothing holds it back."""
    neighbours: list[dict[str, Any]]

    @classmethod
    def _nested(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        return {"causes": [Cause.of(one) for one in raw["causes"]]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing(Answer):
    """Limits that the use of a container, or of a group, makes advisable."""

    id: str
    container: str
    """Empty: it is of a group."""
    group: str
    """Empty: it is of a container, in whatever group that is."""
    samples: int
    """Of a minute each; 0: nothing is known so far."""
    advice: list[dict[str, Any]]
    """By resource: asked, p50, p95, most, advised, confidence, why, flags."""
    command: str
    """One that takes all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity(Answer):
    """What the host and the groups above containers have, promise, hold and use."""

    scopes: list[dict[str, Any]]
    """The host ("/") first, each with its rooms: memory in bytes, cpus."""
    fits: bool | None
    """Whether what was asked about does, by promise and by use; None: nothing was."""
    findings: list[dict[str, Any]]
    """Of each scope and resource, by promise and by use, with a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy(Answer):
    """A ruleset by which the agent acts by itself."""

    name: str
    description: str
    origin: str
    """A file of the agent's settings; empty: it was added by a request."""
    dry_run: bool
    actions: list[str]
    watched: int
    """How many targets it looks at now."""
    in_force: int
    """How many of its grades are in force now."""
    unknown: str
    """Why its condition cannot be evaluated here; empty: it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Answer):
    """What a ruleset decided, and what came of it."""

    number: int
    time_ns: int
    policy: str
    watched: str
    """What was looked at."""
    action: str
    container: str
    """The id of whom it is about; empty: a group, or a cgroup of the host."""
    group: str
    """The name of the group that it is about, as one; empty: it is about something else."""
    target: str
    outcome: str
    """done, undone, dry run, failed, over, given up or cannot be evaluated."""
    reason: str
    """The figures it was decided on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Answer):
    """How far a pull or other long work is."""

    layer: str
    """Twelve hexadecimal digits; empty for the whole."""
    status: str
    current_bytes: int | None
    total_bytes: int | None
