"""The ``mounts`` of the OCI configuration: the kernel's own file systems, then the user's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cgagent.runtime.spec import defaults

if TYPE_CHECKING:
    from collections.abc import Iterable

SHM: Final = "/dev/shm"  # noqa: S108 - the container's own
_SAFE: Final = ("nosuid", "noexec", "nodev")


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPoint:
    """A mount that was asked for: a bind of a host path, or a tmpfs. `options` as mount(8) has."""

    destination: str
    type: str
    source: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupMount:
    """A hierarchy the container sees below /sys/fs/cgroup; `name` empty: the whole of it is v2."""

    name: str
    version: int
    controllers: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFiles:
    """How /proc, /sys, /dev and what lies below them are to be."""

    own_network: bool = True
    """A sysfs of one's own needs a network namespace of one's own; else the host's is bound."""
    cgroups: tuple[CgroupMount, ...] = ()
    writable: bool = False
    """/sys and the cgroup hierarchies, for a privileged container."""
    shm_size_bytes: int = defaults.SHM_SIZE_BYTES
    shm_source: str | None = None
    """A directory to be bound as /dev/shm: that of whoever shares its ipc namespace."""
    has_shm: bool = True


def mounts(kernel_files: KernelFiles, asked: Iterable[MountPoint]) -> list[dict[str, Any]]:
    """All of them, a mount below another after it. The user's replace ours at the same place."""
    points = sorted(asked, key=lambda m: m.destination.count("/"))
    taken = [p.destination for p in points]
    return [
        *(m for m in _kernel_mounts(kernel_files) if not _covered(m["destination"], taken)),
        *map(entry, points),
    ]


def entry(point: MountPoint) -> dict[str, Any]:
    """One of ``mounts``."""
    return _mount(point.destination, point.type, *point.options, source=point.source)


def covers(asked: Iterable[MountPoint], path: str) -> bool:
    """Is there something of the user's own at `path`, or above it?"""
    return _covered(path, [p.destination for p in asked])


def _covered(destination: str, taken: Iterable[str]) -> bool:
    return any(destination == t or destination.startswith(t + "/") for t in taken)


def _mount(destination: str, fstype: str, *options: str, source: str = "") -> dict[str, Any]:
    return {
        "destination": destination,
        "type": fstype,
        "source": source or fstype,
        "options": list(options),
    }


def _kernel_mounts(k: KernelFiles) -> list[dict[str, Any]]:
    return [
        _mount("/proc", "proc", *_SAFE),
        _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts",
            "devpts",
            *("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        ),
        *_shm_mounts(k),
        _mount("/dev/mqueue", "mqueue", *_SAFE),
        _sys_mount(k),
        *_cgroup_mounts(k),
    ]


def _shm_mounts(k: KernelFiles) -> list[dict[str, Any]]:
    if not k.has_shm:
        return []
    if k.shm_source is not None:
        return [_mount(SHM, "bind", "rbind", "rprivate", *_SAFE, source=k.shm_source)]
    size = f"size={k.shm_size_bytes // 1024}k" if k.shm_size_bytes % 1024 == 0 else ""
    size = size or f"size={k.shm_size_bytes}"
    return [_mount(SHM, "tmpfs", *_SAFE, "mode=1777", size, source="shm")]


def _access(k: KernelFiles) -> tuple[str, ...]:
    """Read-only: no writable hierarchy and no release_agent inside (CVE-2022-0492)."""
    return (*_SAFE, "rw" if k.writable else "ro")


def _sys_mount(k: KernelFiles) -> dict[str, Any]:
    if k.own_network:
        return _mount("/sys", "sysfs", *_access(k))
    return _mount("/sys", "bind", "bind", *_access(k), source="/sys")


def _cgroup_mounts(k: KernelFiles) -> list[dict[str, Any]]:
    if not k.cgroups:
        return []
    if not k.cgroups[0].name:
        return [_mount("/sys/fs/cgroup", "cgroup2", *_access(k), source="cgroup")]
    return [
        _mount("/sys/fs/cgroup", "tmpfs", *_SAFE, "mode=755"),
        *(
            _mount(
                f"/sys/fs/cgroup/{c.name}",
                "cgroup" if c.version == 1 else "cgroup2",
                *_access(k),
                *([c.controllers] if c.controllers else []),
                source="cgroup",
            )
            for c in k.cgroups
        ),
    ]
