"""Setting a container up: a list of named steps, in an order with reasons.

Everything here happens in the container's first process, in its own namespaces, before its
command is executed; so every mount dies with it, whatever happens. `PLAN` is the list.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.kernel import libc, namespaces, procfs, scheduling, userns
from cgagent.kernel import mount as km
from cgagent.runtime.container import console, devices, hooks, mounts, process, sysctl
from cgagent.runtime.container.isolation import Isolation
from cgagent.runtime.container.mount_options import PROPAGATION
from cgagent.runtime.container.mounts import Mount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cgagent.runtime.container.staged import Stage

_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
_CLOCKS: Final = {"monotonic": 1, "boottime": 7}
_UNSUPPORTED: Final = ("intelRdt", "netDevices", "memoryPolicy")


@dataclass(slots=True)
class Setup:
    """What the steps share."""

    config: dict[str, Any]
    rootfs: list[dict[str, Any]]
    """Mounts, in OCI form, that make the root file system at `staging`; none: it is there."""
    staging: str
    """The host directory that becomes ``/``."""
    bundle: str = "/"
    host_mounts: int | None = None
    """The mount namespace of the host, if ours is a copy that may be older than its mounts."""
    origin_mounts: int | None = None
    """The mount namespace that ours is a copy of: a tree cloned there keeps its tie to it."""
    bind_at: str | None = None
    """Where the root file system is bound, if the mount namespace is none of the container's own.

    All its mounts are below, and go with that one.
    """
    trees: dict[int, int] = field(default_factory=dict)
    """What `open_trees` gave a process with more power than this one."""
    root_tree: int | None = None
    """The root file system, mounted by such a process."""
    stage: Stage | None = None
    """What has been mounted ahead of time in our mount namespace."""
    staged: int = field(init=False, default=0)
    """How many of the first mounts, with their devices and hidden paths, the stage has."""
    state: dict[str, Any] = field(default_factory=dict)
    """For hooks."""
    root_fd: int = -1
    dev_fd: int | None = None
    console: console.Console | None = None
    linux: dict[str, Any] = field(init=False)
    isolation: Isolation = field(init=False)
    mounts: list[tuple[Mount, int | None]] = field(init=False, default_factory=list)
    """With the tree of a bind mount that was opened early, until it is attached."""

    def __post_init__(self) -> None:
        self.linux = self.config.get("linux") or {}
        self.isolation = Isolation.from_oci(self.linux.get("namespaces") or ())
        if self.stage is not None and self.stage.fits(self.config):
            self.staged = len(self.stage.config["mounts"])

    @property
    def propagation(self) -> int:
        """Of the root, and of bind mounts that have none of their own."""
        name = self.linux.get("rootfsPropagation") or "rprivate"
        if name not in PROPAGATION:
            raise InvalidInputError(f"rootfsPropagation {name!r} is not known")
        return PROPAGATION[name]


def check(s: Setup) -> None:
    """Refuse what this runtime or this container cannot do, before anything is done."""
    for name in _UNSUPPORTED:
        if s.linux.get(name):
            raise UnsupportedError(f"linux.{name} is not supported")
    if s.linux.get("mountLabel"):
        raise UnsupportedError(
            "linux.mountLabel: mounts are not labelled for SELinux; turn labels off "
            "(podman: --security-opt label=disable)"
        )
    if "uts" not in s.isolation.private and (
        s.config.get("hostname") or s.config.get("domainname")
    ):
        raise InvalidInputError("hostname: it needs a uts namespace that is not the host's")
    if "mount" not in s.isolation.own and s.bind_at is None:
        raise InvalidInputError("mounts: they need a mount namespace of the container's own")


def become_root(s: Setup) -> None:
    """Of the container's user namespace: until now this was the host's root without its power."""
    if s.isolation.is_user_private:
        userns.become_root()


def set_kernel_parameters(s: Setup) -> None:
    sysctl.apply(s.linux.get("sysctl") or {}, s.isolation.private)


def set_clocks(s: Setup) -> None:
    """A time namespace with its offsets: they are fixed once a process is in it."""
    if "time" not in s.isolation.own:
        return
    namespaces.unshare(namespaces.CLONE_NEWTIME)
    root = procfs.open_root()
    try:
        for clock, offset in (s.linux.get("timeOffsets") or {}).items():
            if clock not in _CLOCKS:
                raise InvalidInputError(f"timeOffsets: clock {clock!r} has no offset")
            line = f"{_CLOCKS[clock]} {offset.get('secs', 0)} {offset.get('nanosecs', 0)}"
            fd = procfs.open_own(root, "timens_offsets", os.O_WRONLY)
            try:
                os.write(fd, line.encode())
            finally:
                os.close(fd)
    finally:
        os.close(root)
    # The one /proc file that is a link to follow: in the host's /proc, before any mount of ours.
    fd = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
    namespaces.setns(fd, namespaces.CLONE_NEWTIME)
    os.close(fd)


def _open_source(s: Setup, m: Mount) -> int | None:
    where = s.host_mounts
    if where is None and m.follows_host(s.propagation):
        where = s.origin_mounts
    return m.open_source(s.propagation, where)


def is_id_mapped(entry: dict[str, Any]) -> bool:
    """Of an OCI mount entry: whether its files are to have other ids."""
    return Mount.from_oci(entry).is_id_mapped


def open_trees(s: Setup, user_namespace: int | None) -> Iterator[tuple[int, int]]:
    """What only a process of the host's user namespace can open: (place in the list, tree).

    Sources that are to be id-mapped; and for a container with a user namespace of its own all of
    them: its root may be nobody on the way there.
    """
    for place, entry in enumerate(s.config.get("mounts") or ()):
        m = Mount.from_oci(entry, s.bundle)
        if s.isolation.is_user_private or m.is_id_mapped:
            with mounts.naming(m):
                tree = m.open_source(s.propagation, s.host_mounts, user_namespace)
            if tree is not None:
                yield place, tree


def open_sources(s: Setup) -> None:
    """Of bind mounts that shall see what is mounted on the host later, or the other way round.

    That is where the host's mount namespace cannot be visited any more. The rest are opened when
    it is their turn: so the root is the first mount of the container, and they are in order.
    """
    visits = s.host_mounts is not None or s.origin_mounts is not None
    for place, entry in enumerate(s.config.get("mounts") or ()):
        if place < s.staged:
            continue
        m = Mount.from_oci(entry, s.bundle)
        with mounts.naming(m):
            early = m.follows_host(s.propagation) and place not in s.trees and not visits
            s.mounts.append((m, _open_source(s, m) if early else s.trees.get(place)))


def make_private(s: Setup) -> None:
    """No mount made here reaches the host, and none of the host's reaches here."""
    if "mount" in s.isolation.own and s.stage is None:  # which needed as much
        km.mount(None, "/", None, km.MS_PRIVATE | km.MS_REC)


def mount_root(s: Setup) -> None:
    mounts.make_root(s.rootfs, s.staging)
    if s.root_tree is not None:
        staging = os.open(s.staging, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        km.attach(s.root_tree, staging)
        for fd in (s.root_tree, staging):
            os.close(fd)
    elif s.bind_at is not None:
        km.mount(s.staging, s.bind_at, None, km.MS_BIND | km.MS_REC)
        km.mount(None, s.bind_at, None, km.MS_PRIVATE | km.MS_REC)
        s.staging = s.bind_at
    elif not s.rootfs:  # pivot_root wants a mount point
        km.mount(s.staging, s.staging, None, km.MS_BIND | km.MS_REC)
    s.root_fd = os.open(s.staging, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def take_stage(s: Setup) -> None:
    """Bind what was mounted ahead of time, as far as it is what this container is to have.

    Not moved: the root is to be the first in the container's table of mounts.
    """
    if s.stage is None:
        return
    if s.staged:
        for m, top in s.stage.tops:
            with mounts.naming(m):
                tree = km.clone_tree(km.fd_path(top), recursive=True)
                m.apply(s.root_fd, tree)
            os.close(tree)
        s.dev_fd = s.stage.dev_fd
    for place, (m, early) in enumerate(s.mounts):
        opened = s.stage.source_of(m) if early is None else None
        if opened is not None:
            s.mounts[place] = m, km.clone_tree(km.fd_path(opened), recursive=True)


def mount_all(s: Setup) -> None:
    _visit_host(s)
    for m, early in s.mounts:
        with mounts.naming(m):
            before = devices.number_below(s.root_fd, m)
            source = _open_source(s, m) if early is None else early
            m.apply(s.root_fd, source)
            if before is not None:
                s.dev_fd = devices.open_mounted(s.root_fd, before)
        if source is not None:
            os.close(source)


def _visit_host(s: Setup) -> None:
    """Open what is in its mount namespace all at once: going there takes longer than opening."""
    if s.host_mounts is None or all(early is not None or not m.is_bind for m, early in s.mounts):
        return
    with namespaces.in_mounts_of(s.host_mounts):
        for place, (m, early) in enumerate(s.mounts):
            if early is None:
                with mounts.naming(m):
                    s.mounts[place] = m, m.open_source(s.propagation)


def make_devices(s: Setup) -> None:
    """Nodes and links, unless the whole of /dev is somebody else's, bound there."""
    if s.staged and not s.linux.get("devices"):
        return
    binds = (m for m, _ in s.mounts if m.is_bind)
    if any(os.path.normpath(m.destination) == devices.DEV for m in binds):
        return
    dev = devices.open_in_root(s.root_fd) if s.dev_fd is None else s.dev_fd
    try:
        make = devices.bind if s.isolation.is_user_private else devices.make_node
        devices.make(s.root_fd, dev, s.linux.get("devices") or (), make)
    finally:
        os.close(dev)


def make_console(s: Setup) -> None:
    process = s.config.get("process") or {}
    if process.get("terminal"):
        s.console = console.make(s.root_fd, console.size_of(process))
        console.bind(s.root_fd, s.console.slave)


def hide_paths(s: Setup) -> None:
    if s.staged:
        return
    mounted = {m.destination for m, _ in s.mounts}
    for path in s.linux.get("readonlyPaths") or ():
        mounts.read_only(s.root_fd, path, is_mount=path in mounted)
    for path in s.linux.get("maskedPaths") or ():
        mounts.mask(s.root_fd, path)


def run_hooks(s: Setup) -> None:
    if hooks.of_kind(s.config, "createContainer"):
        state = {**s.state, "status": "creating", "pid": os.getpid()}
        hooks.run(s.config, "createContainer", state)


def enter_root(s: Setup) -> None:
    """pivot_root onto itself, then let go of the host's tree: no path leads back to it."""
    os.fchdir(s.root_fd)
    if "mount" in s.isolation.own:
        km.pivot_root(".", ".")
        km.detach(".")
    else:  # the tree of mounts is somebody else's: it stays as it is
        os.chroot(".")
    os.chdir("/")
    os.close(s.root_fd)
    for descriptor in (s.host_mounts, s.origin_mounts):
        if descriptor is not None:
            os.close(descriptor)
    _settle_root(s)


def _settle_root(s: Setup) -> None:
    readonly = (s.config.get("root") or {}).get("readonly")
    propagation = s.linux.get("rootfsPropagation")
    if not readonly and not propagation:
        return
    fd = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        if readonly:
            process.make_directory(s.config.get("process") or {})  # the last moment for it
            km.set_attributes(fd, km.MOUNT_ATTR_RDONLY, recursive=False)
        if propagation:
            mounts.propagate(fd, s.propagation)
    finally:
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


def set_domain(s: Setup) -> None:
    """The execution domain: what machine uname(2) tells a 32-bit program it is on."""
    personality = s.linux.get("personality")
    if not personality:
        return
    if personality.get("domain") not in scheduling.DOMAINS or personality.get("flags"):
        raise InvalidInputError(f"linux.personality: {personality} is not known")
    scheduling.set_domain(scheduling.DOMAINS[personality["domain"]])


PLAN: Final[tuple[tuple[str, Callable[[Setup], None]], ...]] = (
    ("check the configuration", check),
    # before become_root: the files of the host's /proc are root's
    ("set clocks", set_clocks),
    # before make_private: a clone keeps the tie that its source has to the host
    ("open the sources of mounts", open_sources),
    # before mount_root: or the host would see the container's mounts
    ("make mounts private", make_private),
    ("mount the root file system", mount_root),
    # after mount_root: the way there is the host's; before all that makes files
    ("become the root of the user namespace", become_root),
    # before mount_all: through the host's /proc
    ("set kernel parameters", set_kernel_parameters),
    # before mount_all: its mounts come first
    ("take what is mounted already", take_stage),
    # before the host's /proc and the mounts' sources go out of sight with pivot_root
    ("mount file systems", mount_all),
    # after mount_all: into the tmpfs that is the container's /dev
    ("make devices", make_devices),
    # after mount_all: in the container's devpts; before pivot_root: it needs the host's /proc
    ("make the console", make_console),
    # after mount_all: over /proc and /sys; after make_devices: it needs /dev/null, and before
    # pivot_root, as it may have to be the host's
    ("hide paths", hide_paths),
    # before pivot_root: in the container's namespaces, but with the host's programs
    ("run createContainer hooks", run_hooks),
    ("enter the root file system", enter_root),
    ("set host and domain name", set_names),
    ("set the execution domain", set_domain),
)


def loopback_up() -> None:
    """Bring ``lo`` up in a new network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(s, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(s, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
