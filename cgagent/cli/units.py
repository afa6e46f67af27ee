"""Sizes, times and ages as people write and read them."""

from __future__ import annotations

from cgagent.errors import InvalidInputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_FACTORS: Final = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}
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
        return int(value * _FACTORS[unit])
    except (ValueError, OverflowError):
        raise InvalidInputError(
            f"{what} {text!r} is not a size; write a number with b, k, m or g, such as 256m"
        ) from None


def show_size(size: float) -> str:
    """``1.5GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":  # noqa: PLR2004 - binary units
            return f"{size:.0f}{unit}" if unit == "B" else f"{size:.4g}{unit}"
        size /= 1024
    return ""


def show_age(seconds: float) -> str:
    """``5 minutes``, the largest unit that fits."""
    for name, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count = int(seconds // length)
        if count or name == "second":
            return f"{count} {name}{'' if count == 1 else 's'}"
    return ""


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
