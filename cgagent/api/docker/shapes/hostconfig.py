"""``HostConfig`` of an inspection: what was asked of the host, limits among it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cgagent.api.docker.shapes import endpoints
from cgagent.engine.options.limits import nano_cpus

if TYPE_CHECKING:
    from cgagent.engine.containers.config import ContainerConfig, ResolvedConfig
    from cgagent.engine.options.mounts import Mount
    from cgagent.engine.values import Limits

_SHM_BYTES: Final = 64 * 1024 * 1024
_UNLIMITED: Final = -1


def host_config(
    config: ContainerConfig, resolved: ResolvedConfig, limits: Limits
) -> dict[str, Any]:
    shared = resolved.namespaces
    size = config.root_limit_bytes
    return {
        "Binds": list(config.binds),
        "ContainerIDFile": "",
        "LogConfig": {"Type": resolved.log.driver, "Config": resolved.log.options},
        "NetworkMode": endpoints.mode(config),
        "PortBindings": _bindings(config),
        "RestartPolicy": {
            "Name": config.restart.name,
            "MaximumRetryCount": config.restart.max_retries,
        },
        "AutoRemove": config.auto_remove,
        "VolumeDriver": config.volume_driver,
        "VolumesFrom": list(config.volumes_from),
        "ConsoleSize": list(config.console_size or (0, 0)),
        **({"Annotations": config.annotations} if config.annotations else {}),
        "CapAdd": list(config.cap_add),
        "CapDrop": list(config.cap_drop),
        "CgroupnsMode": shared.cgroup,
        "Dns": list(config.dns),
        "DnsOptions": list(config.dns_options),
        "DnsSearch": list(config.dns_search),
        "ExtraHosts": list(config.extra_hosts),
        "GroupAdd": list(config.group_add),
        "IpcMode": shared.ipc,
        "Cgroup": "",
        "Links": [link for n in config.networks for link in n.links],
        "OomScoreAdj": config.oom_score_adj or 0,
        "PidMode": shared.pid,
        "Privileged": config.privileged,
        "PublishAllPorts": config.publish_all,
        "ReadonlyRootfs": config.read_only,
        "SecurityOpt": list(config.security_opt),
        **({"StorageOpt": {"size": str(size)}} if size else {}),
        **({"Tmpfs": config.tmpfs} if config.tmpfs else {}),
        **({} if config.umask is None else {"Umask": config.umask}),
        "UTSMode": shared.uts,
        "UsernsMode": shared.user,
        "ShmSize": config.shm_size_bytes or _SHM_BYTES,
        **({"Sysctls": config.sysctls} if config.sysctls else {}),
        "Runtime": config.runtime or resolved.runtime or "native",
        "Isolation": config.isolation,
        **({"Mounts": [_mount(m) for m in config.mounts]} if config.mounts else {}),
        **_devices(config),
        **_limits(limits),
        "CgroupParent": resolved.cgroup_parent,
        "Init": config.init,
    }


def _bindings(config: ContainerConfig) -> dict[str, Any]:
    found: dict[str, list[dict[str, str]]] = {}
    for p in config.ports:
        text = f"{p.host_port}-{p.host_port_last}" if p.host_port_last else str(p.host_port or "")
        bound = {"HostIp": p.host_address, "HostPort": text}
        found.setdefault(f"{p.container_port}/{p.protocol}", []).append(bound)
    return found


def _mount(m: Mount) -> dict[str, Any]:
    found: dict[str, Any] = {"Type": m.type, "Source": m.source, "Target": m.destination}
    if m.read_only:
        found["ReadOnly"] = True
    if m.type == "bind" and (m.propagation or not m.recursive):
        found["BindOptions"] = {"Propagation": m.propagation, "NonRecursive": not m.recursive}
    if m.type == "volume" and (m.no_copy or m.labels):
        found["VolumeOptions"] = {"NoCopy": m.no_copy, "Labels": m.labels}
    return found


def _devices(config: ContainerConfig) -> dict[str, Any]:
    return {
        "Devices": [
            {
                "PathOnHost": d.path_on_host,
                "PathInContainer": d.path_in_container,
                "CgroupPermissions": d.access,
            }
            for d in config.devices
        ],
        "DeviceCgroupRules": list(config.device_cgroup_rules),
        "DeviceRequests": [],
        "Ulimits": [{"Name": u.name, "Soft": u.soft, "Hard": u.hard} for u in config.ulimits],
    }


def _limits(limits: Limits) -> dict[str, Any]:
    """Docker's 0 is a limit that was not asked for."""
    quota, period = limits.cpu_quota_us, limits.cpu_period_us
    cpus = nano_cpus(limits)
    if cpus:  # docker has either
        quota = period = None
    rates = limits.io_max or ()
    return {
        "CpuShares": limits.cpu_shares or 0,
        "Memory": _number(limits.memory_max_bytes),
        "NanoCpus": cpus,
        "BlkioWeight": limits.blkio_weight or 0,
        "BlkioWeightDevice": [
            {"Path": _path(w.device), "Weight": w.weight or 0}
            for w in limits.blkio_weight_device or ()
        ],
        "BlkioDeviceReadBps": _rates(rates, "rbps"),
        "BlkioDeviceWriteBps": _rates(rates, "wbps"),
        "BlkioDeviceReadIOps": _rates(rates, "riops"),
        "BlkioDeviceWriteIOps": _rates(rates, "wiops"),
        "CpuPeriod": period or 0,
        "CpuQuota": _number(quota),
        "CpuRealtimePeriod": limits.cpu_rt_period_us or 0,
        "CpuRealtimeRuntime": _number(limits.cpu_rt_runtime_us),
        "CpusetCpus": limits.cpuset_cpus or "",
        "CpusetMems": limits.cpuset_mems or "",
        "MemoryReservation": _number(limits.memory_low_bytes),
        "MemorySwap": _memory_swap(limits),
        **_swappiness(limits.memory_swappiness),
        "OomKillDisable": bool(limits.oom_kill_disable),
        "PidsLimit": None if limits.pids_max is None else _number(limits.pids_max),
    }


def _swappiness(value: int | None) -> dict[str, int]:
    return {} if value is None else {"MemorySwappiness": value}


def _number(limit: Any) -> int:
    if limit is None:
        return 0
    return limit if isinstance(limit, int) else _UNLIMITED


def _memory_swap(limits: Limits) -> int:
    """Memory and swap together."""
    swap, memory = limits.memory_swap_max_bytes, limits.memory_max_bytes
    if not isinstance(swap, int) or not isinstance(memory, int):
        return _number(swap) if swap is not None else 0
    return memory + swap


def _rates(rates: Any, field: str) -> list[dict[str, Any]]:
    return [
        {"Path": _path(entry.device), "Rate": value}
        for entry in rates
        if isinstance(value := getattr(entry, field), int)
    ]


def _path(device: str) -> str:
    return f"/dev/block/{device}"
