"""Values of a ruleset's table: durations, bounds with units, times of day. Checked here alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InvalidInputError
from cgagent.units import parse_duration, parse_rate, parse_size

if TYPE_CHECKING:
    from collections.abc import Iterable

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)")
_LARGEST: Final = 2.0**62


def joined(words: Iterable[str]) -> str:
    return ", ".join(words)


def plain(value: Any) -> str:
    """For a message: short, whatever it is."""
    return repr(value)[:60]


def duration(value: Any, where: str) -> float:
    """Seconds: a number, or ``30s``, ``1m30s``."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidInputError(f"{where}: {plain(value)} is not a duration; write 30s or 5m")
    return parse_duration(str(value), where)


def number(value: Any, where: str, least: float = 0.0, largest: float = _LARGEST) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInputError(f"{where}: {plain(value)} must be a number")
    if not least <= value <= largest:
        raise InvalidInputError(f"{where}: {plain(value)} is not in {least:g}..{largest:g}")
    return float(value)


def percent(value: Any, where: str) -> float:
    """0 to 100: a number, or ``60%``."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            value = float(value.strip()[:-1])
        except ValueError:
            raise InvalidInputError(f"{where}: {plain(value)} is not a percentage") from None
    return number(value, where, 0, 100)


def bound(value: Any, units: tuple[str, ...], where: str) -> tuple[float, str]:
    """A number in the first of the units, or a text that says which one is meant."""
    if isinstance(value, str) and value.strip().endswith("%") and "percent" in units:
        return percent(value, where), "percent"
    if isinstance(value, str):
        return _worded(value, units, where), _unit_of_text(units)
    if units[0] == "percent":
        return percent(value, where), "percent"
    return number(value, where), units[0]


def _unit_of_text(units: tuple[str, ...]) -> str:
    return next((unit for unit in units if unit != "percent"), units[0])


def _worded(text: str, units: tuple[str, ...], where: str) -> float:
    unit = _unit_of_text(units)
    if unit == "bytes":
        return number(parse_size(text, where), where)
    if unit == "bits/s":
        return number(parse_rate(text, where), where)
    if unit == "ms":
        return parse_duration(text, where) * 1000
    raise InvalidInputError(f"{where}: {plain(text)} must be a number of {joined(units)}")


def span(value: Any, where: str) -> tuple[int, int]:
    """Minutes of the day of ``22:00-06:00``."""
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidInputError(f"{where}: {plain(value)} is not a time of day as in 22:00-06:00")
    hours = [int(part) for part in found.groups()]
    return hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]


def days(value: Any, where: str) -> tuple[int, ...]:
    """Weekdays, 0 is Monday, of ``mon-fri`` or ``sat,sun``."""
    found: set[int] = set()
    for part in str(value).lower().split(","):
        first, _, last = part.strip().partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            raise InvalidInputError(f"{where}: {plain(value)} is not days as in mon-fri or sat,sun")
        begins, ends = _DAYS.index(first), _DAYS.index(last or first)
        found |= {day % 7 for day in range(begins, (ends if ends >= begins else ends + 7) + 1)}
    return tuple(sorted(found))
