"""Sizes, times and ages as people write and read them."""

from __future__ import annotations

import math
import time

from cgagent.errors import InvalidInputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

_FACTORS: Final = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}
_DECIMAL: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_DAY_S: Final = 86400
_AGES: Final = (
    ("second", 1, 60),
    ("minute", 60, 3600),
    ("hour", 3600, 47.5 * 3600),
    ("day", _DAY_S, 14 * _DAY_S),
    ("week", 7 * _DAY_S, 60 * _DAY_S),
    ("month", 30 * _DAY_S, 730 * _DAY_S),
    ("year", 365 * _DAY_S, float("inf")),
)
"""Units of ages, their seconds, and below how many seconds they are used."""
_UNITS_S: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}


def parse_size(text: str, what: str) -> int:
    """Bytes of ``256m``, ``1.5g``, ``64MiB``: powers of 1024, as Docker has it.

    Raises:
        InvalidInputError: it is none; `what` is the flag.
    """
    lower = text.strip().lower().removesuffix("ib")
    if len(lower) > 1 and lower.endswith("b") and lower[-2] in "kmgtp":
        lower = lower[:-1]
    number, unit = (lower[:-1], lower[-1]) if lower and lower[-1].isalpha() else (lower, "")
    try:
        value = float(number) if "." in number else int(number)
        if unit not in _FACTORS or value < 0 or "_" in number:
            raise ValueError
        return _whole(value * _FACTORS[unit])
    except (ValueError, OverflowError):
        raise InvalidInputError(
            f"{what} {text!r} is not a size; write a number with b, k, m or g, such as 256m"
        ) from None


def parse_rate(text: str, what: str) -> int:
    """Bits a second of ``50m``, ``50mbit``, ``1.5g``, ``64000``: powers of 1000, as tc has it.

    Raises:
        InvalidInputError: it is none; `what` is the flag.
    """
    lower = text.strip().lower().removesuffix("bit")
    number, unit = (lower[:-1], lower[-1]) if lower and lower[-1].isalpha() else (lower, "")
    try:
        value = float(number) if "." in number else int(number)
        if unit not in _DECIMAL or value < 0 or "_" in number:
            raise ValueError
        return _whole(value * _DECIMAL[unit])
    except (ValueError, OverflowError):
        raise InvalidInputError(
            f"{what} {text!r} is not a rate; write bits a second with k, m or g, such as 50m or "
            "50mbit, or unlimited"
        ) from None


def _whole(value: float) -> int:
    """Not 0 where a little was asked for: that is no limit."""
    return int(value) or math.ceil(value)


def show_size(size: float) -> str:
    """``1.5GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":  # noqa: PLR2004 - binary units
            return f"{size:.0f}{unit}" if unit == "B" else f"{size:.4g}{unit}"
        size /= 1024
    return ""


def show_age(seconds: float) -> str:
    """``5 minutes``, with the units and the words of docker's lists."""
    if seconds < 1:
        return "Less than a second"
    unit, length = next((unit, length) for unit, length, below in _AGES if seconds < below)
    count = round(seconds / length) if unit == "hour" else int(seconds // length)
    if count == 1:
        return {"minute": "About a minute", "hour": "About an hour"}.get(unit, f"1 {unit}")
    return f"{count} {unit}s"


def show_command(words: Iterable[str]) -> str:
    """On one line, as docker's lists have it: words with blanks are quoted, but for the program."""
    return " ".join(f"'{w}'" if place and " " in w else w for place, w in enumerate(words))


def show_time(nanoseconds: int | None) -> str:
    seconds, rest = divmod(nanoseconds or 0, 1_000_000_000)
    if not nanoseconds:
        return "0001-01-01T00:00:00Z"  # Docker's for never
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def show_second(nanoseconds: int) -> str:
    """When a Unix time is, to the second, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(nanoseconds / 1e9))


def parse_duration(text: str, what: str) -> float:
    """Seconds of ``10``, ``1.5s``, ``1m30s``, ``500ms``.

    Raises:
        InvalidInputError: it is none.
    """
    try:
        value = _seconds(text)
        if not 0 <= value < 1e9:  # noqa: PLR2004 - thirty years
            raise ValueError
        return value
    except ValueError:
        raise InvalidInputError(
            f"{what} {text!r} is not a duration; write seconds, such as 10 or 1.5s"
        ) from None


def _seconds(text: str) -> float:
    import re

    if not text[-1:].isalpha():
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)", text)
    if "".join(map("".join, parts)) != text:
        raise ValueError
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
