"""The OCI runtime-spec configuration of a container: the one description of it everywhere.

Pure: plain values in, a JSON-ready dictionary out. The defaults are those of Docker, in
`cgagent.runtime.spec.defaults`; what nobody asked for is not in the configuration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cgagent.runtime import OCI_VERSION
from cgagent.runtime.seccomp import default as seccomp
from cgagent.runtime.spec import defaults
from cgagent.runtime.spec.mounts import (
    CgroupMount,
    KernelFiles,
    MountPoint,
    covers,
    entry,
    mounts,
)
from cgagent.runtime.spec.process import Privileges, Process, Rlimit, exec_process, process

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "OCI_VERSION",
    "OWN_NAMESPACES",
    "CgroupMount",
    "DeviceNode",
    "KernelFiles",
    "MountPoint",
    "Namespace",
    "Plan",
    "Privileges",
    "Process",
    "Rlimit",
    "build",
    "entry",
    "exec_process",
    "kernel_part",
    "namespaces",
]

_CGROUPS: Final = "/sys/fs/cgroup"
_KERNELS_OWN: Final = re.compile(r"/(proc|sys|dev(?!/shm/))(/.*)?", re.DOTALL)
"""Paths of the host."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """One of the container's namespaces: a new one, or that of the file `path`."""

    type: str
    path: str | None = None


OWN_NAMESPACES: Final = tuple(map(Namespace, ("pid", "mount", "uts", "ipc", "cgroup", "network")))
"""A kind that is missing is shared with the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNode:
    """A device node in the container. `kind` is "c", "b" or "p"; `mode` has permissions only."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is particular to one container."""

    process: Process
    privileges: Privileges = field(default_factory=Privileges)
    hostname: str | None = None
    domainname: str | None = None
    cgroup_path: str
    kernel_files: KernelFiles = field(default_factory=KernelFiles)
    mounts: tuple[MountPoint, ...] = ()
    namespaces: tuple[Namespace, ...] = OWN_NAMESPACES
    read_only_root: bool = False
    seccomp: str = seccomp.DEFAULT
    """`seccomp.DEFAULT`, `seccomp.UNCONFINED`, or a profile as JSON."""
    hides_kernel_files: bool = True
    """Whether parts of /proc and /sys are masked and read-only."""
    devices: tuple[DeviceNode, ...] = ()
    device_rules: tuple[dict[str, Any], ...] = ()
    """In the specification's form; empty: those of an ordinary container."""
    sysctl: dict[str, str] = field(default_factory=dict)
    user_ids: tuple[int, int] | None = None
    """(first, count) on the host, for a user namespace of its own."""
    annotations: dict[str, str] = field(default_factory=dict)


def build(plan: Plan) -> dict[str, Any]:
    """The configuration. ``root.path`` is ``rootfs`` in the bundle, as runtimes expect it."""
    names = {"hostname": plan.hostname, "domainname": plan.domainname}
    return {
        "ociVersion": OCI_VERSION,
        "process": process(plan.process, plan.privileges),
        "root": {"path": "rootfs", "readonly": plan.read_only_root},
        **{key: name for key, name in names.items() if name},
        "mounts": _mapped(mounts(plan.kernel_files, plan.mounts), plan.user_ids),
        "linux": {
            "namespaces": namespaces(plan.namespaces),
            "cgroupsPath": plan.cgroup_path,
            **_hidden(plan.kernel_files, plan.mounts, hides=plan.hides_kernel_files),
            **_asked_of_linux(plan),
        },
        "annotations": dict(plan.annotations),
    }


def namespaces(wanted: Iterable[Namespace]) -> list[dict[str, Any]]:
    """``linux.namespaces``."""
    return [
        {"type": n.type} if n.path is None else {"type": n.type, "path": n.path} for n in wanted
    ]


def kernel_part(cgroups: tuple[CgroupMount, ...]) -> dict[str, Any]:
    """What the configurations of all ordinary containers have in common: see `runtime.stage`."""
    kernel_files = KernelFiles(cgroups=cgroups)
    return {
        "mounts": mounts(kernel_files, ()),
        "linux": {
            "namespaces": namespaces(OWN_NAMESPACES),
            **_hidden(kernel_files, (), hides=True),
        },
    }


def _hidden(
    kernel_files: KernelFiles, asked: Iterable[MountPoint], *, hides: bool
) -> dict[str, list[str]]:
    if not hides:
        return {"maskedPaths": [], "readonlyPaths": []}
    ours = kernel_files.cgroups and not covers(asked, _CGROUPS)
    return {
        "maskedPaths": list(defaults.MASKED_PATHS),
        # the last after the hierarchies are mounted in it
        "readonlyPaths": [*defaults.READ_ONLY_PATHS, *([_CGROUPS] if ours else [])],
    }


def _mapped(
    entries: list[dict[str, Any]], user_ids: tuple[int, int] | None
) -> list[dict[str, Any]]:
    """With a user namespace, what is bound looks as it does without one: its ids are mapped.

    But for what is the kernel's on the host, which it maps for nobody.
    """
    if user_ids is None:
        return entries
    return [
        {**e, "options": [*e["options"], "idmap"]}
        if e["type"] == "bind" and not _KERNELS_OWN.fullmatch(e["source"])
        else e
        for e in entries
    ]


def _asked_of_linux(plan: Plan) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if plan.user_ids:
        first, count = plan.user_ids
        block = [{"containerID": 0, "hostID": first, "size": count}]
        values.update(uidMappings=block, gidMappings=block)
    if profile := seccomp.profile(plan.seccomp, plan.privileges.capabilities):
        values["seccomp"] = profile
    if plan.devices:
        values["devices"] = [_device(d) for d in plan.devices]
    if plan.device_rules:
        values["resources"] = {"devices": list(plan.device_rules)}
    if plan.sysctl:
        values["sysctl"] = dict(plan.sysctl)
    if propagation := _root_propagation(plan.mounts):
        values["rootfsPropagation"] = propagation
    return values


def _device(d: DeviceNode) -> dict[str, Any]:
    return {
        "path": d.path,
        "type": d.kind,
        "major": d.major,
        "minor": d.minor,
        "fileMode": d.mode,
        "uid": d.uid,
        "gid": d.gid,
    }


def _root_propagation(asked: Iterable[MountPoint]) -> str | None:
    """What the root needs for mounts that hear of the host's later ones, or tell of their own."""
    options = {option for m in asked for option in m.options}
    if options & {"shared", "rshared"}:
        return "shared"
    return "slave" if options & {"slave", "rslave"} else None
