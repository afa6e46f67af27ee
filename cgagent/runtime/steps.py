"""Setting a container up: a list of named steps, in an order with reasons.

Everything here happens in the container's first process, in its own namespaces, before its
command is executed; so every mount dies with it, whatever happens. `PLAN` is the list.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cgagent.kernel import beneath, libc, namespaces
from cgagent.kernel import mount as km
from cgagent.runtime import mounts
from cgagent.runtime.mounts import Mount

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1

DEFAULT_DEVICES: Final = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
_LINKS: Final = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}

NAMESPACE_FLAGS: Final[Mapping[str, int]] = {
    "pid": namespaces.CLONE_NEWPID,
    "mount": namespaces.CLONE_NEWNS,
    "uts": namespaces.CLONE_NEWUTS,
    "ipc": namespaces.CLONE_NEWIPC,
    "network": namespaces.CLONE_NEWNET,
    "cgroup": namespaces.CLONE_NEWCGROUP,
}


@dataclass(slots=True)
class Setup:
    """What the steps share."""

    config: dict[str, Any]
    rootfs: list[dict[str, Any]]
    """Mounts, in OCI form, that make the root file system at `staging`; none: it is there."""
    staging: str
    """The host directory that becomes ``/``."""
    root_fd: int = -1
    linux: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.linux = self.config.get("linux", {})


def make_private() -> None:
    """No mount made here reaches the host, and none of the host's reaches here."""
    km.mount(None, "/", None, km.MS_PRIVATE | km.MS_REC)


def mount_root(s: Setup) -> None:
    for entry in s.rootfs:
        m = Mount.from_oci(entry)
        km.mount(m.source, s.staging, m.type, m.flags, m.data)
    if not s.rootfs:  # pivot_root wants a mount point
        km.mount(s.staging, s.staging, None, km.MS_BIND | km.MS_REC)
    s.root_fd = os.open(s.staging, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def mount_all(s: Setup) -> None:
    for entry in s.config.get("mounts", ()):
        m = Mount.from_oci(entry)
        try:
            m.apply(s.root_fd)
        except OSError as e:
            raise OSError(e.errno, f"{m.describe()}: {os.strerror(e.errno or 0).lower()}") from e


def make_devices(s: Setup) -> None:
    """The default device nodes and links. /dev is our own tmpfs, never the image's directory."""
    dev = beneath.open_in_root(s.root_fd, "/dev", os.O_RDONLY | os.O_DIRECTORY)
    try:
        _require_own_dev(dev)
        mask = os.umask(0)
        for name, (major, minor) in DEFAULT_DEVICES.items():
            os.mknod(name, stat.S_IFCHR | 0o666, os.makedev(major, minor), dir_fd=dev)
        for device in s.linux.get("devices", ()):
            _make_device(s.root_fd, device)
        os.umask(mask)
        for name, target in _LINKS.items():
            os.symlink(target, name, dir_fd=dev)
    finally:
        os.close(dev)


def _require_own_dev(dev: int) -> None:
    """Refuse to make nodes in anything but the fresh tmpfs with its mount points in it.

    A volume may lie over it, by way of a symlink of the image's: that is the host's directory.
    """
    names = set(os.listdir(dev))
    covered = "pts" not in names or os.stat("pts", dir_fd=dev).st_dev == os.fstat(dev).st_dev
    if covered or names - {"pts", "shm", "mqueue"}:
        raise FileExistsError(errno.EEXIST, "the container's /dev is not an empty tmpfs of its own")


def _make_device(root_fd: int, device: dict[str, Any]) -> None:
    kind = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
    parent, name = os.path.split(device["path"])
    directory = beneath.ensure_directory(root_fd, parent)
    try:
        number = os.makedev(device.get("major", 0), device.get("minor", 0))
        mode = kind[device["type"]] | device.get("fileMode", 0o666)
        os.mknod(name, mode, number, dir_fd=directory)
        os.chown(name, device.get("uid", 0), device.get("gid", 0), dir_fd=directory)
    finally:
        os.close(directory)


def hide_paths(s: Setup) -> None:
    mounted = {m["destination"] for m in s.config.get("mounts", ())}
    for path in s.linux.get("readonlyPaths", ()):
        mounts.read_only(s.root_fd, path, is_mount=path in mounted)
    for path in s.linux.get("maskedPaths", ()):
        mounts.mask(s.root_fd, path)


def enter_root(s: Setup) -> None:
    """pivot_root onto itself, then let go of the host's tree: no path leads back to it."""
    os.fchdir(s.root_fd)
    km.pivot_root(".", ".")
    km.detach(".")
    os.chdir("/")
    os.close(s.root_fd)
    if s.config.get("root", {}).get("readonly"):
        fd = os.open("/", os.O_PATH | os.O_CLOEXEC)
        km.set_attributes(fd, km.MOUNT_ATTR_RDONLY, recursive=False)
        os.close(fd)


def set_names(s: Setup) -> None:
    hostname = s.config.get("hostname")
    if hostname:
        name = os.fsencode(hostname)
        libc.sethostname(name, len(name))
    domain = s.config.get("domainname")
    if domain:
        name = os.fsencode(domain)
        libc.setdomainname(name, len(name))


PLAN: Final[tuple[tuple[str, Callable[[Setup], None]], ...]] = (
    ("mount the root file system", mount_root),
    # before the host's /proc and the mounts' sources go out of sight with pivot_root
    ("mount file systems", mount_all),
    # after mount_all: into the tmpfs that is the container's /dev
    ("make devices", make_devices),
    # after mount_all: over /proc and /sys; before pivot_root: it needs the host's /dev/null
    ("hide paths", hide_paths),
    ("enter the root file system", enter_root),
    ("set host and domain name", set_names),
)


def describe(config: dict[str, Any], rootfs: list[dict[str, Any]]) -> list[str]:
    """The plan in words, for ``--debug``."""
    lines = []
    for name, step in PLAN:
        lines.append(name)
        if step is mount_root:
            lines += ["  " + Mount.from_oci(m).describe() for m in rootfs]
        if step is mount_all:
            lines += ["  " + Mount.from_oci(m).describe() for m in config.get("mounts", ())]
    return lines


def loopback_up() -> None:
    """Bring ``lo`` up in a new network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(s, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(s, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
