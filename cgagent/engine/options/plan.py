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

    from cgagent.engine.containers.container import Options, Record
    from cgagent.runtime.spec import CgroupMount


def plan(
    record: Record,
    *,
    bundle: Path,
    cgroups: tuple[CgroupMount, ...],
    pid_of: Callable[[str], int],
    volume_path: Callable[[str], str],
) -> Plan:
    """`pid_of` has the first process of another container, `volume_path` a volume's directory.

    Raises:
        CgagentError: a device, a path or another container is not there any more.
    """
    options = record.options
    confined = options.confinement
    return Plan(
        process=Process(
            args=(*init.WRAPPER, *options.args) if options.init else options.args,
            env=options.env,
            cwd=options.working_dir,
            user=options.user,
            terminal=options.tty,
            console_size=options.console_size,
        ),
        privileges=confinement.privileges(confined),
        hostname=None if options.namespaces.uts == namespaces.HOST else options.hostname,
        domainname=options.domainname,
        cgroup_path=record.cgroup_path,
        kernel_files=_kernel_files(options, cgroups, pid_of),
        mounts=mount_points(options, bundle, volume_path),
        namespaces=namespaces.listed(options.namespaces, options.network, pid_of),
        read_only_root=options.read_only,
        seccomp=confinement.seccomp_choice(confined),
        hides_kernel_files=confinement.hides_kernel_files(confined),
        devices=devices.nodes(confined.devices, privileged=confined.privileged),
        device_rules=devices.rules(
            confined.devices, confined.device_cgroup_rules, privileged=confined.privileged
        ),
        sysctl=confined.sysctls,
        user_ids=options.namespaces.user_ids,
        annotations=options.annotations,
    )


def mount_points(
    options: Options, bundle: Path, volume_path: Callable[[str], str]
) -> tuple[MountPoint, ...]:
    """What is mounted beside the kernel's own file systems."""
    return (
        *etc_files(bundle, {m.destination for m in options.mounts}),
        *([init.mount_point()] if options.init else []),
        *mounts.points(options.mounts, volume_path),
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
    options: Options, cgroups: tuple[CgroupMount, ...], pid_of: Callable[[str], int]
) -> KernelFiles:
    ipc = options.namespaces
    other = ipc.joined("ipc")
    shm = f"/proc/{pid_of(other)}/root{SHM}" if other else None
    return KernelFiles(
        own_network=options.network != namespaces.HOST,
        cgroups=cgroups,
        writable=options.confinement.privileged,
        shm_size_bytes=options.shm_size_bytes or SHM_SIZE_BYTES,
        shm_source=SHM if ipc.ipc == namespaces.HOST else shm,
        has_shm=ipc.ipc != "none",
    )
