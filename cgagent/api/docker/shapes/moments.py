"""Points in time in docker's forms."""

from __future__ import annotations

from datetime import datetime


def unix_seconds(text: str) -> int:
    """Of a date; 0 where it is none."""
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return 0
