"""From what was asked to what will run: image defaults filled in, every value checked."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

from cgagent.engine.containers.bundle import usual_hostname
from cgagent.engine.containers.config import ContainerConfig, ResolvedConfig
from cgagent.engine.options import (
    boosts,
    budgets,
    confinement,
    health,
    init,
    mounts,
    namespaces,
    networking,
    wishes,
)
from cgagent.engine.options import logging as logopts
from cgagent.engine.options import restart as restart_policy
from cgagent.engine.options.logging import LogConfig
from cgagent.errors import InvalidInputError
from cgagent.kernel import signals
from cgagent.network import files
from cgagent.runtime.container import console
from cgagent.runtime.container.command import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cgroups import Limits
    from cgagent.engine.containers.container import Container
    from cgagent.images.image import ImageConfig
    from cgagent.runtime.spec import Process


_HOST_NAME_MAX: Final = 64  # the kernel's
_STOP_TIMEOUT_MAX_S: Final = 1e9
_HIBERNATE_LEAST_S, _HIBERNATE_MOST_S = 1, 366 * 86400
_PAGE: Final = 4096
READ_LATE: Final = frozenset(
    {
        *("image", "command", "entrypoint", "env", "working_dir", "user", "labels"),
        *("stdin", "stdin_once", "stop_signal", "stop_timeout_s", "health", "restart", "log"),
        *("reclaim", "boost", "budget", "auto_size", "hibernate_after_s"),
        *("networks", "ports", "publish_all", "exposed_ports"),
    }
)
"""Fields of a `ContainerConfig` that its root is made without: the image counts by its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the agent decides, after what was asked and its settings."""

    runtime: str = ""
    """Empty: our own."""
    cgroup_parent: str = ""
    user_mode: str = ""
    """Of the user namespace."""
    user_first_id: int = 0
    network: str = ""
    """The id of the network in which its zygote may have a place ahead of it."""
    log_default: LogConfig = LogConfig()  # noqa: RUF009 - frozen


def reuse_key(config: ContainerConfig, choices: Choices, image_id: str, limits: Limits) -> object:
    """The same of two requests: what comes before their commands is made alike.

    That is their roots and their limits, which are `limits` in full.
    """
    names = (f.name for f in fields(ContainerConfig) if f.name not in READ_LATE)
    network = networking.mode(config)
    return (image_id, limits, choices, network, *(getattr(config, name) for name in names))


def canonical(config: ContainerConfig) -> ContainerConfig:
    """With names in one spelling, and what needs nobody else's answer checked.

    Raises:
        InvalidInputError: any value. ConflictError: two things that exclude each other.
        UnsupportedError: what there is not yet.
    """
    _check_domainname(config.domainname)
    if config.isolation not in {"", "default"}:
        raise InvalidInputError(f"invalid isolation {config.isolation!r}: there is only 'default'")
    _check_shm_size(config)
    _check_stop_timeout(config.stop_timeout_s)
    _check_hibernate_after(config.hibernate_after_s)
    if "" in config.annotations:
        raise InvalidInputError("annotation: it has no name; write NAME=VALUE")
    if config.console_size is not None:
        console.check_size(*config.console_size)
    asked = networking.checked(networking.alone(config))
    mode = networking.mode(asked)
    budgets.require_possible(config.budget, mode, auto_remove=config.auto_remove)
    hosts = files.checked_hosts(config)
    alone = not networking.places(asked) and not networking.mode(asked)
    if alone and any(entry.endswith(f":{files.GATEWAY}") for entry in hosts):
        raise InvalidInputError(
            f"add-host: {files.GATEWAY} is the host as a network's members reach it, and "
            "--network none has none"
        )
    return replace(
        config,
        restart=restart_policy.checked(config.restart, auto_remove=config.auto_remove),
        **wishes.of(config).canonical(),
        cap_add=confinement.capability_names(config.cap_add),
        cap_drop=confinement.capability_names(config.cap_drop),
        extra_hosts=hosts,
        networks=asked.networks,
        ports=asked.ports,
    )


def resolve(
    config: ContainerConfig,
    choices: Choices,
    image: ImageConfig,
    container_id: str,
    find: Callable[[str], Container],
) -> ResolvedConfig:
    """Fill in what a `canonical` one leaves open, and check. `find` looks other containers up.

    Raises:
        InvalidInputError: no command, a bad volume, an unknown signal, any other value.
        NotFoundError, ConflictError: of another container whose namespace is to be shared.
        UnsupportedError, UnavailableError: what this host cannot do, or does not have.
    """
    user = config.user if config.user is not None else image.user or ""
    _refuse_nul("user", user)
    asked = namespaces.asked(
        config, choices.user_mode, choices.user_first_id, network=networking.mode(config)
    )
    shared = namespaces.checked(asked, find)
    confinement.check(config, namespaces.private(shared))
    stop_signal = config.stop_signal or image.stop_signal or "SIGTERM"
    signals.parse(stop_signal)
    log = logopts.checked(config.log, choices.log_default)
    logopts.require_present(log)
    if config.init:
        init.find()
    hostname = _hostname(config, container_id)
    checked_health = health.combined(config.health, image.health, image.shell)
    boosts.require_possible(config.boost, checked_health)
    return ResolvedConfig(
        args=_arguments(config, image),
        env=_environment(config, image, hostname),
        working_dir=_working_dir(config.working_dir or image.working_dir or "/"),
        user=user,
        hostname=hostname,
        labels={**image.labels, **config.labels},
        stop_signal=stop_signal,
        health=checked_health,
        log=log,
        mounts=mounts.combined(_mounts(config, find), image.volumes, config.volume_driver),
        ports=networking.published(config, image.exposed_ports) if not shared.network else (),
        namespaces=shared,
        runtime=choices.runtime,
        cgroup_parent=choices.cgroup_parent,
    )


def _mounts(
    config: ContainerConfig, find: Callable[[str], Container]
) -> tuple[mounts.MountSpec, ...]:
    """Its own, and those of others; of two others that have one place the last one counts."""
    own = config.specs()
    others: dict[str, mounts.MountSpec] = {}
    for text in config.volumes_from:
        shared = mounts.taken_over(text, lambda name: find(name).record.resolved.mounts, own)
        others.update((spec.destination, spec) for spec in shared)
    return (*own, *others.values())


def _arguments(config: ContainerConfig, image: ImageConfig) -> tuple[str, ...]:
    """Docker's rule: an entrypoint of the user's own drops the image's command as well."""
    if config.entrypoint is not None:
        args = (*config.entrypoint, *config.command)
    else:
        args = (*image.entrypoint, *(config.command or image.cmd))
    if not args or not args[0]:
        raise InvalidInputError(
            f"image {config.image} has no command of its own; give one after the image's name"
        )
    _refuse_nul("command", *args)
    return args


def _environment(config: ContainerConfig, image: ImageConfig, hostname: str) -> tuple[str, ...]:
    values = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if config.tty:
        values["TERM"] = "xterm"
    for item in image.env:
        _check_variable(item)
    for item in (*image.env, *config.env):
        name, is_set, value = item.partition("=")
        if is_set or not name:
            _check_variable(item)
            values[name] = value
        else:  # docker's way to have none of the image's
            values.pop(name, None)
    return tuple(f"{name}={value}" for name, value in values.items())


def _check_variable(item: str) -> None:
    name, separator, _ = item.partition("=")
    if not name or not separator or "\0" in item:
        raise InvalidInputError(f"environment variable {item!r} is not NAME=VALUE")


def _refuse_nul(what: str, *texts: str) -> None:
    for text in texts:
        if "\0" in text:
            raise InvalidInputError(f"{what} {text!r} has a NUL byte in it")


def check_process(process: Process) -> None:
    """A command to be run in a container that is there. Raises InvalidInputError."""
    if not process.args or not process.args[0]:
        raise InvalidInputError("no command is given")
    _refuse_nul("command", *process.args)
    _refuse_nul("user", process.user)
    _working_dir(process.cwd)
    if process.console_size is not None:
        console.check_size(*process.console_size)
    for item in process.env:
        _check_variable(item)


def _hostname(config: ContainerConfig, container_id: str) -> str:
    shares_uts = config.uts == namespaces.HOST
    if shares_uts and (config.hostname or config.domainname):
        raise InvalidInputError("conflicting options: hostname and the host's UTS namespace")
    shares = shares_uts or networking.mode(config) == networking.HOST
    name = config.hostname or (os.uname().nodename if shares else "")
    if len(name.encode()) > _HOST_NAME_MAX or any(c.isspace() or c == "\0" for c in name):
        raise InvalidInputError(f"hostname {name!r} is not valid: at most 64 bytes, no blanks")
    return name or usual_hostname(container_id)


def _working_dir(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidInputError(f"working directory {path!r} must be an absolute path")
    _refuse_nul("working directory", path)
    return os.path.normpath(path)


def _check_domainname(name: str) -> None:
    if len(name.encode()) > _HOST_NAME_MAX or any(c.isspace() or c == "\0" for c in name):
        raise InvalidInputError(f"domainname {name!r} is not valid: at most 64 bytes, no blanks")


def _check_shm_size(config: ContainerConfig) -> None:
    size = config.shm_size_bytes
    if not size:
        return
    if size < _PAGE:
        raise InvalidInputError(f"shm size {size} bytes is less than a page; give more")
    if config.ipc not in {"", "private", "shareable"}:
        raise InvalidInputError(
            f"shm size: with ipc mode {config.ipc} there is no /dev/shm of its own"
        )


def _check_hibernate_after(seconds: float | None) -> None:
    if seconds is not None and not _HIBERNATE_LEAST_S <= seconds <= _HIBERNATE_MOST_S:
        raise InvalidInputError(
            f"hibernate after {seconds:g} s: it must be from {_HIBERNATE_LEAST_S} to "
            f"{_HIBERNATE_MOST_S} seconds"
        )


def _check_stop_timeout(seconds: float | None) -> None:
    """-1 is Docker's for: never SIGKILL."""
    if seconds is not None and seconds != -1 and not 0 <= seconds < _STOP_TIMEOUT_MAX_S:
        raise InvalidInputError(f"stop timeout {seconds:g} is not a number of seconds, nor -1")
