"""Mounts as data: an OCI mount entry, what it will do, and doing it inside a root.

Every target is opened beneath the container's root (openat2) and mounted onto by descriptor, so
a symlink in an image or a shared volume cannot send a mount anywhere else. The source of a bind
mount is cloned, with its attributes, before anything of the container is mounted.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InvalidInputError, NotFoundError, UnsupportedError
from cgagent.kernel import beneath, namespaces, procfs, userns
from cgagent.kernel import mount as km
from cgagent.runtime.container import isolation
from cgagent.runtime.container.mount_options import Options
from cgagent.runtime.helpers import copyup

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_OF_ANOTHER: Final = re.compile(r"/proc/(\d+)/root(/.+)")
_NULL: Final = "/dev/null"
_PROC: Final = "/proc"
_ON_REMOUNT: Final = ~(km.MS_BIND | km.MS_REC)
_WORK: Final = "workdir="
_NOT_SYNCED: Final = "work/incompat/volatile"
"""In an overlay's ``workdir``: that it has been mounted with ``volatile``, since Linux 5.10."""


def _clone_tree(source: str, host_mounts: int | None, *, recursive: bool) -> int:
    """A tree of the host, or, by way of ``/proc/PID/root``, of another container."""
    with ExitStack() as stack:
        other = _OF_ANOTHER.fullmatch(source)
        if other:
            host_mounts = os.open(f"/proc/{other[1]}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, host_mounts)
            source = other[2]  # "/" is theirs meanwhile: no link of theirs leads to us
        if host_mounts is not None:
            stack.enter_context(namespaces.in_mounts_of(host_mounts))
        return km.clone_tree(source, recursive=recursive)


def make_root(entries: Iterable[dict[str, Any]], directory: str) -> None:
    """Mount what is to be a container's root, as OCI entries, at a directory of the host.

    An overlay that was mounted and not synced is refused by the kernel, in case there was a power
    cut since: of a container that is thrown away at its end nothing would be left to mount then.
    """
    for entry in entries:
        m = Mount.from_oci(entry)
        for option in entry.get("options") or ():
            if option.startswith(_WORK):
                _forget_not_synced(option.removeprefix(_WORK))
        if m.type == "overlay" and len(os.fsencode(m.options.data)) >= km.DATA_BYTES:
            _mount_many_layers(directory, m.options.data.split(","))
        else:
            km.mount(m.source, directory, m.type, m.options.flags, m.options.data)


def _mount_many_layers(directory: str, options: list[str]) -> None:
    try:
        km.mount_overlay(directory, options)
    except OSError as e:
        if e.errno != errno.EINVAL:
            raise
        count = sum(option.count(":") + 1 for option in options if option.startswith("lowerdir="))
        raise UnsupportedError(
            f"an image of {count} layers: their names do not fit into the {km.DATA_BYTES} bytes "
            "of options that this kernel takes for an overlay; Linux 6.7 takes 500 layers"
        ) from None


def _forget_not_synced(work: str) -> None:
    mark = f"{work}/{_NOT_SYNCED}"
    with suppress(FileNotFoundError):
        os.unlink(f"{mark}/dirty")
    with suppress(FileNotFoundError):
        os.rmdir(mark)


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a container."""

    destination: str
    type: str | None
    source: str | None
    options: Options
    mappings: userns.Mappings | None = None
    """Of an id-mapped mount; without them, those of the container's user namespace."""

    @classmethod
    def from_oci(cls, entry: dict[str, Any], bundle: str = "/") -> Mount:
        """An entry of the OCI configuration's ``mounts``.

        A relative destination is below the root, a relative bind source below `bundle`.

        Raises:
            UnsupportedError: an id-mapped mount that is not a bind.
        """
        options = Options.parse(entry.get("options") or ())
        mappings = isolation.mappings(entry, f"mount {entry['destination']}")
        kind, source = entry.get("type"), entry.get("source")
        flags = options.flags
        if kind == "bind" and not flags & km.MS_BIND:
            flags |= km.MS_BIND | km.MS_REC
        if flags & km.MS_BIND:
            kind = None
            source = source and os.path.join(bundle, source)
        options = replace(options, flags=flags)
        found = cls("/" + entry["destination"].lstrip("/"), kind, source, options, mappings)
        if found.is_id_mapped and not found.is_bind:
            raise UnsupportedError(f"{found.describe()}: only bind mounts can be id-mapped")
        return found

    @property
    def is_bind(self) -> bool:
        return bool(self.options.flags & km.MS_BIND)

    @property
    def is_id_mapped(self) -> bool:
        return bool(self.options.id_mapped or self.mappings)

    @property
    def is_remount(self) -> bool:
        return bool(self.options.flags & km.MS_REMOUNT)

    def describe(self) -> str:
        what = "bind" if self.is_bind else str(self.type)
        what = "remount" if self.is_remount else what
        data = f" [{self.options.data}]" if self.options.data else ""
        return f"mount {what} {self.source or ''} on {self.destination}{data}"

    def follows_host(self, propagation: int) -> bool:
        """Whether mounts on the host shall turn up below this one later, or its own there."""
        changes = self.options.propagation or (propagation,)
        return self.is_bind and any(c & (km.MS_SLAVE | km.MS_SHARED) for c in changes)

    def open_source(
        self, propagation: int, host_mounts: int | None = None, user_namespace: int | None = None
    ) -> int | None:
        """A bind mount's tree, attached nowhere yet; None for what is no bind mount.

        `propagation` is what it gets unless the entry has its own. `host_mounts` is the mount
        namespace to look its source up in, if not our own; `user_namespace` the container's.

        Raises:
            NotFoundError: the source does not exist.
            InvalidInputError: it is to be id-mapped, without mappings.
            UnsupportedError: its file system cannot be.
        """
        if not self.is_bind or self.is_remount:
            return None
        recursive = bool(self.options.flags & km.MS_REC)
        try:
            tree = _clone_tree(self.source or "", host_mounts, recursive=recursive)
        except FileNotFoundError:
            raise NotFoundError(
                f"mount source {self.source} does not exist on the host; create it first"
            ) from None
        try:
            if self.is_id_mapped:
                self._map_ids(tree, user_namespace)
            self._dress(tree, propagation)
        except BaseException:
            os.close(tree)
            raise
        return tree

    def _map_ids(self, tree: int, user_namespace: int | None) -> None:
        own = userns.carrier(self.mappings) if self.mappings else user_namespace
        if own is None:
            raise InvalidInputError(
                f"{self.describe()}: id-mapped, but neither it nor the container has mappings"
            )
        try:
            km.map_ids(tree, own, recursive=self.options.id_mapped == "ridmap")
        except OSError as e:
            reason = os.strerror(e.errno or 0).lower()
            raise UnsupportedError(
                f"{self.describe()}: its file system cannot be id-mapped: {reason}"
            ) from None
        finally:
            if own != user_namespace:
                os.close(own)

    def _dress(self, tree: int, propagation: int) -> None:
        own = self.options.attributes
        if own:
            km.set_attributes(tree, own.set, clear=own.clear, recursive=False)
        if not self.options.propagation:
            propagate(tree, propagation | km.MS_REC)
        self._finish(tree)

    def _finish(self, mount: int) -> None:
        """What takes a call of its own on any mount."""
        below = self.options.recursive
        if below:
            km.set_attributes(mount, below.set, clear=below.clear, recursive=True)
        for change in self.options.propagation:
            propagate(mount, change)

    def apply(self, root_fd: int, source: int | None = None) -> None:
        """Mount it inside the root; `source` is what `open_source` gave.

        Raises:
            OSError: the kernel refused.
        """
        if self.is_remount:
            self._remount(root_fd)
            return
        if os.path.normpath(self.destination) == _PROC:
            self._require_proc(source)
        target = self._open_target(root_fd, source)
        try:
            if source is None:
                self._mount_new(root_fd, target)
            else:
                km.attach(source, target)
        finally:
            os.close(target)

    def _require_proc(self, source: int | None) -> None:
        """What is hidden in /proc, and what is found by it, needs it to be one (CVE-2019-16884)."""
        is_proc = self.type == "proc" if source is None else procfs.is_proc(source)
        if not is_proc:
            raise InvalidInputError(
                f"{self.describe()}: only a proc file system can be mounted there; "
                "mount it on another path"
            )

    def _open_target(self, root_fd: int, source: int | None) -> int:
        try:
            if source is None or stat.S_ISDIR(os.fstat(source).st_mode):
                return beneath.ensure_directory(root_fd, self.destination)
            return beneath.ensure_file(root_fd, self.destination)
        except NotADirectoryError:
            raise InvalidInputError(
                f"mount on {self.destination}: what is there in the image is no directory; "
                "mount it on another path"
            ) from None

    def _mount_new(self, root_fd: int, target: int) -> None:
        options = self.options
        where = km.fd_path(target)
        # the file system itself is the network namespace's: this mount alone is to be read-only
        alone = options.flags & km.MS_RDONLY if self.type == "sysfs" else 0
        km.mount(self.source or self.type, where, self.type, options.flags & ~alone, options.data)
        if not (alone or options.recursive or options.propagation or options.copy_up):
            return
        top = beneath.open_in_root(root_fd, self.destination, os.O_PATH)
        try:
            if alone:
                km.set_attributes(top, km.MOUNT_ATTR_RDONLY, recursive=False)
            if options.copy_up:
                copyup.copy(target, top)
            self._finish(top)
        finally:
            os.close(top)

    def _remount(self, root_fd: int) -> None:
        """Change a mount that is there."""
        fd = beneath.open_in_root(root_fd, self.destination, os.O_PATH)
        try:
            if self.is_bind:
                own = self.options.attributes
                km.set_attributes(fd, own.set, clear=own.clear, recursive=False)
            else:
                flags = self.options.flags & _ON_REMOUNT
                km.mount(None, km.fd_path(fd), None, flags, self.options.data)
            self._finish(fd)
        finally:
            os.close(fd)


@contextmanager
def naming(m: Mount) -> Iterator[None]:
    """A failure says which mount it was."""
    try:
        yield
    except OSError as e:
        raise OSError(e.errno, f"{m.describe()}: {os.strerror(e.errno or 0).lower()}") from e


def propagate(mount: int, change: int) -> None:
    """Change a mount's propagation, given as mount(2) has it."""
    recursive = bool(change & km.MS_REC)
    km.set_attributes(mount, 0, propagation=change & ~km.MS_REC, recursive=recursive)


def mask(root_fd: int, path: str) -> None:
    """Hide a path: /dev/null over a file, an empty read-only tmpfs over a directory."""
    try:
        fd = beneath.open_in_root(root_fd, path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            km.mount("tmpfs", km.fd_path(fd), "tmpfs", km.MS_RDONLY, "size=0k,nr_inodes=2")
        else:
            null = _null_of(root_fd)
            try:
                km.attach(null, fd)
            finally:
                os.close(null)
    finally:
        os.close(fd)


def _null_of(root_fd: int) -> int:
    """A tree that is the null device: the container's own, else the host's.

    Whoever owns the node can change its mode through the mask. So the host's is read-only there.

    Raises:
        NotFoundError: neither is the null device (CVE-2025-31133).
    """
    with suppress(OSError):
        own = beneath.open_in_root(root_fd, _NULL, os.O_PATH | os.O_NOFOLLOW)
        try:
            if _is_null(own):
                return km.clone_tree(km.fd_path(own), recursive=False)
        finally:
            os.close(own)
    tree = km.clone_tree(_NULL, recursive=False)
    if not _is_null(tree):
        os.close(tree)
        raise NotFoundError("/dev/null of the host is not the null device; restore it (mknod 1 3)")
    km.set_attributes(tree, km.MOUNT_ATTR_RDONLY, recursive=False)
    return tree


def _is_null(fd: int) -> bool:
    status = os.fstat(fd)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)


def read_only(root_fd: int, path: str, *, is_mount: bool) -> None:
    """Make a path read-only, with everything mounted below; bound onto itself if need be."""
    try:
        fd = beneath.open_in_root(root_fd, path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if not is_mount:
            km.mount(km.fd_path(fd), km.fd_path(fd), None, km.MS_BIND | km.MS_REC)
    finally:
        os.close(fd)
    top = beneath.open_in_root(root_fd, path, os.O_PATH)
    try:
        km.set_attributes(top, km.MOUNT_ATTR_RDONLY, recursive=True)
    finally:
        os.close(top)
