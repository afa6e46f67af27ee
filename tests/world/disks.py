"""Small disks with a file system of one's own, on a loop device, for as long as a block lasts."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.world import debian

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@dataclass(frozen=True)
class Loop:
    """A loop device on a sparse file."""

    path: str
    rdev: int

    @property
    def number(self) -> str:
        return f"{os.major(self.rdev)}:{os.minor(self.rdev)}"

    @property
    def scheduler(self) -> Path:
        return Path(f"/sys/dev/block/{self.number}/queue/scheduler")


@contextmanager
def loop_device(file: str, mib: int = 64) -> Iterator[Loop]:
    """A block device on `file`, which is made and removed."""
    subprocess.run(["modprobe", "loop"], check=False, capture_output=True)
    with open(file, "wb") as made:
        made.truncate(mib << 20)
    try:
        command = ["losetup", "--find", "--show", "--direct-io=off", file]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        try:
            yield Loop(shown, os.stat(shown).st_rdev)
        finally:
            subprocess.run(["losetup", "--detach", shown], check=True)
    finally:
        os.unlink(file)


@contextmanager
def tmpfs(where: Path, options: str = "size=256m") -> Iterator[Path]:
    """One in memory, where nothing waits for a disk."""
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)
