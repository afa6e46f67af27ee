"""Mounts as data: an OCI mount entry, what it will do, and doing it inside a root.

Every target is opened beneath the container's root (openat2) and mounted onto by descriptor, so
a symlink in an image or a shared volume cannot send a mount anywhere else.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Any, Final

from cgagent.errors import InvalidInputError, NotFoundError
from cgagent.kernel import beneath
from cgagent.kernel import mount as km

_SET: Final = {
    "ro": km.MS_RDONLY,
    "nosuid": km.MS_NOSUID,
    "nodev": km.MS_NODEV,
    "noexec": km.MS_NOEXEC,
    "sync": km.MS_SYNCHRONOUS,
    "dirsync": km.MS_DIRSYNC,
    "noatime": km.MS_NOATIME,
    "nodiratime": km.MS_NODIRATIME,
    "relatime": km.MS_RELATIME,
    "strictatime": km.MS_STRICTATIME,
    "nosymfollow": km.MS_NOSYMFOLLOW,
    "bind": km.MS_BIND,
    "rbind": km.MS_BIND | km.MS_REC,
}
_CLEAR: Final = {
    "rw": km.MS_RDONLY,
    "suid": km.MS_NOSUID,
    "dev": km.MS_NODEV,
    "exec": km.MS_NOEXEC,
    "async": km.MS_SYNCHRONOUS,
    "atime": km.MS_NOATIME,
    "defaults": 0,
}
_PROPAGATION: Final = {
    "private": km.MS_PRIVATE,
    "rprivate": km.MS_PRIVATE | km.MS_REC,
    "slave": km.MS_SLAVE,
    "rslave": km.MS_SLAVE | km.MS_REC,
    "shared": km.MS_SHARED,
    "rshared": km.MS_SHARED | km.MS_REC,
    "unbindable": km.MS_UNBINDABLE,
    "runbindable": km.MS_UNBINDABLE | km.MS_REC,
}
_PER_MOUNT: Final = {  # what a bind mount takes in a second call, as attributes of the mount
    km.MS_RDONLY: km.MOUNT_ATTR_RDONLY,
    km.MS_NOSUID: km.MOUNT_ATTR_NOSUID,
    km.MS_NODEV: km.MOUNT_ATTR_NODEV,
    km.MS_NOEXEC: km.MOUNT_ATTR_NOEXEC,
}


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a container."""

    destination: str
    type: str | None
    source: str | None
    flags: int
    propagation: tuple[int, ...]
    data: str

    @classmethod
    def from_oci(cls, entry: dict[str, Any]) -> Mount:
        """An entry of the OCI configuration's ``mounts``.

        Raises:
            InvalidInputError: a destination that is not absolute.
        """
        destination = entry["destination"]
        if not destination.startswith("/"):
            raise InvalidInputError(f"mount destination {destination!r} must be an absolute path")
        flags, propagation, data = 0, [], []
        for option in entry.get("options", ()):
            if option in _SET:
                flags |= _SET[option]
            elif option in _CLEAR:
                flags &= ~_CLEAR[option]
            elif option in _PROPAGATION:
                propagation.append(_PROPAGATION[option])
            else:
                data.append(option)
        kind = entry.get("type")
        if kind == "bind" and not flags & km.MS_BIND:
            flags |= km.MS_BIND | km.MS_REC
        return cls(
            destination,
            None if flags & km.MS_BIND else kind,
            entry.get("source"),
            flags,
            tuple(propagation),
            ",".join(data),
        )

    @property
    def is_bind(self) -> bool:
        return bool(self.flags & km.MS_BIND)

    def describe(self) -> str:
        what = "bind" if self.is_bind else str(self.type)
        data = f" [{self.data}]" if self.data else ""
        return f"mount {what} {self.source or ''} on {self.destination}{data}"

    def apply(self, root_fd: int) -> None:
        """Mount it inside the root.

        Raises:
            NotFoundError: a bind mount's source does not exist.
            OSError: the kernel refused.
        """
        source_fd = self._open_source() if self.is_bind else None
        try:
            target_fd = self._open_target(root_fd, source_fd)
            try:
                self._mount(source_fd, km.fd_path(target_fd))
            finally:
                os.close(target_fd)
        finally:
            if source_fd is not None:
                os.close(source_fd)
        if self.is_bind or self.propagation:
            self._finish(root_fd)

    def _open_source(self) -> int:
        try:
            return os.open(self.source or "", os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFoundError(
                f"mount source {self.source} does not exist on the host; create it first"
            ) from None

    def _open_target(self, root_fd: int, source_fd: int | None) -> int:
        if source_fd is None or stat.S_ISDIR(os.fstat(source_fd).st_mode):
            return beneath.ensure_directory(root_fd, self.destination)
        return beneath.ensure_file(root_fd, self.destination)

    def _mount(self, source_fd: int | None, target: str) -> None:
        if source_fd is None:
            km.mount(self.source or self.type, target, self.type, self.flags, self.data)
        else:
            km.mount(km.fd_path(source_fd), target, None, self.flags & (km.MS_BIND | km.MS_REC))

    def _finish(self, root_fd: int) -> None:
        """Per-mount flags of a bind, and propagation: calls of their own, on what is on top now."""
        fd = beneath.open_in_root(root_fd, self.destination, os.O_PATH)
        try:
            if self.is_bind:
                attributes = sum(a for f, a in _PER_MOUNT.items() if self.flags & f)
                if attributes:
                    km.set_attributes(fd, attributes, recursive=bool(self.flags & km.MS_REC))
            for change in self.propagation:
                km.mount(None, km.fd_path(fd), None, change)
        finally:
            os.close(fd)


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
            null = _real_null()
            try:
                km.mount(km.fd_path(null), km.fd_path(fd), None, km.MS_BIND)
            finally:
                os.close(null)
    finally:
        os.close(fd)


def _real_null() -> int:
    """The host's /dev/null, checked to be it: a mask's source must not be an image's file."""
    fd = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    status = os.fstat(fd)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
        os.close(fd)
        raise NotFoundError("/dev/null of the host is not the null device; restore it (mknod 1 3)")
    return fd


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
