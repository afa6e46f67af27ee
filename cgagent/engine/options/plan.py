"""From a container's record to what its OCI configuration is built of.

Done anew at each start: a device may have another number by then, another container another pid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.engine.containers.bundle import ETC_FILES
from cgagent.engine.options import confinement, devices, init, mounts, namespaces
from cgagent.runtime.spec import KernelFiles, MountPoint, Plan, Process
from cgagent.runtime.spec.defaults import SHM_SIZE_BYTES
from cgagent.runtime.spec.mounts import SHM

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from cgagent.engine.containers.container import Record
    from cgagent.runtime.spec import CgroupMount


def plan(
    record: Record,
    *,
    bundle: Path,
    cgroups: tuple[CgroupMount, ...],
    pid_of: Callable[[str], int],
    volume_path: Callable[[str], str],
    network: str | None = None,
) -> Plan:
    """`pid_of` has the first process of another container, `volume_path` a volume's directory.

    `network` is the file of its network namespace, if that is there already.

    Raises:
        CgagentError: a device, a path or another container is not there any more.
    """
    config, resolved = record.config, record.resolved
    return Plan(
        process=Process(
            args=(*init.WRAPPER, *resolved.args) if config.init else resolved.args,
            env=resolved.env,
            cwd=resolved.working_dir,
            user=resolved.user,
            terminal=config.tty,
            console_size=config.console_size,
        ),
        privileges=confinement.privileges(config),
        hostname=None if resolved.namespaces.uts == namespaces.HOST else resolved.hostname,
        domainname=config.domainname,
        cgroup_path=record.cgroup_path,
        kernel_files=_kernel_files(record, cgroups, pid_of),
        mounts=mount_points(record, bundle, volume_path),
        namespaces=namespaces.listed(resolved.namespaces, pid_of, network),
        read_only_root=config.read_only,
        seccomp=confinement.seccomp_choice(config),
        hides_kernel_files=confinement.hides_kernel_files(config),
        devices=devices.nodes(config.devices, privileged=config.privileged),
        device_rules=devices.rules(
            config.devices, config.device_cgroup_rules, privileged=config.privileged
        ),
        sysctl=config.sysctls,
        user_ids=resolved.namespaces.user_ids,
        annotations=config.annotations,
    )


def mount_points(
    record: Record, bundle: Path, volume_path: Callable[[str], str]
) -> tuple[MountPoint, ...]:
    """What is mounted beside the kernel's own file systems."""
    joined = record.resolved.namespaces.joined("network")  # whose names it has, too
    return (
        *etc_files(
            bundle.with_name(joined) if joined else bundle,
            {m.destination for m in record.resolved.mounts},
        ),
        *([init.mount_point()] if record.config.init else []),
        *mounts.points(record.resolved.mounts, volume_path),
    )


def etc_files(bundle: Path, taken: Collection[str] = ()) -> list[MountPoint]:
    """Ours over the image's, unless the user has one of their own there."""
    return [
        MountPoint(
            destination=f"/etc/{name}",
            type="bind",
            source=str(bundle / name),
            options=("rbind", "rprivate"),
        )
        for name in ETC_FILES
        if f"/etc/{name}" not in taken
    ]


def _kernel_files(
    record: Record, cgroups: tuple[CgroupMount, ...], pid_of: Callable[[str], int]
) -> KernelFiles:
    config, shared = record.config, record.resolved.namespaces
    other = shared.joined("ipc")
    shm = f"/proc/{pid_of(other)}/root{SHM}" if other else None
    return KernelFiles(
        own_network=not shared.network,
        cgroups=cgroups,
        writable=config.privileged,
        shm_size_bytes=config.shm_size_bytes or SHM_SIZE_BYTES,
        shm_source=SHM if shared.ipc == namespaces.HOST else shm,
        has_shm=shared.ipc != "none",
    )
