"""Device nodes and links of a container's /dev.

Made in the file system that was mounted at /dev, by the descriptor it was opened with right then:
whatever an image or a volume puts over or behind that path later is not followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InvalidInputError
from cgagent.kernel import beneath
from cgagent.kernel import mount as km

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.runtime.container.mounts import Mount

DEV: Final = "/dev"
DEFAULTS: Final = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
_MUST_BE_THE_HOSTS: Final = "in a user namespace it must be the host's device of that path"
_LINKS: Final = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_KINDS: Final = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def number_below(root_fd: int, mount: Mount) -> int | None:
    """`st_dev` of what a mount will cover, if that is a new file system for /dev."""
    if os.path.normpath(mount.destination) != DEV or mount.is_bind or mount.is_remount:
        return None
    dev = beneath.ensure_directory(root_fd, DEV)
    try:
        return os.fstat(dev).st_dev
    finally:
        os.close(dev)


def open_mounted(root_fd: int, below: int) -> int:
    """The container's /dev, right after it was mounted.

    Raises:
        FileExistsError: what is seen there is not what was mounted: a symlink of the image's,
            and somebody who changes where it leads.
    """
    dev = beneath.open_in_root(root_fd, DEV, os.O_RDONLY | os.O_DIRECTORY)
    if os.fstat(dev).st_dev == below or os.listdir(dev):
        os.close(dev)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    return dev


def open_in_root(root_fd: int) -> int:
    """The image's own directory /dev, where none is mounted.

    Raises:
        InvalidInputError: it is a symlink, or a volume (be it mounted by another name): nodes
            would be made in the host's tree.
    """
    os.close(beneath.ensure_directory(root_fd, DEV))
    strict = beneath.RESOLVE_BENEATH | beneath.RESOLVE_NO_XDEV | beneath.RESOLVE_NO_SYMLINKS
    try:
        return beneath.openat2(root_fd, DEV[1:], os.O_RDONLY | os.O_DIRECTORY, resolve=strict)
    except OSError as e:
        if e.errno not in {errno.EXDEV, errno.ELOOP}:
            raise
    raise InvalidInputError(f"{DEV} is not the container's own; mount a tmpfs there")


def make_node(directory: int, name: str, mode: int, number: int, _path: str) -> bool:
    """Whether it was made; False: the right one is there.

    Raises:
        InvalidInputError: something else is there.
    """
    try:
        os.mknod(name, mode, number, dir_fd=directory)
    except FileExistsError:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        same_number = stat.S_ISFIFO(mode) or found.st_rdev == number
        if stat.S_IFMT(found.st_mode) == stat.S_IFMT(mode) and same_number:
            return False
        raise InvalidInputError(
            f"device {name}: the container has something else of that name"
        ) from None
    return True


def bind(directory: int, name: str, mode: int, number: int, path: str) -> bool:
    """Bind the host's node of that path: in a user namespace of its own nobody can make one.

    It keeps its owner; False, as there is nothing to be given away.

    Raises:
        InvalidInputError: the host has another device there, or none.
    """
    if stat.S_ISFIFO(mode):
        return make_node(directory, name, mode, number, path)
    try:
        tree = km.clone_tree(path, recursive=False)
    except OSError as e:
        reason = os.strerror(e.errno or 0).lower()
        raise InvalidInputError(f"device {path}: {reason}; {_MUST_BE_THE_HOSTS}") from None
    try:
        found = os.fstat(tree)
        if stat.S_IFMT(found.st_mode) != stat.S_IFMT(mode) or found.st_rdev != number:
            raise InvalidInputError(f"device {path}: it is another one; {_MUST_BE_THE_HOSTS}")
        target = beneath.ensure_file(directory, f"/{name}")
        km.attach(tree, target)
        os.close(target)
    finally:
        os.close(tree)
    return False


Maker = Callable[[int, str, int, int, str], bool]
"""Makes a device in a directory: name, mode, number, path on the host. Whether it is a new file."""


def make(
    root_fd: int, dev: int, devices: Iterable[dict[str, Any]], make_one: Maker = make_node
) -> None:
    """The configured nodes, the default ones, and the links."""
    mask = os.umask(0)
    try:
        for device in devices:
            _make_configured(root_fd, dev, device, make_one)
        for name, number in DEFAULTS.items():
            make_one(dev, name, stat.S_IFCHR | 0o666, os.makedev(*number), f"{DEV}/{name}")
        for name, target in _LINKS.items():
            _make_link(dev, name, target)
    finally:
        os.umask(mask)


def _make_configured(root_fd: int, dev: int, device: dict[str, Any], make_one: Maker) -> None:
    path, kind = "/" + device["path"].lstrip("/"), device["type"]
    if kind not in _KINDS:
        raise InvalidInputError(f"device {path}: type {kind!r} is not one of c, b, u, p")
    parent, name = os.path.split(path)
    base = root_fd
    if parent == DEV or parent.startswith(DEV + "/"):
        base, parent = dev, parent.removeprefix(DEV) or "/"
    directory = beneath.ensure_directory(base, parent)
    try:
        mode = device.get("fileMode")
        mode = _KINDS[kind] | stat.S_IMODE(0o666 if mode is None else mode)
        number = os.makedev(device.get("major") or 0, device.get("minor") or 0)
        if make_one(directory, name, mode, number, path):
            os.chown(name, device.get("uid") or 0, device.get("gid") or 0, dir_fd=directory)
    finally:
        os.close(directory)


def _make_link(dev: int, name: str, target: str) -> None:
    try:
        os.symlink(target, name, dir_fd=dev)
    except FileExistsError:  # the image's own, or a mount point: the container's choice
        return
