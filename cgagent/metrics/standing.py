"""The metrics of what the engine knows: of stopped containers too, until they are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgagent.metrics.families import Family

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.metrics.families import Kind, Values
    from cgagent.metrics.samples import Standing

STATES: Final = ("created", "running", "frozen", "restarting", "exited")
HEALTH: Final = ("starting", "healthy", "unhealthy")
_LAYER: Final = "overlay"
"""What cAdvisor's `device` label has where the writable layer is not a disk of its own."""
_MS: Final = 1000
_RECORD: Final = "cgagent's record"


def _state(standing: Standing) -> Values:
    return (((state,), int(state == standing.state)) for state in STATES)


def _health(standing: Standing) -> Values:
    return (((health,), int(health == standing.health)) for health in HEALTH if standing.health)


def _oom(standing: Standing) -> Values:
    if standing.oom_killed:
        yield (standing.limiting_group or "",), 1


def _reclaimed(standing: Standing) -> float | None:
    before, after = standing.sleep or (None, None)
    return None if before is None or after is None else max(before - after, 0)


def _budgets(field: str) -> Callable[[Standing], Values]:
    def read(standing: Standing) -> Values:
        for use in standing.budgets:
            yield (use.resource,), float(getattr(use, field))

    return read


def _tasks(standing: Standing) -> Values:
    for state, count in (standing.counted.tasks if standing.counted else {}).items():
        yield (state,), count


def _connections(family: str) -> Callable[[Standing], Values]:
    def read(standing: Standing) -> Values:
        counted = standing.counted.connections if standing.counted else None
        for state, count in (counted or {}).get(family, {}).items():
            yield (state,), count

    return read


def _ports(standing: Standing) -> Values:
    for port in standing.ports:
        yield (port.host, str(port.host_port), port.protocol), port.connections


def _one(
    kind: Kind, name: str, text: str, source: str, read: Callable[[Standing], float | None]
) -> Family[Standing]:
    return Family(kind, name, text, source, lambda s: (((), read(s)),))


def _on_disk(name: str, text: str, source: str, field: str) -> Family[Standing]:
    def read(standing: Standing) -> Values:
        return (((_LAYER,), getattr(standing.counted, field, None)),)

    return Family("gauge", name, text, source, read, ("device",))


STANDING: Final[tuple[Family[Standing], ...]] = (
    Family(
        "gauge",
        "cgagent_container_state",
        "1 for the state that the container is in, 0 for the others",
        _RECORD,
        _state,
        ("state",),
    ),
    Family(
        "gauge",
        "cgagent_container_health",
        "1 for what its health check says, 0 for the others; no series without a check",
        _RECORD,
        _health,
        ("health",),
    ),
    _one(
        "gauge",
        "container_health_state",
        "1 if its health check says healthy, else 0; no series without a check",
        _RECORD,
        lambda s: int(s.health == "healthy") if s.health else None,
    ),
    _one(
        "gauge",
        "container_creation_time_seconds",
        "When it was created, in seconds since 1970",
        _RECORD,
        lambda s: s.created_at_s,
    ),
    _one(
        "counter",
        "cgagent_container_restarts",
        "Restarts by its policy since a user started it; no series without a policy",
        _RECORD,
        lambda s: s.restarts,
    ),
    _one(
        "gauge",
        "cgagent_container_started_seconds",
        "When its last run began, in seconds since 1970",
        _RECORD,
        lambda s: s.started_at_s,
    ),
    _one(
        "gauge",
        "cgagent_container_ended_seconds",
        "When its last run ended, in seconds since 1970; no series while it runs",
        _RECORD,
        lambda s: s.ended_at_s,
    ),
    _one(
        "gauge",
        "cgagent_container_exit_code",
        "Exit code of its last run; 128 + N for one ended by signal N",
        _RECORD,
        lambda s: s.exit_code,
    ),
    Family(
        "gauge",
        "cgagent_container_oom_killed",
        "1 if the OOM killer ended its last run; the group whose limit was hit, if known",
        "the group's memory events",
        _oom,
        ("limiting_group",),
    ),
    _one(
        "counter",
        "cgagent_container_log_dropped_bytes",
        "Output that could not be written to its log, in this run, in bytes",
        "cgagent's supervisor",
        lambda s: s.log_dropped_bytes,
    ),
    _one(
        "gauge",
        "cgagent_container_log_size_bytes",
        "Size of its log, older files included, in bytes; counted once a minute",
        "stat",
        lambda s: s.log_bytes,
    ),
    _one(
        "gauge",
        "cgagent_container_limits_changed_timestamp_seconds",
        "When its limits were last changed, in seconds since 1970; no series before that",
        _RECORD,
        lambda s: s.limits_changed_at_s,
    ),
    _one(
        "counter",
        "cgagent_container_reclaimed_bytes",
        "Memory that was taken back from it, in bytes; no series without --reclaim",
        "memory.force_empty; memory.reclaim",
        lambda s: s.reclaimed.bytes if s.reclaimed else None,
    ),
    _one(
        "gauge",
        "cgagent_container_reclaim_step_ratio",
        "Part of its memory that the next step takes back; no series without --reclaim",
        "cgagent's policy",
        lambda s: s.reclaimed.step_ratio if s.reclaimed else None,
    ),
    *(
        Family("gauge", name, text, "cgagent's policy", _budgets(field), ("resource",))
        for name, text, field in (
            (
                "cgagent_container_budget_used_ratio",
                "Part of a budget that is used in this window; no series without --budget",
                "used_ratio",
            ),
            (
                "cgagent_container_budget_ends_seconds",
                "When the next window of a budget begins, in seconds since 1970",
                "ends_s",
            ),
            (
                "cgagent_container_budget_acted",
                "1 if a budget is spent and its action in force, else 0",
                "is_acted_on",
            ),
        )
    ),
    _one(
        "gauge",
        "container_file_descriptors",
        "Open file descriptors of all its processes; counted once a minute",
        "/proc/PID/fd",
        lambda s: getattr(s.counted, "file_descriptors", None),
    ),
    _one(
        "gauge",
        "container_sockets",
        "Open sockets of all its processes; counted once a minute",
        "/proc/PID/fd",
        lambda s: getattr(s.counted, "sockets", None),
    ),
    Family(
        "gauge",
        "container_ulimits_soft",
        "Soft limit of its first process; -1 is unlimited",
        "prlimit",
        lambda s: ((("max_open_files",), getattr(s.counted, "soft_open_files", None)),),
        ("ulimit",),
    ),
    Family(
        "gauge",
        "container_tasks_state",
        "Processes and threads by what they do; counted once a minute",
        "/proc/PID/task/TID/stat",
        _tasks,
        ("state",),
    ),
    *(
        Family(
            "gauge",
            f"container_network_{family}_usage_total",
            f"Sockets of its network namespace by state, {version}; counted once a minute",
            f"/proc/PID/net/{family}",
            _connections(family),
            ("tcp_state",),
        )
        for family, version in (("tcp", "IPv4"), ("tcp6", "IPv6"))
    ),
    _one(
        "gauge",
        "cgagent_container_hibernates",
        "1 while it hibernates, else 0",
        _RECORD,
        lambda s: int(s.sleep is not None),
    ),
    _one(
        "gauge",
        "cgagent_container_hibernation_reclaimed_bytes",
        "Memory that was taken back when it was put to sleep; no series while it is awake",
        "memory.current; v1: memory.usage_in_bytes",
        _reclaimed,
    ),
    Family(
        "counter",
        "cgagent_container_port_connections",
        "Connections to a published port that were led to it, since the port was published",
        "nf_tables",
        _ports,
        ("host", "port", "protocol"),
    ),
    _on_disk(
        "container_fs_usage_bytes",
        "Disk space of its writable layer, in bytes; counted once a minute",
        "st_blocks of its files",
        "used_bytes",
    ),
    _on_disk(
        "container_fs_limit_bytes",
        "Size of the file system that its writable layer is on, in bytes",
        "statvfs",
        "limit_bytes",
    ),
    _on_disk(
        "container_fs_inodes_free",
        "Free inodes of the file system that its writable layer is on",
        "statvfs",
        "free_inodes",
    ),
    _on_disk(
        "container_fs_inodes_total",
        "Inodes of the file system that its writable layer is on",
        "statvfs",
        "total_inodes",
    ),
    _on_disk(
        "cgagent_container_fs_inodes_used",
        "Files and directories in its writable layer; counted once a minute",
        "readdir",
        "used_inodes",
    ),
)


def _disk(kind: Kind, name: str, text: str, field: str, per: int = 1) -> Family[Standing]:
    def read(standing: Standing) -> Values:
        if standing.disk:
            number = getattr(standing.disk, field)
            yield (standing.disk.device,), number if per == 1 else number / per

    whose = f"{text}, by the disk that its writable layer is on, whoever uses it"
    return Family(kind, name, whose, "/sys/dev/block/*/stat", read, ("device",))


DISK: Final[tuple[Family[Standing], ...]] = (
    _disk("gauge", "container_fs_io_current", "Requests under way", "in_flight"),
    _disk(
        "counter",
        "container_fs_io_time_seconds",
        "Time with a request under way, in seconds",
        "busy_ms",
        _MS,
    ),
    _disk(
        "counter",
        "container_fs_io_time_weighted_seconds",
        "Time summed over requests under way, in seconds",
        "weighted_ms",
        _MS,
    ),
    _disk("counter", "container_fs_read_seconds", "Time of reads, in seconds", "read_ms", _MS),
    _disk("counter", "container_fs_write_seconds", "Time of writes, in seconds", "write_ms", _MS),
    _disk("counter", "container_fs_reads_merged", "Reads merged with others", "reads_merged"),
    _disk("counter", "container_fs_writes_merged", "Writes merged with others", "writes_merged"),
)
