"""Small disks with a file system of one's own, on a loop device, for as long as a block lasts."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.world import debian

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PACKAGES = {"btrfs": "btrfs-progs", "ext4": "e2fsprogs", "xfs": "xfsprogs"}


class NoFileSystemError(Exception):
    """The kernel has no such file system, or not with these options."""


@contextmanager
def mounted(
    folder: Path, kind: str, *, make: tuple[str, ...] = (), options: str = "", size: str = "512M"
) -> Iterator[Path]:
    """An empty one in a file of `folder`; `make` are arguments of mkfs.

    Raises:
        NoFileSystemError
    """
    debian.install(_PACKAGES[kind])
    # In the guest they are modules; natively the kernel has them, or has none.
    subprocess.run(["modprobe", "-q", "-a", "loop", "quota_v2", kind], check=False)
    image, where = folder / f"{kind}.img", folder / kind
    subprocess.run(["truncate", "-s", size, image], check=True)
    subprocess.run([f"mkfs.{kind}", "-q", *make, image], check=True, stdout=subprocess.DEVNULL)
    with mounted_image(image, where, kind, options):
        yield where
    image.unlink()


@contextmanager
def mounted_image(image: Path, where: Path, kind: str, options: str = "") -> Iterator[Path]:
    """One that is in the file `image` already."""
    where.mkdir()
    how = ",".join(filter(None, ("loop", options)))
    done = subprocess.run(
        ["mount", "-t", kind, "-o", how, image, where], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise NoFileSystemError(done.stderr.strip())
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)
        where.rmdir()


@contextmanager
def tmpfs(where: Path, options: str = "size=256m") -> Iterator[Path]:
    """One in memory, where nothing waits for a disk."""
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)
