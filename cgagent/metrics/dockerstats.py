"""Docker's JSON of a container's figures, from samples: what its clients make their tables of.

Source: the Engine API's ContainerStats. Memory statistics have cgroup v2's names on every host,
which docker's client takes too. Zero where Docker's form cannot say that something is not known.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.cgroups import Usage
    from cgagent.metrics.samples import HostSample, Moment, Sample

_NEVER: Final = "0001-01-01T00:00:00Z"
_NO_LIMIT: Final = 2**64 - 1
"""Of processes, as Docker has it."""


def docker_stats(sample: Sample, before: Moment | None, machine: HostSample) -> dict[str, Any]:
    """Of one container; `before` is the sample before, for ``precpu_stats``."""
    now, usage = sample.moment, sample.usage
    return {
        "id": sample.target.id,
        "name": f"/{sample.target.name}",
        "read": _time(now.at_s),
        "preread": _time(before.at_s) if before else _NEVER,
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(now, machine.cpu_cores),
        "precpu_stats": _cpu(before, machine.cpu_cores) if before else _no_cpu(),
        "memory_stats": _memory(sample, machine.memory_total_bytes),
        "pids_stats": {
            "current": usage.pids.current or 0,
            "limit": _limit(sample.limits.pids_max, _NO_LIMIT),
        },
        "blkio_stats": {
            "io_service_bytes_recursive": list(_io(usage, "rbytes", "wbytes")),
            "io_serviced_recursive": list(_io(usage, "rios", "wios")),
        },
        "networks": {
            interface.name: {
                f"{short}_{what}": getattr(interface, f"{long}_{field}")
                for short, long in (("rx", "receive"), ("tx", "transmit"))
                for what, field in (
                    *((name, name) for name in ("bytes", "packets", "errors")),
                    ("dropped", "packets_dropped"),
                )
            }
            for interface in sample.network or ()
        },
    }


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")


def _cpu(moment: Moment, cpus: int) -> dict[str, Any]:
    """`system_cpu_usage` is the time of all CPUs, idle or not, since the machine's start."""
    cpu = moment.cpu
    return {
        "cpu_usage": {
            "total_usage": cpu.usage_ns or 0,
            "usage_in_kernelmode": cpu.system_ns or 0,
            "usage_in_usermode": cpu.user_ns or 0,
        },
        "system_cpu_usage": moment.monotonic_ns * cpus,
        "online_cpus": cpus,
        "throttling_data": {
            "periods": cpu.periods or 0,
            "throttled_periods": cpu.throttled_periods or 0,
            "throttled_time": cpu.throttled_ns or 0,
        },
    }


def _no_cpu() -> dict[str, Any]:
    times = ("total_usage", "usage_in_kernelmode", "usage_in_usermode")
    counts = ("periods", "throttled_periods", "throttled_time")
    return {"cpu_usage": dict.fromkeys(times, 0), "throttling_data": dict.fromkeys(counts, 0)}


def _memory(sample: Sample, total_bytes: int) -> dict[str, Any]:
    memory = sample.usage.memory
    stats = {
        "anon": memory.anon_bytes,
        "file": memory.file_bytes,
        "file_mapped": memory.mapped_bytes,
        "inactive_file": memory.inactive_file_bytes,
        "active_file": memory.active_file_bytes,
        "pgfault": memory.pgfault,
        "pgmajfault": memory.pgmajfault,
    }
    return {
        "usage": memory.current_bytes or 0,
        "max_usage": memory.peak_bytes or 0,
        "failcnt": memory.failcnt or 0,
        "limit": _limit(sample.limits.memory_max_bytes, total_bytes),
        "stats": {name: value for name, value in stats.items() if value is not None},
    }


def _limit(limit: object, otherwise: int) -> int:
    return limit if isinstance(limit, int) else otherwise


def _io(usage: Usage, read: str, written: str) -> Iterator[dict[str, Any]]:
    for device in usage.io or ():
        major, _, minor = device.device.partition(":")
        for operation, field in (("read", read), ("write", written)):
            yield {
                "major": int(major),
                "minor": int(minor),
                "op": operation,
                "value": getattr(device, field),
            }
