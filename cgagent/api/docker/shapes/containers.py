"""Containers: a line of the list, and an inspection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from cgagent.api.docker import versions
from cgagent.api.docker.shapes import endpoints
from cgagent.api.docker.shapes.hostconfig import host_config
from cgagent.units import show_age, show_command, show_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgagent.api.docker.versions import Version
    from cgagent.engine.containers.config import ContainerConfig
    from cgagent.engine.containers.container import Container
    from cgagent.engine.engine import Engine
    from cgagent.engine.observe.sizes import Size
    from cgagent.engine.options.health import Health
    from cgagent.engine.options.mounts import MountSpec
    from cgagent.engine.values import HealthCheck

_GONE: Final = 128 + 9
_GIVEN: Final = frozenset({"HOSTNAME", "TERM"})


def summary(
    engine: Engine, container: Container, version: Version, size: Size | None
) -> dict[str, Any]:
    record = container.record
    config, resolved = record.config, record.resolved
    found = {
        "Id": record.id,
        "Names": [f"/{record.name}"],
        "Image": config.image,
        "ImageID": record.image_id,
        "Command": show_command(resolved.args),
        "Created": record.created_ns // 10**9,
        "Ports": _ports(engine, container),
        "Labels": resolved.labels,
        "State": state(container),
        "Status": status(container),
        "HostConfig": {"NetworkMode": endpoints.mode(config)},
        "NetworkSettings": {"Networks": endpoints.networks(engine, container)},
        "Mounts": _mounts(engine, container),
        **_sizes(size),
    }
    if versions.has_health_in_list(version):
        health = record.outcome.health
        found["Health"] = {
            "Status": health.status if health else "none",
            "FailingStreak": health.failing_streak if health else 0,
        }
    return found


def _sizes(size: Size | None) -> dict[str, int]:
    if size is None:
        return {}
    return {"SizeRw": size.written or 0, "SizeRootFs": size.whole or 0}


def _ports(engine: Engine, container: Container) -> list[dict[str, Any]]:
    published = engine.networks.endpoints.ports.shown(container.id)
    found: list[dict[str, Any]] = [
        {
            "IP": p.host_text,
            "PrivatePort": p.container_port,
            "PublicPort": p.host_port,
            "Type": p.protocol,
        }
        for p in published
    ]
    taken = {(p.container_port, p.protocol) for p in published}
    if container.running:
        found += [
            {"PrivatePort": port, "Type": protocol}
            for port, protocol in endpoints.exposed(engine, container)
            if (port, protocol) not in taken
        ]
    return found


def state(container: Container) -> str:
    """Docker's word."""
    if container.running:
        return "paused" if container.frozen else "running"
    return container.record.outcome.status


def status(container: Container) -> str:
    """The column STATUS of ``docker ps``."""
    outcome, now = container.record.outcome, time.time()
    if container.running:
        age = show_age(now - (outcome.started_ns or 0) / 1e9)
        paused = " (Paused)" if container.frozen else ""
        return f"Up {age}{paused or _health_text(outcome.health)}"
    if outcome.status == "created":
        return "Created"
    ended = show_age(now - (outcome.finished_ns or 0) / 1e9)
    word = "Restarting" if container.restarting else "Exited"
    return f"{word} ({exit_code(container)}) {ended} ago"


def exit_code(container: Container) -> int:
    """Docker's for one whose end nobody saw: it was killed."""
    outcome = container.record.outcome
    if outcome.exit_code is None:
        return _GONE if outcome.status == "exited" else 0
    return outcome.exit_code


def _health_text(health: Health | None) -> str:
    if health is None:
        return ""
    return " (health: starting)" if health.status == "starting" else f" ({health.status})"


def _mounts(engine: Engine, container: Container) -> list[dict[str, Any]]:
    """Without those of ``--tmpfs``, which docker shows in ``HostConfig.Tmpfs`` alone."""
    record = container.record
    tmpfs = record.config.tmpfs
    return [mount(engine, m) for m in record.resolved.mounts if m.destination not in tmpfs]


def mount(engine: Engine, m: MountSpec) -> dict[str, Any]:
    is_volume = m.type == "volume"
    return {
        "Type": m.type,
        **({"Name": m.source} if is_volume else {}),
        "Source": engine.volumes.path(m.source) if is_volume else m.source,
        "Destination": m.destination,
        **({"Driver": "local"} if is_volume else {}),
        "Mode": "ro" if m.read_only else "",
        "RW": not m.read_only,
        "Propagation": m.propagation or ("rprivate" if m.type == "bind" else ""),
    }


def inspect(
    engine: Engine, container: Container, version: Version, size: Size | None
) -> dict[str, Any]:
    record = container.record
    bundle = engine.lifecycle.bundle(record.id)
    driver = engine.images.storage_driver
    place = str(bundle.root)
    return {
        "Id": record.id,
        "Created": show_time(record.created_ns),
        "Path": record.resolved.args[0] if record.resolved.args else "",
        "Args": list(record.resolved.args[1:]),
        "State": _state(container),
        "Image": record.image_id,
        "ResolvConfPath": str(bundle.etc_file("resolv.conf")),
        "HostnamePath": str(bundle.etc_file("hostname")),
        "HostsPath": str(bundle.etc_file("hosts")),
        "LogPath": str(bundle.log) if record.resolved.log.driver == "json-file" else "",
        "Name": f"/{record.name}",
        "RestartCount": record.restart.count,
        "Driver": driver,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": [run.id for run in engine.streams.running_in(container)] or None,
        "HostConfig": host_config(record.config, record.resolved, record.limits),
        "GraphDriver": {"Name": driver, "Data": {"MergedDir": place}},
        **_sizes(size),
        "Mounts": _mounts(engine, container),
        "Config": _config(engine, container, version),
        "NetworkSettings": endpoints.settings(engine, container, version),
    }


def _state(container: Container) -> dict[str, Any]:
    outcome = container.record.outcome
    found = {
        "Status": state(container),
        "Running": container.up,
        "Paused": container.frozen,
        "Restarting": container.restarting,
        "OOMKilled": outcome.oom_killed,
        "Dead": False,
        "Pid": (outcome.pid or 0) if container.running else 0,
        "ExitCode": 0 if container.running else exit_code(container),
        "Error": outcome.error or "",
        "StartedAt": show_time(outcome.started_ns),
        "FinishedAt": show_time(outcome.finished_ns),
    }
    if outcome.health is not None:
        found["Health"] = _health(outcome.health)
    return found


def _health(health: Health) -> dict[str, Any]:
    return {
        "Status": health.status,
        "FailingStreak": health.failing_streak,
        "Log": [
            {
                "Start": show_time(result.started_ns),
                "End": show_time(result.ended_ns),
                "ExitCode": result.exit_code,
                "Output": result.output,
            }
            for result in health.log
        ],
    }


def _config(engine: Engine, container: Container, version: Version) -> dict[str, Any]:
    config, resolved = container.record.config, container.record.resolved
    image = engine.images.config_or_none(container.record.image_id)
    entrypoint = list(image.entrypoint) if image else []
    words = list(resolved.args)
    if config.entrypoint is not None:
        entrypoint = list(config.entrypoint)
    command = words[len(entrypoint) :] if words[: len(entrypoint)] == entrypoint else words
    volumes = _volumes(container, image.volumes if image else ())
    ports = [f"{port}/{protocol}" for port, protocol in endpoints.exposed(engine, container)]
    exposed = dict.fromkeys(ports)
    return {
        "Hostname": resolved.hostname,
        "Domainname": config.domainname,
        "User": resolved.user,
        "AttachStdin": config.stdin_once,
        "AttachStdout": True,
        "AttachStderr": True,
        **({"ExposedPorts": {port: {} for port in exposed}} if exposed else {}),
        "Tty": config.tty,
        "OpenStdin": config.stdin,
        "StdinOnce": config.stdin_once,
        "Env": _env(container, image.env if image else ()),
        "Cmd": command,
        **({"Healthcheck": healthcheck(resolved.health)} if resolved.health else {}),
        "Image": config.image,
        "Volumes": {path: {} for path in volumes},
        "WorkingDir": config.working_dir or (image.working_dir if image else ""),
        "Entrypoint": entrypoint,
        **({"OnBuild": []} if versions.has_empty_image_fields(version) else {}),
        "Labels": resolved.labels,
        "StopSignal": resolved.stop_signal,
        **_stop_timeout(config.stop_timeout_s),
        **_mac(config, version),
    }


def _env(container: Container, of_image: Sequence[str]) -> list[str]:
    """Without what each container is given: whoever makes another one of this would pass it on."""
    config, resolved = container.record.config, container.record.resolved
    asked = {item.partition("=")[0] for item in (*of_image, *config.env)}
    given = _GIVEN - asked
    kept = [item for item in resolved.env if item.partition("=")[0] not in given]
    return [*kept, *(item for item in config.env if "=" not in item)]


def _mac(config: ContainerConfig, version: Version) -> dict[str, str]:
    mac = config.networks[0].mac if config.networks else ""
    return {"MacAddress": mac} if mac and versions.takes_container_mac(version) else {}


def _stop_timeout(seconds: float | None) -> dict[str, int]:
    return {} if seconds is None else {"StopTimeout": int(seconds)}


def _volumes(container: Container, of_image: Sequence[str]) -> list[str]:
    """The places that the image or the request had no source for."""
    own = [m.destination for m in container.record.resolved.mounts if m.anonymous]
    return sorted({*own, *of_image})


def healthcheck(check: HealthCheck) -> dict[str, Any]:
    return {
        "Test": list(check.test),
        "Interval": check.interval_ns or 0,
        "Timeout": check.timeout_ns or 0,
        "StartPeriod": check.start_period_ns or 0,
        "StartInterval": check.start_interval_ns or 0,
        "Retries": check.retries or 0,
    }
