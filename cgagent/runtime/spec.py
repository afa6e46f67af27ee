"""The OCI runtime-spec configuration of a container: the one description of it everywhere.

Pure: plain values in, a JSON-ready dictionary out. The defaults are those of Docker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from cgagent.runtime.seccomp import default_profile

OCI_VERSION: Final = "1.2.0"

DEFAULT_CAPABILITIES: Final = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW"),
    *("CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE"),
    *("CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"),
)
MASKED_PATHS: Final = (
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys"),
    *("/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list"),
    *("/proc/timer_stats", "/sys/firmware", "/sys/devices/virtual/powercap"),
)
READ_ONLY_PATHS: Final = (
    *("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"),
)

_SHM: Final = "/dev/shm"  # noqa: S108 - the container's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A host path bound into the container."""

    source: str
    destination: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupMount:
    """A hierarchy the container sees below /sys/fs/cgroup; `name` empty: the whole of it is v2."""

    name: str
    version: int
    controllers: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A command to run in a container. `user` is ``USER[:GROUP]`` in the container's files."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    terminal: bool = False
    console_size: tuple[int, int] | None = None
    """Rows and columns of the terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is particular to one container."""

    process: Process
    hostname: str
    cgroup_path: str
    cgroups: tuple[CgroupMount, ...] = ()
    volumes: tuple[Volume, ...] = ()
    own_network: bool = True
    read_only_root: bool = False
    annotations: dict[str, str] = field(default_factory=dict)


def process(p: Process) -> dict[str, Any]:
    """The ``process`` object, with default capabilities."""
    size = p.console_size
    return {
        "terminal": p.terminal,
        **({"consoleSize": {"height": size[0], "width": size[1]}} if size else {}),
        "user": {"uid": 0, "gid": 0, "username": p.user},
        "args": list(p.args),
        "env": list(p.env),
        "cwd": p.cwd,
        "capabilities": {
            "bounding": list(DEFAULT_CAPABILITIES),
            "effective": list(DEFAULT_CAPABILITIES),
            "permitted": list(DEFAULT_CAPABILITIES),
        },
        "noNewPrivileges": False,
    }


def _mount(destination: str, fstype: str, *options: str, source: str = "") -> dict[str, Any]:
    return {
        "destination": destination,
        "type": fstype,
        "source": source or fstype,
        "options": list(options),
    }


def _api_mounts(plan: Plan) -> list[dict[str, Any]]:
    """/proc, /sys and /dev. A mount below another comes after it."""
    safe = ("nosuid", "noexec", "nodev")
    return [
        _mount("/proc", "proc", *safe),
        _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts",
            "devpts",
            *("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        ),
        _mount(_SHM, "tmpfs", *safe, "mode=1777", "size=65536k", source="shm"),
        _mount("/dev/mqueue", "mqueue", *safe),
        _sys_mount(plan),
        *_cgroup_mounts(plan.cgroups),
    ]


def _sys_mount(plan: Plan) -> dict[str, Any]:
    """A sysfs of one's own needs a network namespace of one's own; else the host's is bound."""
    if plan.own_network:
        return _mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro")
    return _mount("/sys", "bind", "bind", "nosuid", "noexec", "nodev", "ro", source="/sys")


def _cgroup_mounts(cgroups: tuple[CgroupMount, ...]) -> list[dict[str, Any]]:
    """Read-only: no writable hierarchy and no release_agent inside (CVE-2022-0492)."""
    safe = ("nosuid", "noexec", "nodev", "ro")
    if not cgroups:
        return []
    if not cgroups[0].name:
        return [_mount("/sys/fs/cgroup", "cgroup2", *safe, source="cgroup")]
    top = _mount("/sys/fs/cgroup", "tmpfs", "nosuid", "noexec", "nodev", "mode=755")
    return [
        top,
        *(
            _mount(
                f"/sys/fs/cgroup/{c.name}",
                "cgroup" if c.version == 1 else "cgroup2",
                *safe,
                *([c.controllers] if c.controllers else []),
                source="cgroup",
            )
            for c in cgroups
        ),
    ]


def _volume(v: Volume) -> dict[str, Any]:
    options = ["rbind", "rprivate", *(["rro"] if v.read_only else [])]
    return _mount(v.destination, "bind", *options, source=v.source)


def namespaces(*, own_network: bool) -> list[dict[str, Any]]:
    """``linux.namespaces``."""
    kinds = ["pid", "mount", "uts", "ipc", "cgroup", *(["network"] if own_network else [])]
    return [{"type": kind} for kind in kinds]


def build(plan: Plan) -> dict[str, Any]:
    """The configuration. ``root.path`` is ``rootfs`` in the bundle, as runtimes expect it."""
    volumes = sorted(plan.volumes, key=lambda v: v.destination.count("/"))
    return {
        "ociVersion": OCI_VERSION,
        "process": process(plan.process),
        "root": {"path": "rootfs", "readonly": plan.read_only_root},
        "hostname": plan.hostname,
        "mounts": _api_mounts(plan) + [_volume(v) for v in volumes],
        "linux": {
            "namespaces": namespaces(own_network=plan.own_network),
            "cgroupsPath": plan.cgroup_path,
            "seccomp": default_profile(DEFAULT_CAPABILITIES),
            "maskedPaths": list(MASKED_PATHS),
            # after the hierarchies are mounted in it
            "readonlyPaths": [*READ_ONLY_PATHS, *(["/sys/fs/cgroup"] if plan.cgroups else [])],
        },
        "annotations": dict(plan.annotations),
    }
