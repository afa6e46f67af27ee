"""What a user wants mounted: ``-v``, ``--mount``, ``--tmpfs`` and an image's VOLUMEs.

`Storage` is the part of a `ContainerConfig` that says so, `Mount` one of its mounts. A `MountSpec`
is what one came to: a volume without a name of the user's has got one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Final, Literal

from annotated_types import Ge

from cgagent.bounds import BOUNDED
from cgagent.engine.containers.names import check_volume_name, new_id
from cgagent.errors import InvalidInputError, NotFoundError
from cgagent.members import members
from cgagent.runtime.spec import MountPoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Kind = Literal["bind", "volume", "tmpfs"]

_PROPAGATIONS: Final = ("private", "rprivate", "shared", "rshared", "slave", "rslave")

_DRIVERS: Final = ("", "local", "default")

_MODES: Final = (
    {"ro", "rw"},
    set(_PROPAGATIONS),
    {"z", "Z"},  # SELinux labels: nothing to be done where there is none
    {"nocopy"},
    {"consistent", "cached", "delegated", "default"},  # of docker's on a Mac; nothing here
)
_TMPFS_FLAGS: Final = frozenset(
    {
        *("ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async"),
        *("dirsync", "atime", "noatime", "diratime", "nodiratime", "relatime", "strictatime"),
    }
)
_TMPFS_DATA: Final = re.compile(
    r"(size|nr_blocks)=\d+[kmgKMG%]?|nr_inodes=\d+[kmgKMG]?|mode=0{0,3}[0-7]{1,4}|(uid|gid)=\d+"
    r"|mpol=[a-z]+[=:\w,-]*|huge=(never|always|within_size|advise)"
)
_OPPOSITES: Final = {"suid": "nosuid", "dev": "nodev", "exec": "noexec"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    type: Kind
    destination: str
    source: str = ""
    """A host path, or a volume's name; empty: a volume without a name of the user's."""
    read_only: bool = False
    propagation: str = ""
    recursive: bool = True
    """Whether a bind mount takes along what is mounted below its source."""
    create_source: bool = False
    """Whether a directory of the host that is not there is made, as docker's ``-v`` does."""
    no_copy: bool = False
    """Whether a fresh volume stays empty, whatever the image has there."""
    labels: dict[str, str] = field(default_factory=dict)
    """Of a volume that this mount is the first to use."""
    tmpfs_options: Annotated[tuple[str, ...], BOUNDED] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MountSpec(Mount):
    anonymous: bool = False
    """A volume that goes with its container."""


@dataclass(frozen=True, kw_only=True)
class Storage:
    binds: Annotated[tuple[str, ...], BOUNDED] = ()
    """Docker's ``-v``: ``[SOURCE:]DESTINATION[:OPTIONS]``."""
    mounts: Annotated[tuple[Mount, ...], BOUNDED] = ()
    tmpfs: Annotated[dict[str, str], BOUNDED] = field(default_factory=dict)
    """Options by destination."""
    volumes_from: Annotated[tuple[str, ...], BOUNDED] = ()
    """``CONTAINER[:ro|:rw]``: what others have mounted, but where this one has its own."""
    volume_driver: str = ""
    """Of the volumes among them; another one than ``local`` can be named where there is none."""
    shm_size_bytes: Annotated[int, Ge(0)] | None = None
    """None, or 0: the default."""
    read_only: bool = False
    """The root file system cannot be written."""
    root_limit_bytes: Annotated[int, Ge(1)] | None = None
    """What may be written to it, on disk; None: as much as there is room."""

    def specs(self) -> tuple[MountSpec, ...]:
        """All mounts, however they were asked for. Raises InvalidInputError."""
        return (
            *map(parse_bind, self.binds),
            *(MountSpec(**members(Mount, mount)) for mount in self.mounts),
            *(parse_tmpfs(where, how) for where, how in self.tmpfs.items()),
        )


def parse_bind(text: str) -> MountSpec:
    """Docker's ``-v``: ``[SOURCE:]DESTINATION[:OPTIONS]``.

    Raises:
        InvalidInputError: it is none.
    """
    parts = text.split(":")
    if not all(parts) or len(parts) > 3:  # noqa: PLR2004 - source, destination, options
        raise InvalidInputError(
            f"invalid volume specification: {text!r}; write [SOURCE:]DESTINATION[:OPTIONS]"
        )
    source = parts[0] if len(parts) > 1 else ""
    destination = parts[1] if len(parts) > 1 else parts[0]
    modes = parts[2].split(",") if len(parts) > 2 else []  # noqa: PLR2004
    _check_modes(text, modes)
    is_bind = source.startswith("/")
    propagation = next((m for m in modes if m in _PROPAGATIONS), "")
    if propagation and not is_bind:
        raise InvalidInputError(f"volume {text!r}: {propagation} is for a path of the host only")
    if "nocopy" in modes and is_bind:
        raise InvalidInputError(f"volume {text!r}: nocopy is for a volume only")
    return MountSpec(
        type="bind" if is_bind else "volume",
        source=source,
        destination=destination,
        read_only="ro" in modes,
        propagation=propagation,
        no_copy="nocopy" in modes,
        create_source=is_bind,
    )


def _check_modes(text: str, modes: list[str]) -> None:
    """At most one of each kind."""
    for mode in modes:
        if not any(mode in kind for kind in _MODES):
            raise InvalidInputError(f"volume {text!r}: invalid mode: {mode!r}")
    if any(len(kind & set(modes)) > 1 for kind in _MODES) or len(set(modes)) != len(modes):
        raise InvalidInputError(f"volume {text!r}: invalid mode: {','.join(modes)!r}")


def parse_tmpfs(destination: str, options: str) -> MountSpec:
    """Docker's ``--tmpfs``. Raises InvalidInputError."""
    given = tuple(o for o in options.split(",") if o not in {"", "defaults"})
    return MountSpec(type="tmpfs", destination=destination, tmpfs_options=given)


def taken_over(
    text: str, mounts_of: Callable[[str], Iterable[MountSpec]], own: Iterable[MountSpec]
) -> tuple[MountSpec, ...]:
    """What ``CONTAINER[:ro|:rw]`` has mounted, where none of our `own` is.

    Raises:
        InvalidInputError: a mode that is none. NotFoundError: there is no such container.
    """
    name, _, mode = text.partition(":")
    if mode not in {"", "ro", "rw", "z", "Z"}:
        raise InvalidInputError(f"volumes-from {text!r}: the mode is ro or rw")
    taken = {checked(spec).destination for spec in own}
    return tuple(
        replace(spec, read_only=spec.read_only or mode == "ro", anonymous=False, labels={})
        for spec in mounts_of(name)
        if spec.type != "tmpfs" and spec.destination not in taken
    )


def combined(
    asked: Iterable[MountSpec], image_volumes: Iterable[str], driver: str = ""
) -> tuple[MountSpec, ...]:
    """All that a container has, checked, and every volume with a name.

    Raises:
        InvalidInputError: one that is none, or two at the same place.
        NotFoundError: the driver that its volumes are to have.
    """
    found: dict[str, MountSpec] = {}
    for spec in asked:
        spec = checked(spec)  # noqa: PLW2901
        if spec.destination in found:
            raise InvalidInputError(f"duplicate mount point: {spec.destination}")
        found[spec.destination] = spec
    for path in image_volumes:
        spec = checked(MountSpec(type="volume", destination=path))
        found.setdefault(spec.destination, spec)
    if any(spec.type == "volume" for spec in found.values()):
        require_driver(driver)
    return tuple(
        replace(spec, source=new_id(), anonymous=True)
        if spec.type == "volume" and not spec.source
        else spec
        for spec in found.values()
    )


def require_driver(name: str) -> None:
    """Raises NotFoundError: there is no such driver of volumes."""
    if name not in _DRIVERS:
        raise NotFoundError(
            f'error looking up volume plugin {name}: plugin "{name}" not found; there is only local'
        )


def checked(spec: MountSpec) -> MountSpec:
    """With its destination in canonical form. Raises InvalidInputError."""
    destination = "/" + os.path.normpath(spec.destination).lstrip("/")  # "//" is kept by it
    for path in (spec.source, spec.destination):
        if "\0" in path:
            raise InvalidInputError(f"volume {path!r} has a NUL byte in it")
    if not spec.destination.startswith("/") or destination == "/":
        raise InvalidInputError(
            f"volume destination {spec.destination!r} must be an absolute path other than /"
        )
    if destination == "/proc" and spec.type != "bind":
        raise InvalidInputError(
            f"{spec.type} on /proc: only a proc file system can be mounted there, such as the "
            "host's (-v /proc:/proc); mount it on another path"
        )
    {"bind": _check_bind, "volume": _check_volume, "tmpfs": _check_tmpfs}[spec.type](spec)
    return replace(spec, destination=destination)


def _check_bind(spec: MountSpec) -> None:
    if not spec.source.startswith("/"):
        raise InvalidInputError(
            f"mount source {spec.source!r} must be an absolute path on the host"
        )
    if spec.propagation not in {"", *_PROPAGATIONS}:
        raise InvalidInputError(
            f"bind propagation {spec.propagation!r} is not known: {', '.join(_PROPAGATIONS)} are"
        )
    if not spec.create_source:
        require_source(spec)
    if spec.no_copy or spec.labels or spec.tmpfs_options:
        raise InvalidInputError(f"mount {spec.destination}: an option is not one of a bind mount")


def require_source(spec: MountSpec) -> None:
    """The path on the host, made if that was asked for.

    Raises:
        InvalidInputError: it does not exist.
        NotFoundError: it cannot be made.
    """
    if os.path.exists(spec.source):
        return
    if not spec.create_source:
        raise InvalidInputError(f"bind source path does not exist: {spec.source}; create it first")
    try:
        os.makedirs(spec.source, mode=0o755, exist_ok=True)
    except OSError as e:
        reason = os.strerror(e.errno or 0).lower()
        raise NotFoundError(f"bind source path {spec.source}: cannot be made: {reason}") from None


def _check_volume(spec: MountSpec) -> None:
    if spec.source:
        check_volume_name(spec.source)
    if spec.propagation or spec.tmpfs_options or not spec.recursive:
        raise InvalidInputError(f"mount {spec.destination}: an option is not one of a volume")


def _check_tmpfs(spec: MountSpec) -> None:
    for option in spec.tmpfs_options:
        if option not in _TMPFS_FLAGS and not _TMPFS_DATA.fullmatch(option):
            raise InvalidInputError(f"invalid tmpfs option: {option!r}")
    if spec.source or spec.propagation or spec.no_copy or spec.labels or not spec.recursive:
        raise InvalidInputError(f"mount {spec.destination}: an option is not one of a tmpfs")


def points(specs: Iterable[MountSpec], volume_path: Callable[[str], str]) -> list[MountPoint]:
    """For the OCI configuration. Paths of the host that are to be made are made."""
    return [_point(spec, volume_path) for spec in specs]


def _point(spec: MountSpec, volume_path: Callable[[str], str]) -> MountPoint:
    if spec.type == "tmpfs":
        return MountPoint(
            destination=spec.destination,
            type="tmpfs",
            source="tmpfs",
            options=_tmpfs_options(spec),
        )
    if spec.type == "bind":
        require_source(spec)
    source = spec.source if spec.type == "bind" else volume_path(spec.source)
    options = ["rbind" if spec.recursive else "bind", spec.propagation or "rprivate"]
    if spec.read_only:
        options.append("rro" if spec.recursive else "ro")
    return MountPoint(
        destination=spec.destination, type="bind", source=source, options=tuple(options)
    )


def _tmpfs_options(spec: MountSpec) -> tuple[str, ...]:
    """Docker's defaults, but for those that the user gave the opposite of."""
    given = [*spec.tmpfs_options, *(["ro"] if spec.read_only else [])]
    against = {_OPPOSITES[o] for o in given if o in _OPPOSITES}
    defaults = [o for o in ("noexec", "nosuid", "nodev") if o not in against and o not in given]
    return (*defaults, *given)
