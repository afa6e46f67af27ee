"""What is sampled: the records that flow from the sampler to exposition, rates and the API.

Wall-clock times in seconds since 1970; `monotonic_ns` is for differences.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgagent.cgroups import Cpu, Limits, Usage
    from cgagent.metrics.disks import Disk
    from cgagent.metrics.network import Interface
    from cgagent.metrics.walker import Counted


_CGROUP: Final = "cgroup:"


def id_of_cgroup(path: str) -> str:
    """The id of the target that a cgroup is; a container's target has the container's id."""
    return f"{_CGROUP}{path}"


def cgroup_of_id(target_id: str) -> str | None:
    """The path of the cgroup that a target's id names; None: it names a container."""
    path = target_id.removeprefix(_CGROUP)
    return None if path == target_id else path


@dataclass(frozen=True, slots=True)
class Target:
    """One group to sample: a container's, a watched one, or one above others.

    `started_at_s` tells a restarted one from the one before.
    """

    id: str
    name: str
    image: str
    cgroup_path: str
    started_at_s: float
    asked: Limits | None = None
    """The limits it is to have, for the metric of those that are held otherwise."""
    pid: int | None = None
    """Its first process, whose network namespace is its own."""
    labels: tuple[tuple[str, str], ...] = ()
    """Further ones of all its series: names that Prometheus takes, and values."""
    carried: Mapping[str, Any] | None = field(default=None, compare=False)
    """What it has counted in groups that it was in before; see `metrics.carried`."""
    is_above: bool = False
    """A group that has others' groups below it: their figures are in its own. Read slowly, and
    without looking below it."""


class Moment(NamedTuple):
    """CPU time at one moment."""

    at_s: float
    monotonic_ns: int
    cpu: Cpu


@dataclass(frozen=True, slots=True)
class Sample:
    """A target's usage at one moment, and the limits as last read (a minute old at most).

    Of `usage`, all but CPU time, memory in use, tasks and pressure is of `full_ns`.
    """

    target: Target
    at_s: float
    monotonic_ns: int
    full_ns: int
    usage: Usage
    limits: Limits
    network: tuple[Interface, ...] | None = None
    """Where it has a network namespace of its own."""
    load_1000: int = 0
    """Tasks that run or wait for a CPU, times 1000, averaged over about 10 s; see `rates.load`."""

    @property
    def moment(self) -> Moment:
        return Moment(self.at_s, self.monotonic_ns, self.usage.cpu)


@dataclass(frozen=True, slots=True)
class PortUse:
    """A published port, and the connections that were led to the container by it."""

    host: str
    """The address of the host's; of each of a family 0.0.0.0 or ::."""
    host_port: int
    protocol: str
    container_port: int
    connections: int


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What was taken back from a container that has asked for that."""

    bytes: int
    """Since the agent began."""
    step_ratio: float
    """Of what is in use, in the next step."""


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """How much of one of its budgets a container has used."""

    resource: str
    used_ratio: float
    ends_s: float
    """When the next window begins, in seconds since 1970."""
    is_acted_on: bool
    """It is spent, and its action in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the engine knows of a container, running or not."""

    target: Target
    state: str
    exit_code: int | None = None
    """Of the last run that ended."""
    oom_killed: bool = False
    limiting_group: str | None = None
    """Whose memory limit the OOM killer enforced, where that is known."""
    log_dropped_bytes: int = 0
    log_bytes: int | None = None
    """Of its log's files; None: not counted so far."""
    limits_changed_at_s: float | None = None
    """When its limits were last changed; None: they are those it was created with."""
    counted: Counted | None = None
    disk: Disk | None = None
    """That its writable layer is on."""
    created_at_s: float | None = None
    started_at_s: float | None = None
    """When its last run began; None: it was never started."""
    ended_at_s: float | None = None
    """When its last run ended; None: it runs, or never did."""
    restarts: int | None = None
    """By its policy, since a user started it; None: it has none."""
    ports: tuple[PortUse, ...] = ()
    reclaimed: Reclaimed | None = None
    budgets: tuple[BudgetUse, ...] = ()
    health: str | None = None
    """One of `standing.HEALTH`; None: it has no check."""
    sleep: tuple[int | None, int | None] | None = None
    """Of one that hibernates: its memory before and after, in bytes, where that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSample:
    """The machine and the agent's own process at one moment."""

    at_s: float
    cpu_cores: int
    cpu_seconds: Mapping[str, float]
    """By mode (user, system, idle, iowait, ...), over all CPUs since boot."""
    load: tuple[float, float, float]
    """Averages over 1, 5 and 15 minutes."""
    memory_total_bytes: int
    memory_available_bytes: int
    swap_total_bytes: int
    swap_free_bytes: int
    agent_started_at_s: float
    agent_cpu_seconds: float
    agent_resident_bytes: int
    agent_open_fds: int
    """As of the last round in which it was counted, which takes time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCounts:
    """What policies have done since the agent began."""

    decisions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """That were carried out, by policy and action."""
    in_force: Mapping[str, int] = field(default_factory=dict)
    """Grades that are in force, by policy."""
    reclaimed_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerState:
    """The sampler about itself."""

    ticks: int = 0
    samples: int = 0
    """Readings of a target, in all rounds."""
    missed_ticks: int = 0
    """Ticks left out because an earlier one took too long or the machine slept."""
    failures: int = 0
    """Samples that failed other than by a group that had gone."""
    failed: bool = False
    """Whether one did in the last round, or the round itself."""
    lag_s: float = 0.0
    """How late the last tick began."""
    duration_s: float = 0.0
    """How long the last tick took."""
    last_error: str = ""
