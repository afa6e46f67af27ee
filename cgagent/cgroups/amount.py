"""Numbers that may be "max": how the model writes "no limit at all"."""

from __future__ import annotations

import enum
from typing import Final


class Unlimited(enum.Enum):
    """The kernel's "max". Absence of a file or of a wish is None, never this."""

    UNLIMITED = "max"


UNLIMITED: Final = Unlimited.UNLIMITED

# v1 has no "max": an unlimited counter reads as 2^63-1 rounded down to pages.
_V1_UNLIMITED: Final = 1 << 62


def parse(text: str | None) -> int | Unlimited | None:
    """A number or "max"; v1's -1 and its huge numbers are UNLIMITED too."""
    if text is None:
        return None
    if text.strip() == "max":
        return UNLIMITED
    value = int(text)
    return UNLIMITED if value < 0 or value >= _V1_UNLIMITED else value


def spell(value: int | Unlimited, *, unlimited: str = "max") -> str:
    """The kernel's spelling; `unlimited` is how the file spells no limit (v1: "-1" or "0")."""
    return unlimited if isinstance(value, Unlimited) else str(value)
