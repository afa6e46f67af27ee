"""What this host can do for containers, and how to switch on what it cannot.

Everything is read, nothing is tried or changed: files of proc, sysfs and the cgroup file systems.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cgagent.cgroups import Placement

_ENOUGH: Final = 64
"""So many groups are looked into for a file that the root has not."""

_CONTROLLERS: Final = {
    "cpu": "--cpus, --cpu-shares, --cpu-weight",
    "cpuset": "--cpuset-cpus, --cpuset-mems",
    "memory": "--memory and the flags like it",
    "io": "--blkio-weight, --device-read-bps and the flags like it",
    "pids": "--pids-limit",
    "hugetlb": "--hugetlb",
    "rdma": "--cgroup-conf rdma.max",
    "misc": "--cgroup-conf misc.max",
}
_NEEDED: Final = frozenset({"cpu", "memory", "pids"})
_COMMAND_LINE: Final = (
    "add {} to GRUB_CMDLINE_LINUX in /etc/default/grub, run update-grub and reboot"
)


@dataclass(frozen=True, slots=True)
class Ability:
    """One thing that a host can or cannot do."""

    name: str
    there: bool
    detail: str
    """How it has it, or what does not work without it."""
    remedy: str = ""
    """What switches it on; empty: nothing does on this kernel, or it is there."""
    needed: bool = False
    """Containers have no limits, no isolation or no root without it."""


def abilities(placements: Mapping[str, Placement], root: Path = Path("/")) -> list[Ability]:
    """All of them, what is needed first. `root` has proc and sys."""
    host = _Host(placements, root)
    found = [
        ability
        for check in (
            *(_controllers, _swap, _memory, _io_weights, _io_latency, _pressure, _kill),
            *(_filesystems, _seccomp, _namespaces, _security, _programs),
        )
        for ability in check(host)
    ]
    return sorted(found, key=lambda ability: not ability.needed)


class _Host:
    def __init__(self, placements: Mapping[str, Placement], root: Path) -> None:
        self.placements = placements
        self._root = root

    def path(self, name: str) -> Path:
        return self._root / name

    def read(self, name: str) -> str:
        """Empty: it is not there, or not to be read."""
        try:
            return self.path(name).read_text(encoding="utf-8").strip()
        except OSError:
            return ""

    def version(self, controller: str) -> int:
        """0: there is none."""
        place = self.placements.get(controller)
        return 0 if place is None else place.version

    def has_file(self, controller: str, name: str) -> bool:
        """In some group: the root of a hierarchy lacks many."""
        place = self.placements.get(controller)
        if place is None:
            return False
        top = Path(place.mount)
        groups = (path for path in top.iterdir() if path.is_dir())
        return any((group / name).exists() for group in (top, *islice(groups, _ENOUGH)))


def _controllers(host: _Host) -> Iterator[Ability]:
    known = {line.split()[0] for line in host.read("proc/cgroups").split("\n") if line}
    for name, flags in _CONTROLLERS.items():
        version = host.version(name)
        detail = f"cgroup v{version}" if version else f"refused: {flags}"
        old = {"io": "blkio"}.get(name, name)
        remedy = ""
        if not version and old in known:
            word = f"cgroup_enable={old}"
            remedy = f"{_COMMAND_LINE.format(word)}; take cgroup_disable={old} away"
        yield Ability(f"controller {name}", bool(version), detail, remedy, needed=name in _NEEDED)


def _swap(host: _Host) -> Iterator[Ability]:
    there = host.has_file("memory", "memory.swap.max") or host.has_file(
        "memory", "memory.memsw.limit_in_bytes"
    )
    yield Ability(
        "swap accounting",
        there,
        "--memory-swap" if there else "--memory-swap is refused",
        "" if there else _COMMAND_LINE.format("swapaccount=1"),
    )
    swaps = host.read("proc/swaps").split("\n")[1:]
    yield Ability(
        "swap",
        bool(swaps),
        ", ".join(line.split()[0] for line in swaps)
        if swaps
        else "memory without a file behind it cannot be reclaimed",
        ""
        if swaps
        else "fallocate -l 2G /swapfile; chmod 600 /swapfile; mkswap /swapfile; swapon /swapfile",
    )
    zswap = host.read("sys/module/zswap/parameters/enabled") == "Y"
    can = host.path("sys/module/zswap").exists()
    yield Ability(
        "zswap",
        zswap,
        "swapped pages are compressed in memory first"
        if zswap
        else "pages go to the disk as they are",
        "echo Y >/sys/module/zswap/parameters/enabled" if can and not zswap else "",
    )


def _memory(host: _Host) -> Iterator[Ability]:
    for name, since, flags in (
        ("memory.high", "cgroup v2", "--memory-high"),
        ("memory.reclaim", "cgroup v2, Linux 5.19", "giving back an amount of memory"),
        ("memory.peak", "cgroup v2, Linux 5.19", "the most memory that was in use"),
    ):
        there = host.has_file("memory", name)
        needs = "" if there else _needs_v2(host, "memory")
        yield Ability(name, there, flags if there else f"missing: {flags}; it is in {since}", needs)


def _needs_v2(host: _Host, controller: str) -> str:
    if host.version(controller) == 2:  # noqa: PLR2004 - the version
        return ""  # the kernel is older
    return _COMMAND_LINE.format("systemd.unified_cgroup_hierarchy=1")


def _io_weights(host: _Host) -> Iterator[Ability]:
    disks = {
        path.parent.parent.name: path.read_text(encoding="utf-8").strip()
        for path in sorted(host.path("sys/block").glob("*/queue/scheduler"))
        if not path.parent.parent.name.startswith(("loop", "ram", "zram"))
    }
    using = [name for name, text in disks.items() if "[bfq]" in text]
    cost = any(
        host.read(f"sys/fs/cgroup/{name}") for name in ("io.cost.qos", "unified/io.cost.qos")
    )
    there = bool(using) or cost
    loaded = any("bfq" in text for text in disks.values())
    module = host.path(f"lib/modules/{os.uname().release}/kernel/block")
    remedy = ""
    if disks and (loaded or any(module.glob("bfq*"))):
        load = "" if loaded else "modprobe bfq; "
        remedy = f"{load}echo bfq >/sys/block/{next(iter(disks))}/queue/scheduler"
    yield Ability(
        "weights of block IO",
        there,
        (f"BFQ on {', '.join(using)}" if using else "io.cost")
        if there
        else "--blkio-weight has no effect: no disk has BFQ as its scheduler",
        "" if there else remedy,
    )


def _io_latency(host: _Host) -> Iterator[Ability]:
    there = host.has_file("io", "io.latency")
    yield Ability(
        "io.latency",
        there,
        "--io-latency"
        if there
        else "no --io-latency: it is in cgroup v2 with CONFIG_BLK_CGROUP_IOLATENCY",
        "" if there else _needs_v2(host, "io"),
    )


def _pressure(host: _Host) -> Iterator[Ability]:
    there = bool(host.read("proc/pressure/memory"))
    yield Ability(
        "pressure (PSI)",
        there,
        "stall times of the host and of groups of cgroup2"
        if there
        else "no stall times, and no pressure-triggers",
        "" if there else _COMMAND_LINE.format("psi=1"),
    )


def _kill(host: _Host) -> Iterator[Ability]:
    mounts = {p.mount for p in host.placements.values() if p.version == 2}  # noqa: PLR2004
    mounts |= {str(host.path(name)) for name in ("sys/fs/cgroup", "sys/fs/cgroup/unified")}
    groups = [g for m in mounts if Path(m).is_dir() for g in islice(Path(m).iterdir(), _ENOUGH)]
    there = any((group / "cgroup.kill").exists() for group in groups)
    yield Ability(
        "cgroup.kill",
        there,
        "a group is killed at once"
        if there
        else "processes of a group are killed one by one (Linux 5.14)",
    )


def _filesystems(host: _Host) -> Iterator[Ability]:
    there = "overlay" in host.read("proc/filesystems").split()
    yield Ability(
        "overlay",
        there,
        "layers of images are stacked" if there else "each container has a copy of its image",
        "" if there else "modprobe overlay",
    )


def _seccomp(host: _Host) -> Iterator[Ability]:
    actions = host.read("proc/sys/kernel/seccomp/actions_avail").split()
    yield Ability(
        "seccomp",
        "errno" in actions,
        "system calls are filtered"
        if actions
        else "the filter of system calls needs CONFIG_SECCOMP_FILTER",
        needed=True,
    )


def _namespaces(host: _Host) -> Iterator[Ability]:
    most = host.read("proc/sys/user/max_user_namespaces")
    there = most not in {"", "0"}
    yield Ability(
        "user namespaces",
        there,
        f"--userns auto; up to {most}" if there else "--userns auto is refused",
        "sysctl -w user.max_user_namespaces=15000" if most == "0" else "",
    )
    release = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    mapped = release >= (5, 19)
    yield Ability(
        "mapped mounts",
        mapped and there,
        "layers keep their owners on disk in a user namespace"
        if mapped and there
        else "--userns auto needs Linux 5.19",
    )


def _security(host: _Host) -> Iterator[Ability]:
    modules = [
        m for m in host.read("sys/kernel/security/lsm").split(",") if m in {"apparmor", "selinux"}
    ]
    can = host.path("sys/module/apparmor").exists()
    yield Ability(
        "AppArmor or SELinux",
        bool(modules),
        ", ".join(modules) if modules else "capabilities, seccomp and masked paths confine alone",
        _COMMAND_LINE.format("security=apparmor") if can and not modules else "",
    )


def _programs(_: _Host) -> Iterator[Ability]:
    for name, package, use in (
        ("criu", "criu", "checkpoints of OCI runtimes; cgagent has none of its own"),
        ("tini", "tini", "--init"),
    ):
        there = shutil.which(name) is not None
        remedy = "" if there else f"apt-get install {package}"
        yield Ability(name, there, use if there else f"not installed: {use}", remedy)
