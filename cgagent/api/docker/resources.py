"""The limits of docker's ``HostConfig`` and of its update, as the engine has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from cgagent.api.native.schemas import ChangeBody, LimitsBody
from cgagent.engine.options.limits import block_device
from cgagent.engine.values import Limits
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from cgagent.api.docker.schemas import ResourcesBody, WeightBody
    from cgagent.engine.options.limits import Conveniences


def discarded(resources: ResourcesBody, *, has_v1_memory: bool) -> list[str]:
    """Take out what docker leaves out where the kernel has it no more; its warnings."""
    warnings = []
    if not has_v1_memory and resources.OomKillDisable:
        resources.OomKillDisable = None
        warnings.append("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
    if not has_v1_memory and resources.MemorySwappiness not in {None, -1}:
        resources.MemorySwappiness = None
        warnings.append(
            "Your kernel does not support memory swappiness capabilities or the cgroup is not "
            "mounted. Memory swappiness discarded."
        )
    return warnings


def limits(
    resources: ResourcesBody, *, current: Limits | None = None, devices: bool = True
) -> tuple[Limits, Conveniences]:
    """Of a new container, or, where there are `current` ones, of an update.

    Without `devices` what is said of block devices is passed over.

    Raises:
        InvalidInputError: a value that is none.
    """
    values: dict[str, Any] = {
        "memory_max_bytes": resources.Memory,
        "memory_low_bytes": resources.MemoryReservation,
        "memory_swap_bytes": resources.MemorySwap or None,
        "memory_swappiness": resources.MemorySwappiness,
        "oom_kill_disable": resources.OomKillDisable or None,
        "cpu_shares": resources.CpuShares,
        "cpus": resources.NanoCpus / 1e9,
        "cpu_quota_us": resources.CpuQuota,
        "cpu_period_us": resources.CpuPeriod,
        "cpu_rt_period_us": resources.CpuRealtimePeriod,
        "cpu_rt_runtime_us": resources.CpuRealtimeRuntime,
        "cpuset_cpus": resources.CpusetCpus or None,
        "cpuset_mems": resources.CpusetMems or None,
        "pids_max": resources.PidsLimit or None,
        "blkio_weight": resources.BlkioWeight,
        **(_devices(resources, current or Limits()) if devices else {}),
    }
    try:
        body = (LimitsBody if current is None else ChangeBody)(**values)
    except ValidationError as e:
        first = e.errors()[0]
        raise InvalidInputError(f"{first['loc'][0]}: {first['msg'].lower()}") from None
    return body.limits(), body.conveniences()


def _devices(resources: ResourcesBody, current: Limits) -> dict[str, Any]:
    """Each kind of limit that is given takes the place of what there was of that kind."""
    return {
        "blkio_weight_device": _weights(resources.BlkioWeightDevice, current) or None,
        "io_max": _rates(resources, current) or None,
    }


def _weights(given: list[WeightBody] | None, current: Limits) -> list[dict[str, Any]]:
    if given is None:
        return []
    weights: dict[tuple[int, int], int | None] = {
        (entry.major, entry.minor): None for entry in current.blkio_weight_device or ()
    }
    weights.update((block_device(one.Path), one.Weight) for one in given)
    return [
        {"major": major, "minor": minor, "weight": weight}
        for (major, minor), weight in weights.items()
    ]


def _rates(resources: ResourcesBody, current: Limits) -> list[dict[str, Any]]:
    given = {
        "rbps": resources.BlkioDeviceReadBps,
        "wbps": resources.BlkioDeviceWriteBps,
        "riops": resources.BlkioDeviceReadIOps,
        "wiops": resources.BlkioDeviceWriteIOps,
    }
    if all(rates is None for rates in given.values()):
        return []
    devices: dict[tuple[int, int], dict[str, Any]] = {
        (entry.major, entry.minor): {
            field: _plain(getattr(entry, field)) if rates is None else "max"
            for field, rates in given.items()
        }
        for entry in current.io_max or ()
    }
    for field, rates in given.items():
        for rate in rates or []:
            devices.setdefault(block_device(rate.Path), {})[field] = rate.Rate
    return [{"major": device[0], "minor": device[1], **caps} for device, caps in devices.items()]


def _plain(cap: object) -> int | str | None:
    return cap if cap is None or isinstance(cap, int) else "max"
