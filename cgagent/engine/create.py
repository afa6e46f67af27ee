"""From what was asked to what will run: image defaults filled in, every value checked."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import Limits
from cgagent.engine import init
from cgagent.engine.container import Options
from cgagent.engine.limits import Conveniences
from cgagent.errors import InvalidInputError
from cgagent.runtime import console
from cgagent.runtime.process import DEFAULT_PATH

if TYPE_CHECKING:
    from cgagent.images import ImageConfig
    from cgagent.network.files import Mode
    from cgagent.runtime.spec import Process, Volume


_HOST_NAME_MAX: Final = 64  # the kernel's


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
    network: Mode = "none"
    volumes: tuple[Volume, ...] = ()
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


def options(request: Request, image: ImageConfig, container_id: str) -> Options:
    """Fill in and check.

    Raises:
        InvalidInputError: no command, a bad volume, an unknown signal.
    """
    user = request.user if request.user is not None else image.user or ""
    _refuse_nul("user", user)
    for volume in request.volumes:
        check_volume(volume)
    stop_signal = request.stop_signal or image.stop_signal or "SIGTERM"
    signal_number(stop_signal)
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
        network=request.network,
        volumes=request.volumes,
        labels={**image.labels, **request.labels},
        auto_remove=request.auto_remove,
        stdin=request.stdin,
        stdin_once=request.stdin_once,
        stop_signal=stop_signal,
        read_only=request.read_only,
        tty=request.tty,
        console_size=request.console_size,
        init=request.init,
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
    for item in (*image.env, *request.env):
        _check_variable(item)
        name, _, value = item.partition("=")
        values[name] = value
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
    name = request.hostname or (os.uname().nodename if request.network == "host" else "")
    if len(name.encode()) > _HOST_NAME_MAX or any(c.isspace() or c == "\0" for c in name):
        raise InvalidInputError(f"hostname {name!r} is not valid: at most 64 bytes, no blanks")
    return name or container_id[:12]


def _working_dir(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidInputError(f"working directory {path!r} must be an absolute path")
    _refuse_nul("working directory", path)
    return os.path.normpath(path)


def check_volume(volume: Volume) -> None:
    """Raises InvalidInputError."""
    _refuse_nul("volume", volume.source, volume.destination)
    if not volume.source.startswith("/"):
        raise InvalidInputError(
            f"volume source {volume.source!r} must be an absolute path on the host; "
            "named volumes are not there yet"
        )
    if not os.path.exists(volume.source):
        raise InvalidInputError(f"volume source {volume.source} does not exist; create it first")
    destination = os.path.normpath(volume.destination)
    if not volume.destination.startswith("/") or destination == "/":
        raise InvalidInputError(
            f"volume destination {volume.destination!r} must be an absolute path other than /"
        )
    if destination in {"/proc", "/sys", "/dev"}:
        raise InvalidInputError(
            f"volume destination {destination} is a file system of the container's own; "
            "mount below it or elsewhere"
        )


def signal_number(name: str) -> int:
    """``SIGTERM``, ``TERM`` or ``15``.

    Raises:
        InvalidInputError: no such signal.
    """
    text = name.upper()
    try:
        if text.isdecimal():
            number = int(text)
            if 1 <= number <= signal.SIGRTMAX:
                return number
            raise ValueError
        return signal.Signals[text if text.startswith("SIG") else f"SIG{text}"]
    except (KeyError, ValueError):
        raise InvalidInputError(
            f"signal {name!r} is not known; use a name such as TERM or a number"
        ) from None
