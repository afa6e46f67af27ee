"""From what was asked to what will run: image defaults filled in, every value checked."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import Limits
from cgagent.engine.containers.bundle import usual_hostname
from cgagent.engine.containers.container import Options
from cgagent.engine.options import confinement, health, init, mounts, namespaces
from cgagent.engine.options import logging as logopts
from cgagent.engine.options import restart as restart_policy
from cgagent.engine.options.confinement import Confinement
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.logging import LogConfig
from cgagent.engine.options.namespaces import Namespaces
from cgagent.engine.options.restart import RestartPolicy
from cgagent.errors import InvalidInputError
from cgagent.kernel import signals
from cgagent.network import files
from cgagent.network.files import NameLookup
from cgagent.runtime.container import console
from cgagent.runtime.container.command import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.containers.container import Container
    from cgagent.engine.options.mounts import MountSpec
    from cgagent.images.image import HealthCheck, ImageConfig
    from cgagent.network.files import Mode
    from cgagent.runtime.spec import Process


_HOST_NAME_MAX: Final = 64  # the kernel's
_STOP_TIMEOUT_MAX_S: Final = 1e9
_PAGE: Final = 4096
OF_THE_ROOT: Final = (
    "hostname",
    "domainname",
    "network",
    "mounts",
    "shm_size_bytes",
    "confinement",
    "namespaces",
    "lookup",
    "auto_remove",
    "read_only",
    "tty",
    "console_size",
    "init",
    "runtime",
    "cgroup_parent",
    "annotations",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks for. None: the image decides."""

    image: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    name: str | None = None
    env: tuple[str, ...] = ()
    working_dir: str | None = None
    user: str | None = None
    hostname: str | None = None
    domainname: str = ""
    network: Mode = "none"
    mounts: tuple[MountSpec, ...] = ()
    shm_size_bytes: int | None = None
    confinement: Confinement = field(default_factory=Confinement)
    namespaces: Namespaces = field(default_factory=Namespaces)
    lookup: NameLookup = field(default_factory=NameLookup)
    labels: dict[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    conveniences: Conveniences = field(default_factory=Conveniences)
    auto_remove: bool = False
    stdin: bool = False
    stdin_once: bool = False
    read_only: bool = False
    stop_signal: str | None = None
    tty: bool = False
    console_size: tuple[int, int] | None = None
    init: bool = False
    runtime: str = ""
    cgroup_parent: str = ""
    annotations: dict[str, str] = field(default_factory=dict)
    stop_timeout_s: float | None = None
    health: HealthCheck | None = None
    """What it has not, the image's has."""
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    log: LogConfig | None = None
    """None: the agent's setting."""


def reuse_key(request: Request, image_id: str, limits: Limits) -> object:
    """The same of two requests: what comes before their commands is made alike.

    That is their roots and their limits, which are `limits` in full.
    """
    return (image_id, limits, *(getattr(request, name) for name in OF_THE_ROOT))


def options(
    request: Request,
    image: ImageConfig,
    container_id: str,
    find: Callable[[str], Container],
    log_default: LogConfig = LogConfig(),  # noqa: B008 - frozen
) -> Options:
    """Fill in and check. `find` looks other containers up.

    Raises:
        InvalidInputError: no command, a bad volume, an unknown signal, any other value.
        NotFoundError, ConflictError: of another container whose namespace is to be shared.
        ConflictError: two things that exclude each other.
        UnsupportedError, UnavailableError: what this host cannot do, or does not have.
    """
    user = request.user if request.user is not None else image.user or ""
    _refuse_nul("user", user)
    shared = namespaces.checked(request.namespaces, find, request.network)
    private = namespaces.private(shared, request.network)
    stop_signal = request.stop_signal or image.stop_signal or "SIGTERM"
    signals.parse(stop_signal)
    log = logopts.checked(request.log, log_default)
    logopts.require_present(log)
    if request.console_size is not None:
        console.check_size(*request.console_size)
    if request.init:
        init.find()
    return Options(
        image=request.image,
        args=_arguments(request, image),
        env=_environment(request, image, container_id),
        working_dir=_working_dir(request.working_dir or image.working_dir or "/"),
        user=user,
        hostname=_hostname(request, container_id),
        domainname=_domainname(request),
        network=request.network,
        mounts=mounts.combined(request.mounts, image.volumes),
        shm_size_bytes=_shm_size(request),
        confinement=confinement.checked(request.confinement, private),
        namespaces=shared,
        lookup=files.checked(request.lookup),
        labels={**image.labels, **request.labels},
        auto_remove=request.auto_remove,
        stdin=request.stdin,
        stdin_once=request.stdin_once,
        stop_signal=stop_signal,
        read_only=request.read_only,
        tty=request.tty,
        console_size=request.console_size,
        init=request.init,
        runtime=request.runtime,
        cgroup_parent=request.cgroup_parent,
        annotations=_annotations(request.annotations),
        stop_timeout_s=_stop_timeout(request.stop_timeout_s),
        health=health.combined(request.health, image.health, image.shell),
        restart=restart_policy.checked(request.restart, auto_remove=request.auto_remove),
        log=log,
    )


def _arguments(request: Request, image: ImageConfig) -> tuple[str, ...]:
    """Docker's rule: an entrypoint of the user's own drops the image's command as well."""
    if request.entrypoint is not None:
        args = (*request.entrypoint, *request.command)
    else:
        args = (*image.entrypoint, *(request.command or image.cmd))
    if not args or not args[0]:
        raise InvalidInputError(
            f"image {request.image} has no command of its own; give one after the image's name"
        )
    _refuse_nul("command", *args)
    return args


def _environment(request: Request, image: ImageConfig, container_id: str) -> tuple[str, ...]:
    hostname = _hostname(request, container_id)
    values = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if request.tty:
        values["TERM"] = "xterm"
    for item in image.env:
        _check_variable(item)
    for item in (*image.env, *request.env):
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


def _hostname(request: Request, container_id: str) -> str:
    shares_uts = request.namespaces.uts == namespaces.HOST
    if shares_uts and (request.hostname or request.domainname):
        raise InvalidInputError("conflicting options: hostname and the host's UTS namespace")
    shares = shares_uts or request.network == "host"
    name = request.hostname or (os.uname().nodename if shares else "")
    if len(name.encode()) > _HOST_NAME_MAX or any(c.isspace() or c == "\0" for c in name):
        raise InvalidInputError(f"hostname {name!r} is not valid: at most 64 bytes, no blanks")
    return name or usual_hostname(container_id)


def _working_dir(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidInputError(f"working directory {path!r} must be an absolute path")
    _refuse_nul("working directory", path)
    return os.path.normpath(path)


def _domainname(request: Request) -> str:
    name = request.domainname
    if len(name.encode()) > _HOST_NAME_MAX or any(c.isspace() or c == "\0" for c in name):
        raise InvalidInputError(f"domainname {name!r} is not valid: at most 64 bytes, no blanks")
    return name


def _shm_size(request: Request) -> int | None:
    size = request.shm_size_bytes or None  # 0 is docker's for: the default
    if size is not None and size < _PAGE:
        raise InvalidInputError(f"shm size {size} bytes is less than a page; give more")
    if size is not None and request.namespaces.ipc not in {"private", "shareable"}:
        raise InvalidInputError(
            f"shm size: with ipc mode {request.namespaces.ipc} there is no /dev/shm of its own"
        )
    return size


def _annotations(asked: dict[str, str]) -> dict[str, str]:
    if "" in asked:
        raise InvalidInputError("annotation: it has no name; write NAME=VALUE")
    return asked


def _stop_timeout(seconds: float | None) -> float | None:
    """-1 is docker's for: never SIGKILL."""
    if seconds is not None and seconds != -1 and not 0 <= seconds < _STOP_TIMEOUT_MAX_S:
        raise InvalidInputError(f"stop timeout {seconds:g} is not a number of seconds, nor -1")
    return seconds
