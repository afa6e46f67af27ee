"""``POST /containers/create``: docker's request as the engine's.

Each value is passed on as it is; what docker says in another form than the engine is turned round
here, and nothing is checked that the engine checks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from cgagent.api.docker import versions
from cgagent.api.docker.errors import RefusedError
from cgagent.api.docker.resources import limits
from cgagent.api.docker.schemas import PortBindingBody
from cgagent.engine.containers.config import ContainerConfig, CreateRequest
from cgagent.engine.options.confinement import Ulimit
from cgagent.engine.options.devices import Device
from cgagent.engine.options.logging import DRIVERS, LogConfig
from cgagent.engine.options.mounts import Kind, Mount
from cgagent.engine.options.networking import EndpointSpec, PortSpec
from cgagent.engine.options.restart import RestartPolicy
from cgagent.engine.values import HealthCheck
from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.api.docker.schemas import (
        ConfigBody,
        CreateBody,
        EndpointBody,
        HealthcheckBody,
        HostConfigBody,
        MountBody,
        RestartPolicyBody,
    )
    from cgagent.api.docker.versions import Version

_PORT: Final = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
_DEFAULT: Final = frozenset({"", "default"})
_KINDS: Final[dict[str, Kind]] = {"bind": "bind", "volume": "volume", "tmpfs": "tmpfs"}


def request(body: CreateBody, name: str, platform: str, version: Version) -> CreateRequest:
    """Raises InvalidInputError, UnsupportedError."""
    host = body.HostConfig
    _refuse(host)
    asked, extra = limits(host)
    return CreateRequest(
        config=ContainerConfig(
            **_config(body),
            **_host_config(host),
            runtime=host.Runtime or body.Runtime,
            umask=host.Umask if versions.takes_umask(version) else None,
            mounts=tuple(_mounts(body)),
            networks=tuple(_networks(body, version)),
            ports=tuple(_ports(host)),
        ),
        limits=asked,
        conveniences=extra,
        name=name.removeprefix("/") or None,
        platform=platform,
    )


def _refuse(host: HostConfigBody) -> None:
    if host.DeviceRequests:
        raise UnsupportedError("device requests (--gpus) are not there yet; use --device")
    if host.MaskedPaths or host.ReadonlyPaths:
        raise UnsupportedError("MaskedPaths and ReadonlyPaths: there are the usual ones, or none")


def _log(host: HostConfigBody) -> LogConfig | None:
    asked = host.LogConfig
    if asked.Type not in {"", *DRIVERS}:
        raise RefusedError(400, f"logger: no log driver named '{asked.Type}' is registered")
    return LogConfig(asked.Type, asked.options) if asked.Type or asked.options else None


def _config(body: ConfigBody) -> dict[str, Any]:
    return {
        "image": body.Image,
        "command": tuple(body.Cmd),
        "entrypoint": entrypoint(body),
        "env": tuple(body.Env),
        "working_dir": body.WorkingDir or None,
        "user": body.User or None,
        "hostname": body.Hostname or None,
        "domainname": body.Domainname,
        "labels": body.Labels,
        "stdin": body.OpenStdin,
        "stdin_once": body.StdinOnce,
        "tty": body.Tty,
        "stop_signal": body.StopSignal or None,
        "stop_timeout_s": body.StopTimeout,
        "health": None if body.Healthcheck is None else health(body.Healthcheck),
        "exposed_ports": tuple(body.ExposedPorts),
    }


def entrypoint(body: ConfigBody) -> tuple[str, ...] | None:
    """A single empty word takes the image's away."""
    if body.Entrypoint is None:
        return None
    return () if body.Entrypoint == [""] else tuple(body.Entrypoint)


def health(check: HealthcheckBody) -> HealthCheck | None:
    return HealthCheck(
        test=tuple(check.Test),
        interval_ns=check.Interval or None,
        timeout_ns=check.Timeout or None,
        start_period_ns=check.StartPeriod or None,
        start_interval_ns=check.StartInterval or None,
        retries=check.Retries or None,
    )


def restart_policy(policy: RestartPolicyBody) -> RestartPolicy:
    return RestartPolicy(policy.Name or "no", policy.MaximumRetryCount)


def _host_config(host: HostConfigBody) -> dict[str, Any]:
    rows, columns = (*host.ConsoleSize, 0, 0)[:2]
    return {
        "binds": tuple(host.Binds),
        "tmpfs": host.Tmpfs,
        "volumes_from": tuple(host.VolumesFrom),
        "volume_driver": host.VolumeDriver,
        "shm_size_bytes": host.ShmSize or None,
        "read_only": host.ReadonlyRootfs,
        "root_limit_bytes": _root_limit(host.StorageOpt),
        "auto_remove": host.AutoRemove,
        "console_size": (rows, columns) if rows and columns else None,
        "init": bool(host.Init),
        "restart": restart_policy(host.RestartPolicy),
        "log": _log(host),
        "isolation": host.Isolation,
        "annotations": host.Annotations,
        "cgroup_parent": host.CgroupParent,
        "publish_all": host.PublishAllPorts,
        "extra_hosts": tuple(host.ExtraHosts),
        "dns": tuple(host.Dns),
        "dns_search": tuple(host.DnsSearch),
        "dns_options": tuple(host.DnsOptions),
        "pid": host.PidMode,
        "ipc": host.IpcMode,
        "uts": host.UTSMode,
        "cgroupns": host.CgroupnsMode,
        "userns": host.UsernsMode,
        **_confinement(host),
    }


def _confinement(host: HostConfigBody) -> dict[str, Any]:
    shows_all = host.MaskedPaths == [] and host.ReadonlyPaths == []
    return {
        "privileged": host.Privileged,
        "cap_add": tuple(host.CapAdd),
        "cap_drop": tuple(host.CapDrop),
        "security_opt": (*host.SecurityOpt, *(["systempaths=unconfined"] if shows_all else [])),
        "devices": tuple(
            Device(
                path_on_host=d.PathOnHost,
                path_in_container=d.PathInContainer or d.PathOnHost,
                access=d.CgroupPermissions or "rwm",
            )
            for d in host.Devices
        ),
        "device_cgroup_rules": tuple(host.DeviceCgroupRules),
        "ulimits": tuple(Ulimit(name=u.Name, soft=u.Soft, hard=u.Hard) for u in host.Ulimits),
        "sysctls": host.Sysctls,
        "group_add": tuple(host.GroupAdd),
        "oom_score_adj": host.OomScoreAdj or None,
    }


def _root_limit(options: dict[str, str]) -> int | None:
    for name in options:
        if name != "size":
            raise InvalidInputError(f"unknown storage option {name!r}; there is size")
    return parse_size(options["size"], "storage option size") if options else None


def _mounts(body: CreateBody) -> Iterator[Mount]:
    """Those of ``Mounts``, and a volume of its own for each place of ``Volumes`` that is free."""
    host = body.HostConfig
    taken = {m.Target for m in host.Mounts} | host.Tmpfs.keys()
    taken |= {bind.split(":")[1] for bind in host.Binds if ":" in bind}
    yield from map(_mount, host.Mounts)
    for path in body.Volumes:
        if path not in taken:
            yield Mount(type="volume", destination=path)


def _mount(m: MountBody) -> Mount:
    driver = m.VolumeOptions.DriverConfig
    if driver.Name not in {"", "local"} or driver.Options or m.VolumeOptions.Subpath:
        raise UnsupportedError(
            f"mount {m.Target}: drivers of volumes, their options and subpaths are not there yet"
        )
    kind = _KINDS.get(m.Type)
    if kind is None:
        raise InvalidInputError(f"mount type unknown: {m.Type!r}; there are bind, volume and tmpfs")
    tmpfs = m.TmpfsOptions
    return Mount(
        type=kind,
        source=m.Source,
        destination=m.Target,
        read_only=m.ReadOnly,
        propagation=m.BindOptions.Propagation,
        recursive=not m.BindOptions.NonRecursive,
        create_source=m.BindOptions.CreateMountpoint,
        no_copy=m.VolumeOptions.NoCopy,
        labels=m.VolumeOptions.Labels,
        tmpfs_options=(
            *([f"size={tmpfs.SizeBytes}"] if tmpfs.SizeBytes else []),
            *([f"mode={tmpfs.Mode:o}"] if tmpfs.Mode else []),
            *("=".join(option) for option in tmpfs.Options),
        ),
    )


def endpoint(network: str, body: EndpointBody) -> EndpointSpec:
    return EndpointSpec(
        network=network,
        aliases=tuple(body.Aliases),
        links=tuple(body.Links),
        address=body.IPAMConfig.IPv4Address,
        address6=body.IPAMConfig.IPv6Address,
        link_local=tuple(body.IPAMConfig.LinkLocalIPs),
        mac=body.MacAddress,
        gateway_priority=body.GwPriority,
        driver_options=body.DriverOpts,
    )


def _networks(body: CreateBody, version: Version) -> Iterator[EndpointSpec]:
    """The network of ``NetworkMode`` is the first; ``EndpointsConfig`` may say more of it."""
    mode = "none" if body.NetworkDisabled else body.HostConfig.NetworkMode
    mode = "bridge" if mode in _DEFAULT else mode
    given = {
        "bridge" if name in _DEFAULT else name: endpoint(name, config)
        for name, config in body.NetworkingConfig.EndpointsConfig.items()
        if config is not None
    }
    first = given.pop(mode, None) or EndpointSpec(network=mode)
    links = (*first.links, *body.HostConfig.Links)
    mac = first.mac
    if versions.takes_container_mac(version):
        mac = mac or body.MacAddress
    yield EndpointSpec(**{**vars(first), "network": mode, "links": links, "mac": mac})
    yield from given.values()


def _ports(host: HostConfigBody) -> Iterator[PortSpec]:
    for key, bindings in host.PortBindings.items():
        text, _, protocol = key.partition("/")
        for binding in bindings or [PortBindingBody()]:
            first, last = _host_ports(binding.HostPort)
            for port in _container_ports(text):
                yield PortSpec(
                    container_port=port,
                    protocol=protocol or "tcp",
                    host_address=binding.HostIp,
                    host_port=first,
                    host_port_last=last,
                )


def _container_ports(text: str) -> range:
    match = _PORT.fullmatch(text)
    if match is None:
        raise InvalidInputError(f"invalid port specification: {text!r}")
    first = int(match[1])
    return range(first, min(int(match[2] or first), 1 << 16) + 1)


def _host_ports(text: str) -> tuple[int, int]:
    if not text:
        return 0, 0
    match = _PORT.fullmatch(text)
    if match is None:
        raise InvalidInputError(f"invalid port specification: {text!r}")
    return int(match[1]), int(match[2] or 0)
