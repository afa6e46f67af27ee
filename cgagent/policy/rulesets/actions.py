"""What the grades of a ruleset may do, with their options and what these may be."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from cgagent.errors import InvalidInputError
from cgagent.policy.rulesets.values import bound, duration, number, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cgagent.policy.rulesets.model import Action

    Parse = Callable[[Any, str], Any]

_LONGEST_FREEZE_S: Final = 3600.0
_MOST_CPUS: Final = 4096
RAISED: Final[Mapping[str, str]] = {
    "memory_max": "memory_max_bytes",
    "memory_high": "memory_high_bytes",
    "pids_max": "pids_max",
    "cpus": "cpu_quota_us",
}
"""The limits that can be raised: their fields in `Limits`."""


def _weight(value: Any, where: str) -> int:
    return int(number(value, where, 1, 10_000))


def _cpu_weight(value: Any, where: str) -> int | Literal["idle"]:
    """`idle` is less than any weight: it runs when nobody else wants to (cpu.idle)."""
    return "idle" if value == "idle" else _weight(value, where)


def _cap(value: Any, where: str) -> int:
    """Bytes a second. 0 would be no cap in cgroup v1, and is refused by v2."""
    return int(number(bound(value, ("bytes",), where)[0], where, 1))


def _share(value: Any, where: str) -> tuple[float, str]:
    """Bytes, a count or CPUs, or a share of what there is."""
    found, unit = bound(value, ("bytes", "percent"), where)
    if not found:
        raise InvalidInputError(f"{where}: 0 is nothing")
    return found, unit


def _cpus(value: Any, where: str) -> tuple[float, str]:
    """So many CPUs of the host, or a share of them, which is one at least."""
    found, unit = bound(value, ("cpus", "percent"), where)
    if unit == "cpus" and not (1 <= found <= _MOST_CPUS and found.is_integer()):
        raise InvalidInputError(f"{where}: {plain(value)} is not a number of CPUs, nor as in 25%")
    if not found:
        raise InvalidInputError(f"{where}: 0% is no CPU")
    return found, unit


def _ceiling(value: Any, where: str) -> float:
    return bound(value, ("bytes",), where)[0]


def _limit(value: Any, where: str) -> str:
    name = str(value).replace("-", "_")
    if name not in RAISED:
        raise InvalidInputError(f"{where}: {plain(value)} is none of {', '.join(RAISED)}")
    return name


def _freeze(value: Any, where: str) -> float:
    found = duration(value, where)
    if not 0 < found <= _LONGEST_FREEZE_S:
        raise InvalidInputError(f"{where}: a freeze lasts up to an hour, and not {plain(value)}")
    return found


def _url(value: Any, where: str) -> str:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        is_one = parts is not None and parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_one = False
    if not is_one:
        raise InvalidInputError(f"{where}: {plain(value)} is not an address such as https://HOST/")
    return str(value)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > 200:  # noqa: PLR2004 - a line
        raise InvalidInputError(f"{where}: it must be a text of 200 letters at most")
    return value


_IOPS: Final[Parse] = lambda value, where: int(number(value, where, 1, 2**32 - 1))  # noqa: E731
_OPTIONS: Final[Mapping[Action, Mapping[str, Parse]]] = {
    "event": {"message": _text},
    "webhook": {"url": _url, "message": _text},
    "reclaim": {"amount": _share},
    "raise": {"limit": _limit, "by": _share, "to": _ceiling},
    "weight": {"cpu": _cpu_weight, "io": _weight},
    "io_cap": {"read": _cap, "write": _cap, "read_iops": _IOPS, "write_iops": _IOPS},
    "cpuset": {"leave": _cpus, "keep": _cpus},
    "cpu_cap": {"cpus": partial(number, least=0.01, largest=_MOST_CPUS)},
    "freeze": {"for": _freeze},
    "restart": {},
    "kill": {},
}


def options_of(action: Action) -> Mapping[str, Parse]:
    """By name, each with what makes a value of what the table has."""
    return _OPTIONS[action]
