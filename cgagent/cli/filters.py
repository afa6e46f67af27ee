"""What the filters of several listings have in common."""

from __future__ import annotations


def has_label(labels: dict[str, str], wanted: str) -> bool:
    """``NAME``, or ``NAME=VALUE``."""
    name, separator, value = wanted.partition("=")
    return name in labels and (not separator or labels[name] == value)
