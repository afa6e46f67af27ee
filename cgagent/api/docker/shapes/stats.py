"""Figures of a container that does not run: docker has the same fields, without values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cgagent.engine.containers.container import Container

_NEVER = "0001-01-01T00:00:00Z"


def nothing(container: Container) -> dict[str, Any]:
    cpu = {
        "cpu_usage": dict.fromkeys(("total_usage", "usage_in_kernelmode", "usage_in_usermode"), 0),
        "throttling_data": dict.fromkeys(("periods", "throttled_periods", "throttled_time"), 0),
    }
    return {
        "id": container.id,
        "name": f"/{container.name}",
        "read": _NEVER,
        "preread": _NEVER,
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu,
        "precpu_stats": cpu,
        "memory_stats": {},
        "pids_stats": {},
        "blkio_stats": {},
    }
