"""Health checks as rules: what is checked how often, and what a result means. Docker's semantics.

Nothing is run here: see `cgagent.engine.sessions.probes`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from cgagent.errors import InvalidInputError
from cgagent.images.image import HealthCheck

_MS: Final = 1_000_000
_SECOND: Final = 1000 * _MS
_DEFAULTS: Final = HealthCheck(
    interval_ns=30 * _SECOND,
    timeout_ns=30 * _SECOND,
    start_period_ns=0,
    start_interval_ns=5 * _SECOND,
    retries=3,
)
_KEPT_RESULTS: Final = 5
OUTPUT_BYTES: Final = 4096
SHELL: Final = ("/bin/sh", "-c")
NOT_RUN: Final = -1
"""The exit code of a probe that could not be run, or took too long."""


@dataclass(frozen=True, slots=True)
class Result:
    started_ns: int
    ended_ns: int
    exit_code: int
    output: str


@dataclass(frozen=True, slots=True)
class Health:
    status: Literal["starting", "healthy", "unhealthy"] = "starting"
    failing_streak: int = 0
    log: tuple[Result, ...] = ()
    """The last results, the newest last."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Health:
        log = tuple(Result(**r) for r in value["log"])
        return cls(value["status"], value["failing_streak"], log)


def combined(
    asked: HealthCheck | None, image: HealthCheck | None, shell: tuple[str, ...] = ()
) -> HealthCheck | None:
    """What a container gets: its own check, the image's for the rest; None if it has none.

    An image's check of a kind that is not known is none, as with docker. `shell` is the image's.

    Raises:
        InvalidInputError: a check of no known form, or a time below docker's millisecond.
    """
    own = asked or HealthCheck()
    base = image or HealthCheck()
    test = own.test or base.test
    if own.test == ("NONE",) and any(v is not None for v in _times(own)):
        raise InvalidInputError("conflicting options: no-healthcheck and health-* options")
    _check(own)
    if not test or test[0] == "NONE":
        return None
    if test[0] not in {"CMD", "CMD-SHELL"} or len(test) == 1:
        if not own.test:
            return None
        raise InvalidInputError(f"health check {test!r} is neither CMD, CMD-SHELL nor NONE")
    times = map(_first, _times(own), _times(base), _times(_DEFAULTS))
    return HealthCheck(test, *times, shell=shell)


def _times(check: HealthCheck) -> tuple[int | None, ...]:
    return (
        check.interval_ns,
        check.timeout_ns,
        check.start_period_ns,
        check.start_interval_ns,
        check.retries,
    )


def _first(*values: int | None) -> int | None:
    return next((v for v in values if v is not None), None)


def _check(own: HealthCheck) -> None:
    for name in ("interval_ns", "timeout_ns", "start_period_ns", "start_interval_ns"):
        value = getattr(own, name)
        if value is not None and value < _MS:
            what = name.removesuffix("_ns").replace("_", " ")
            raise InvalidInputError(f"health check: {what} cannot be less than 1 ms")
    if own.retries is not None and own.retries < 1:
        raise InvalidInputError("health check: the number of retries must be at least 1")


def arguments(check: HealthCheck) -> tuple[str, ...]:
    """The command of a probe."""
    kind, *words = check.test
    return tuple(words) if kind == "CMD" else (*(check.shell or SHELL), *words)


def next_due_ns(check: HealthCheck, health: Health, started_ns: int) -> int:
    """When the next probe comes: an interval after the end of the last one, or after the start."""
    last_ns = health.log[-1].ended_ns if health.log else started_ns
    is_starting = health.status == "starting" and _in_start_period(check, last_ns, started_ns)
    return last_ns + ((check.start_interval_ns if is_starting else check.interval_ns) or 0)


def _in_start_period(check: HealthCheck, at_ns: int, started_ns: int) -> bool:
    return at_ns - started_ns < (check.start_period_ns or 0)


def after_probe(check: HealthCheck, health: Health, result: Result, started_ns: int) -> Health:
    """One success makes it healthy; failures count once it has been, or after its start period."""
    log = (*health.log, result)[-_KEPT_RESULTS:]
    if result.exit_code == 0:
        return Health("healthy", 0, log)
    if health.status == "starting" and _in_start_period(check, result.started_ns, started_ns):
        return replace(health, log=log)
    streak = health.failing_streak + 1
    failed = streak >= (check.retries or 1)
    return Health("unhealthy" if failed else health.status, streak, log)
