"""The metrics of a container's state: of stopped containers too, until they are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgagent.metrics.families import Family

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.metrics.families import Values
    from cgagent.metrics.samples import Standing

STATES: Final = ("created", "running", "frozen", "restarting", "exited", "dead")
HEALTH: Final = ("starting", "healthy", "unhealthy")
_LAYER: Final = "overlay"
"""What cAdvisor's `device` label has where the writable layer is not a disk of its own."""


def _state(standing: Standing) -> Values:
    return (((state,), int(state == standing.state)) for state in STATES)


def _health(standing: Standing) -> Values:
    return (((health,), int(health == standing.health)) for health in HEALTH if standing.health)


def _oom(standing: Standing) -> Values:
    if standing.oom_killed:
        yield (standing.limiting_group or "",), 1


def _held(field: str) -> Callable[[Standing], Values]:
    return lambda s: (((), getattr(s.holdings, field, None)),)


def _on_disk(field: str) -> Callable[[Standing], Values]:
    return lambda s: (((_LAYER,), getattr(s.holdings, field, None)),)


STANDING: Final[tuple[Family[Standing], ...]] = (
    Family(
        "gauge",
        "cgagent_container_state",
        "1 for the state that the container is in, 0 for the others",
        _state,
        ("state",),
    ),
    Family(
        "gauge",
        "cgagent_container_health",
        "1 for what its health check says, 0 for the others; no series without a check",
        _health,
        ("health",),
    ),
    Family(
        "counter",
        "cgagent_container_restarts",
        "Restarts by its policy since a user started it; no series without a policy",
        lambda s: (((), s.restarts),),
    ),
    Family(
        "gauge",
        "cgagent_container_exit_code",
        "Exit code of its last run; 128 + N for one ended by signal N",
        lambda s: (((), s.exit_code),),
    ),
    Family(
        "gauge",
        "cgagent_container_oom_killed",
        "1 if the OOM killer ended its last run; the group whose limit was hit, if known",
        _oom,
        ("limiting_group",),
    ),
    Family(
        "counter",
        "cgagent_container_log_dropped_bytes",
        "Output that could not be written to its log, in this run",
        lambda s: (((), s.log_dropped_bytes),),
    ),
    Family(
        "gauge",
        "container_file_descriptors",
        "Open file descriptors of all its processes; counted once a minute",
        _held("file_descriptors"),
    ),
    *(
        Family("gauge", name, text, _on_disk(field), ("device",))
        for name, field, text in (
            (
                "container_fs_usage_bytes",
                "used_bytes",
                "Disk space of its writable layer; counted once a minute",
            ),
            (
                "container_fs_limit_bytes",
                "limit_bytes",
                "Size of the file system that its writable layer is on",
            ),
            (
                "container_fs_inodes_free",
                "free_inodes",
                "Free inodes of the file system that its writable layer is on",
            ),
            (
                "container_fs_inodes_total",
                "total_inodes",
                "Inodes of the file system that its writable layer is on",
            ),
            (
                "cgagent_container_fs_inodes_used",
                "used_inodes",
                "Files and directories in its writable layer; counted once a minute",
            ),
        )
    ),
)
