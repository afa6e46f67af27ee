"""Answers to why something is slow: how long one looks, and what is told."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Query

if TYPE_CHECKING:
    from cgagent.engine.explaining import Explanation

DEFAULT_WINDOW_S: Final = 1.0
Window = Annotated[float, Query(ge=0.1, le=60)]
"""How long it is looked at, in seconds."""
Since = Annotated[float | None, Query(ge=0, allow_inf_nan=False)]
"""From when on, in Unix seconds, instead of a window."""


def explanation_view(found: Explanation) -> dict[str, Any]:
    return {
        "cgroup": found.path,
        "container": found.container,
        "status": found.status,
        "since": found.since_s,
        "span_s": round(found.span_s, 3),
        "lost": found.lost,
        "verdict": found.verdict,
        "causes": [asdict(cause) for cause in found.causes],
        "neighbours": [
            {
                "cgroup": n.group.path,
                "container": n.group.container,
                "cpu_cores": n.group.figures.cpu_cores,
                "cpu_cores_lately": n.cores_lately,
                "memory_bytes": n.group.figures.memory_bytes,
                "io_bytes_per_s": sum(use.bytes for use in n.group.figures.io.values()),
            }
            for n in found.neighbours
        ],
    }
