"""Points in time as ``--since`` and ``--until`` have them, docker's forms."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Final

from cgagent.errors import InvalidInputError
from cgagent.units import parse_duration

_DURATION: Final = re.compile(r"(-?)((?:[\d.]+(?:ns|us|ms|s|m|h))+)")
_UNIX: Final = re.compile(r"(\d{1,11})(?:\.(\d{1,9}))?")
_DATE: Final = re.compile(
    r"(\d{4}-\d\d-\d\d(?:T\d\d(?::\d\d(?::\d\d)?)?)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?"
)


def moment(text: str | None, flag: str) -> int | None:
    """Unix nanoseconds of ``10m`` (so long ago), ``1764000000.5`` or a date (local without a zone).

    Raises:
        InvalidInputError: it is none of them.
    """
    if text is None:
        return None
    for reading in (_ago, _unix, _date):
        found = reading(text)
        if found is not None:
            return max(0, found)
    raise InvalidInputError(
        f"{flag} {text!r} is not a time: write 10m, 2026-11-24T12:00:00Z or Unix seconds"
    )


def _ago(text: str) -> int | None:
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    length = round(parse_duration(match[2], "duration") * 1e9)
    return time.time_ns() - (-length if match[1] else length)


def _unix(text: str) -> int | None:
    match = _UNIX.fullmatch(text)
    return match and int(match[1]) * 10**9 + _fraction(match[2])


def _date(text: str) -> int | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    try:
        date = datetime.fromisoformat(match[1] + (match[3] or ""))
    except ValueError:
        return None
    return int(date.timestamp()) * 10**9 + _fraction(match[2])


def _fraction(digits: str | None) -> int:
    return int((digits or "").ljust(9, "0"))
