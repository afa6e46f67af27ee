"""The agent's settings: read once, frozen, passed down.

Order of precedence: flags, environment (``CGAGENT_*``), ``/etc/cgagent/config.toml``, defaults.
The client needs none of this: see `cgagent.defaults`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cgagent.defaults import DEFAULT_SOCKET, path_of
from cgagent.errors import InvalidInputError
from cgagent.registryrules import RegistryRule, words
from cgagent.registryrules import parse as parse_registries
from cgagent.units import parse_size
from cgagent.watchlist import Watch, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_CONFIG: Final = "/etc/cgagent/config.toml"
DEFAULT_DATA_ROOT: Final = Path("/var/lib/cgagent")
_SHARE: Final = re.compile(r"(\d{1,2}|100)%")
_REGISTRY_VARIABLES: Final = {
    "ADD_REGISTRY": "add_registries",
    "BLOCK_REGISTRY": "block_registries",
    "INSECURE_REGISTRY": "insecure_registries",
}
"""Environment variables of settings, spelled as in the unit files of Docker packages."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What one agent was told. Paths are absolute; intervals are in seconds."""

    data_root: Path = DEFAULT_DATA_ROOT
    socket: Path = Path(DEFAULT_SOCKET)
    hosts: tuple[str, ...] = ()
    """What is listened on beside `socket`: ``tcp://HOST:PORT``, ``unix://PATH``, ``fd://``."""
    tls: bool = False
    """TLS on TCP. A client may have a certificate of `tlscacert`; with `tlsverify` it has to."""
    tlsverify: bool = False
    tlscacert: str = ""
    tlscert: str = ""
    tlskey: str = ""
    allowed_hosts: tuple[str, ...] = ()
    """Names that requests over TCP may be for, beside this machine's own and addresses."""
    access_policy: Path = Path("/etc/cgagent/access.toml")
    """Which caller may do what; the usual file need not be there."""
    policies: Path = Path("/etc/cgagent/policies")
    """Rulesets: a file, or a directory with ``*.toml``; the usual one need not be there."""
    cgroup_parent: str = "/cgagent"
    ui_listen: str = ""
    """``HOST:PORT`` on loopback, where the page and both APIs answer whoever has a token."""
    metrics_listen: str = "127.0.0.1:9753"
    """``HOST:PORT`` of the read-only metrics listener; empty switches it off."""
    sample_interval_s: float = 1.0
    """Of what changes from second to second: CPU time, memory in use, tasks, pressure."""
    sample_full_interval_s: float = 5.0
    """Of everything else, and of the search for groups to `watch`."""
    sample_descriptors: int = 25_000
    """Kept open by the sampler, at most, and no more than three quarters of the hard limit; files
    beyond it are opened for each reading."""
    watch: tuple[Watch, ...] = ()
    """Groups of the host that are sampled too: ``system.slice/*.service``; see docs/metrics.md."""
    metric_labels: tuple[str, ...] = ()
    """Keys of containers' labels that their series have, as ``container_label_KEY``."""
    stop_timeout_s: float = 10.0
    log_driver: str = "json-file"
    log_opts: tuple[str, ...] = ()
    """``KEY=VALUE`` each, for containers with this driver. In the file: a table, ``[log]``."""
    pressure_triggers: tuple[str, ...] = ()
    """Of every container, in the kernel's words: ``memory some 150000 1000000`` (microseconds)."""
    storage_driver: str = ""
    """What containers' roots are made with: overlay2, btrfs or vfs; empty: the first that works."""
    build_cache_size: str = "10%"
    """What builds may leave to be used again: a size, or a share of the data root's disk."""
    registry_mirrors: tuple[str, ...] = ()
    """Base URLs tried in order before docker.io, as Docker's ``registry-mirrors``."""
    add_registries: tuple[str, ...] = ()
    """Registries asked before docker.io for names without one."""
    block_registries: tuple[str, ...] = ()
    """Registries never asked: a host, ``public`` for docker.io, ``all`` but those added."""
    registries: dict[str, RegistryRule] = field(default_factory=dict)
    """By prefix of an image's name: where it really is, its mirrors, and whether it is blocked."""
    registry_certs: tuple[str, ...] = ("/etc/cgagent/certs.d", "/etc/docker/certs.d")
    """Directories with ``HOST[:PORT]/*.crt``, ``*.cert`` and ``*.key``; the first that has one."""
    address_pools: tuple[str, ...] = ("172.28.0.0/14:20", "10.201.0.0/16:24", "fd63:6761::/48:64")
    """Subnets of networks for which none was asked: ``BASE/PREFIX:PREFIX`` each."""
    userns: str = "host"
    """What ``--userns`` is when it is not given: ``host`` or ``auto``."""
    default_runtime: str = "native"
    """What ``--runtime`` is when it is not given."""
    runtimes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """OCI runtimes by name: each a path and, as Docker's ``runtimeArgs``, what comes after it."""
    insecure_registries: tuple[str, ...] = field(default=("127.0.0.0/8", "localhost"))
    """``HOST[:PORT]`` or networks spoken to over plain HTTP, or over unverified TLS."""

    @property
    def run_dir(self) -> Path:
        """Where sockets and other files that a reboot may forget live."""
        return self.socket.parent


_NAMES = {f.name.replace("_", "-"): f.name for f in fields(Settings)}


def _runtime(name: str, value: Any, origin: str) -> tuple[str, ...]:
    """Docker's form: ``{path = "...", runtimeArgs = ["..."]}``; or only the path."""
    table = {"path": value} if isinstance(value, str) else value
    if isinstance(table, dict) and table.keys() <= {"path", "runtimeArgs"}:
        words = (table.get("path"), *table.get("runtimeArgs", ()))
        if all(isinstance(w, str) for w in words) and os.path.isabs(words[0]):
            return words
    raise InvalidInputError(
        f"{origin}: runtimes.{name} must have an absolute path, and may have runtimeArgs"
    )


def _listed(name: str, value: Any, origin: str) -> tuple[Any, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if name == "watch" and isinstance(items, list | tuple):
        return tuple(parse(i, origin) for i in items if not isinstance(i, str) or i.strip())
    if not isinstance(items, list | tuple) or not all(isinstance(i, str) for i in items):
        raise InvalidInputError(f"{origin}: {name} must be a list of strings")
    return tuple(i.strip() for i in items if i.strip())


def _runtimes(name: str, value: Any, origin: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise InvalidInputError(f"{origin}: {name} must be a table")
    return {key: _runtime(key, entry, origin) for key, entry in value.items()}


def _count(name: str, value: Any, origin: str) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}", str(value)):
        raise InvalidInputError(f"{origin}: {name} must be a number from 0, not {value!r}")
    return int(value)


def _truth(name: str, value: Any, origin: str) -> bool:
    """In the environment 1 and 0 too."""
    known = {"1": True, "true": True, "0": False, "false": False, "": False}
    found = value if isinstance(value, bool) else known.get(str(value).lower())
    if found is None:
        raise InvalidInputError(f"{origin}: {name} must be true or false, not {value!r}")
    return found


def _size_or_share(name: str, value: Any, origin: str) -> str:
    text = str(value).strip()
    if not _SHARE.fullmatch(text):
        parse_size(text, f"{origin}: {name.replace('_', '-')}")
    return text


_PARSERS: Final[Mapping[str, Callable[[str, Any, str], Any]]] = {
    "registries": lambda _, value, origin: parse_registries(value, origin),
    "build_cache_size": _size_or_share,
    "runtimes": _runtimes,
}
"""Of settings whose values are of a kind of their own."""


def _typed(name: str, value: Any, origin: str) -> Any:
    default = getattr(Settings(), name)
    if name in _PARSERS:
        return _PARSERS[name](name, value, origin)
    if isinstance(default, tuple):
        return _listed(name, value, origin)
    if isinstance(default, int):
        parsed = _truth if isinstance(default, bool) else _count
        return parsed(name, value, origin)
    try:
        if isinstance(default, float):
            number = float(value)
            if not number > 0:
                raise ValueError
            return number
    except (TypeError, ValueError):
        raise InvalidInputError(
            f"{origin}: {name} must be a positive number of seconds, not {value!r}"
        ) from None
    if not isinstance(value, str | Path):
        raise InvalidInputError(f"{origin}: {name} must be a string, not {value!r}")
    if isinstance(default, Path):
        return Path(os.path.abspath(path_of(str(value)) if name == "socket" else value))
    return value


def _from_file(path: str, *, required: bool) -> dict[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as f:
            table = tomllib.load(f)
    except FileNotFoundError:
        if required:
            raise InvalidInputError(f"configuration file {path} does not exist") from None
        return {}
    except (OSError, tomllib.TOMLDecodeError) as e:
        raise InvalidInputError(f"configuration file {path} cannot be read: {e}") from None
    table = _with_log(table, path)
    unknown = sorted(set(table) - set(_NAMES))
    if unknown:
        known = ", ".join(sorted(_NAMES))
        raise InvalidInputError(f"{path}: unknown setting {unknown[0]!r}; known are {known}")
    return {_NAMES[k]: _typed(_NAMES[k], v, path) for k, v in table.items()}


def _with_log(table: dict[str, Any], path: str) -> dict[str, Any]:
    """``[log]`` as the two settings it stands for: ``driver``, and the options beside it."""
    if "log" not in table:
        return table
    found = table["log"]
    if not isinstance(found, dict):
        raise InvalidInputError(f"{path}: log must be a table, [log]")
    options = [f"{key}={value}" for key, value in found.items() if key != "driver"]
    flat = {"log-driver": found.get("driver", Settings().log_driver), "log-opts": options}
    return {**{k: v for k, v in table.items() if k != "log"}, **flat}


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    config_file: str | None = None,
) -> Settings:
    """The settings in force. `flags` has field names of `Settings`; ``None`` values are unset.

    Raises:
        InvalidInputError: a file that cannot be read, an unknown name, a value of the wrong type.
    """
    chosen = config_file or environ.get("CGAGENT_CONFIG")
    values = _from_file(chosen or DEFAULT_CONFIG, required=chosen is not None)
    for variable, name in _REGISTRY_VARIABLES.items():
        if found := words(environ.get(variable, "")):
            values[name] = (*values.get(name, getattr(Settings(), name)), *found)
    for name in _NAMES.values():
        variable = f"CGAGENT_{name.upper()}"
        if variable in environ:
            values[name] = _typed(name, environ[variable], variable)
    for name, value in (flags or {}).items():
        if value is not None:
            values[name] = _typed(name, value, f"--{name.replace('_', '-')}")
    settings = replace(Settings(), **values)
    if not settings.cgroup_parent.startswith("/") or ".." in settings.cgroup_parent.split("/"):
        raise InvalidInputError(
            f"cgroup parent {settings.cgroup_parent!r} must be an absolute path without '..'"
        )
    return settings
