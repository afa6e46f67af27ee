"""Whether one more container fits: by what is promised to others, and by what they really use.

A promise is a limit that was asked for. Who asked for none is taken by the most that it has used:
nothing else can be said of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from cgagent.units import show_age, show_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Resource = Literal["memory", "cpus"]
By = Literal["promise", "use"]

_SPARE: Final = {"memory": 0.05, "cpus": 0.0}
"""Of what there is: not to be used, so that the host itself does not get short of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Bytes, or CPU seconds a second, over the time that is kept."""

    now: float | None
    p50: float | None
    p95: float | None
    most: float | None
    span_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one container has of one resource. None: no limit, or nothing known."""

    asked: float | None
    held: float | None
    used: Used


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One resource of the host, or of a group with a limit of its own or without one."""

    resource: Resource
    total: float | None
    """None: the group has no limit, so nothing is refused because of it."""
    used: Used
    """By everything in it, what is no container included."""
    promised: float
    """The sum of all limits that were asked for, and of the most that the unlimited have used."""
    held: float
    """The sum of the limits that the kernel holds."""
    limited: int
    unlimited: int
    """How many containers have asked for a limit, and how many for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    path: str
    """Of the group; "/" is the host."""
    rooms: tuple[Room, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Whether so much more of one resource fits into one scope."""

    scope: str
    resource: Resource | Literal["containers"]
    by: By
    fits: bool
    says: str


def percentiles(rows: Sequence[tuple[float, float | None]], end_s: float) -> Used:
    """Of (time, value) rows, oldest first, each of which counts for as long as it held."""
    known = [(at_s, value) for at_s, value in rows if value is not None]
    if not known:
        return Used(now=None, p50=None, p95=None, most=None, span_s=0.0)
    ends = [*(at_s for at_s, _ in known[1:]), max(end_s, known[-1][0])]
    weighed = sorted(
        (value, max(end - at_s, 1e-3)) for (at_s, value), end in zip(known, ends, strict=True)
    )
    whole = sum(weight for _, weight in weighed)

    def below(share: float) -> float:
        passed = 0.0
        for value, weight in weighed:
            passed += weight
            if passed >= share * whole:
                return value
        return weighed[-1][0]

    return Used(
        now=known[-1][1],
        p50=below(0.5),
        p95=below(0.95),
        most=weighed[-1][0],
        span_s=max(end_s - known[0][0], 0.0),
    )


def room(resource: Resource, total: float | None, used: Used, claims: Iterable[Claim]) -> Room:
    claims = list(claims)
    return Room(
        resource=resource,
        total=total,
        used=used,
        promised=sum(c.used.most or 0.0 if c.asked is None else c.asked for c in claims),
        held=sum(c.held or 0.0 for c in claims),
        limited=sum(c.asked is not None for c in claims),
        unlimited=sum(c.asked is None for c in claims),
    )


def fits(scopes: Iterable[Scope], wanted: dict[Resource, float]) -> list[Finding]:
    """Of each scope that has a total, for each resource that is wanted."""
    return [
        finding
        for scope in scopes
        for one in scope.rooms
        if one.resource in wanted and one.total is not None
        for finding in (
            _by_promise(scope.path, one, one.total, wanted[one.resource]),
            _by_use(scope.path, one, one.total, wanted[one.resource]),
        )
    ]


def one_more(path: str, count: int, most: int) -> Finding:
    """Whether a group with a quota of containers takes one more."""
    return Finding(
        scope=path,
        resource="containers",
        by="promise",
        fits=count < most,
        says=f"{count} of the {most} containers that {_place(path)} may have are there",
    )


def _shown(resource: Resource) -> Callable[[float], str]:
    return show_size if resource == "memory" else lambda value: f"{value:.2f} CPUs"


def _place(path: str) -> str:
    return "the host" if path == "/" else f"cgroup {path}"


def _verdict(show: Callable[[float], str], left: float, wanted: float) -> str:
    if left >= wanted:
        return f"{show(wanted)} more leave {show(left - wanted)}"
    return f"{show(wanted)} more are {show(wanted - left)} too much"


def _by_promise(path: str, one: Room, total: float, wanted: float) -> Finding:
    show, left = _shown(one.resource), total - one.promised
    count = one.limited + one.unlimited
    who = f"{count} container" + ("" if count == 1 else "s")
    taken = (
        f", {one.unlimited} of them without a limit and taken by the most they used"
        if one.unlimited
        else ""
    )
    return Finding(
        scope=path,
        resource=one.resource,
        by="promise",
        fits=left >= wanted,
        says=f"{show(one.promised)} of the {show(total)} of {_place(path)} are promised to "
        f"{who}{taken}: {_verdict(show, left, wanted)}",
    )


def _by_use(path: str, one: Room, total: float, wanted: float) -> Finding:
    """Memory that is used once too often ends something; CPU time is only waited for."""
    show, used = _shown(one.resource), one.used
    taken = used.most if one.resource == "memory" else used.p95
    if taken is None:
        says = f"what is used of the {one.resource} of {_place(path)} is not known yet: ask again"
        return Finding(scope=path, resource=one.resource, by="use", fits=False, says=says)
    spare = _SPARE[one.resource] * total
    left = total - spare - taken
    kept = f", of which {show(spare)} are kept free," if spare else ""
    share = "at most" if one.resource == "memory" else "95 % of the time at most"
    when = f"within {show_age(used.span_s).lower()}" if used.span_s >= 1 else "by now"
    return Finding(
        scope=path,
        resource=one.resource,
        by="use",
        fits=left >= wanted,
        says=f"{share} {show(taken)} of the {show(total)} of {_place(path)}{kept} were used "
        f"{when}: {_verdict(show, left, wanted)}",
    )
