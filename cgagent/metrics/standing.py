"""The metrics of a container's state: of stopped containers too, until they are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgagent.metrics.families import Family

if TYPE_CHECKING:
    from cgagent.metrics.families import Values
    from cgagent.metrics.samples import Standing

STATES: Final = ("created", "running", "frozen", "restarting", "exited", "dead")


def _state(standing: Standing) -> Values:
    return (((state,), int(state == standing.state)) for state in STATES)


def _oom(standing: Standing) -> Values:
    if standing.oom_killed:
        yield (standing.limiting_group or "",), 1


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
)
