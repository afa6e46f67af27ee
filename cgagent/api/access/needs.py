"""The scope that a caller needs for a request, by method and path alone, in either API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cgagent.engine.access import Scope

_METRICS: Final = frozenset({"/metrics", "/-/healthy", "/-/ready", "/_ping"})
_LOOKING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_VERSION: Final = re.compile(r"/v[0-9]+\.[0-9]+(?=/)")
_FILES: Final = re.compile(
    r"/containers/.+/(archive|export|attach/ws)/*\Z|/exec/[^/]+/ws/*\Z"
    r"|/images/((.+/)?get|save)/*\Z",
    re.DOTALL,
)
"""Requests by which the content of containers and images goes out, or input goes in."""
_WAITING: Final = re.compile(r"(/v1)?/containers/[^/]+/wait")


def of(method: str, path: str) -> Scope:
    """Whatever is not known to be less is a change."""
    path = _VERSION.sub("", path, count=1)
    if path.startswith("/v1/tokens"):
        return "admin"
    if method in _LOOKING:
        if path in _METRICS:
            return "metrics"
        return "control" if _FILES.search(path) else "read"
    return "read" if _WAITING.fullmatch(path) else "control"
