"""Guest kernels: Debian's and Alpine's, unpacked into the cache and never installed.

Debian's 6.12 lacks the v1 memory and cpuset controllers, its 6.1 has them: hence one kernel for
pure cgroup v2 and one for the layouts with v1. The usual ones are cloud kernels, which are small;
what they leave out is in others, for modes that nobody runs by default: Debian's generic ones
have zswap and a software RDMA device, Alpine's (6.18) has zswap, io.latency and dmem.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.world import alpine, cache, debian

_META_PACKAGE = {
    "v2": "linux-image-6.12-cloud-amd64",
    "v1": "linux-image-cloud-amd64",
    "hybrid": "linux-image-cloud-amd64",
    "v2-generic": "linux-image-6.12-amd64",
    "v1-generic": "linux-image-amd64",
}
_ALPINE = "v2-alpine"
MODES = (*_META_PACKAGE, _ALPINE)

_UNPACK = {".xz": ("xz", "-d"), ".gz": ("gzip", "-d")}


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel: `folder` has ``boot/`` and ``lib/modules/``."""

    folder: Path
    release: str

    @property
    def image(self) -> Path:
        return self.folder / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self) -> Path:
        return self.folder / "lib" / "modules" / self.release

    def module_files(self, *names: str) -> list[Path]:
        """What insmod needs for `names`, in the order of their dependencies."""
        files: dict[Path, None] = {}
        for name in names:
            command = [
                "modprobe",
                "-d",
                str(self.folder),
                "-S",
                self.release,
                "--show-depends",
                name,
            ]
            shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            for line in shown.splitlines():  # "insmod FILE" or "builtin NAME"
                verb, _, rest = line.partition(" ")
                if verb == "insmod":
                    files[Path(rest.split()[0])] = None
        return list(files)


def layout(mode: str) -> str:
    """The cgroup layout of a mode: what stands before a kernel that is not the usual one."""
    return mode.partition("-")[0]


def prepare(mode: str) -> Kernel:
    """The kernel for a mode, one of MODES."""
    if mode == _ALPINE:
        folder = cache.build("linux-alpine", _make_alpine)
    else:
        meta = _META_PACKAGE[mode]
        folder = cache.build(meta, lambda draft: _make_debian(meta, draft))
    (modules,) = (folder / "lib" / "modules").iterdir()
    return Kernel(folder, modules.name)


def _make_debian(meta: str, draft: Path) -> None:
    release = _newest_release(meta)
    debian.extract(f"linux-image-{release}", draft)
    _plain_modules(draft, release)


def _make_alpine(draft: Path) -> None:
    draft.mkdir()
    alpine.dump(draft, "/boot", "/lib/modules")
    (draft / "lib").mkdir()
    (draft / "modules").rename(draft / "lib" / "modules")
    (modules,) = (draft / "lib" / "modules").iterdir()
    (draft / "boot" / "vmlinuz-virt").rename(draft / "boot" / f"vmlinuz-{modules.name}")
    (modules / "vmlinuz").unlink(missing_ok=True)  # a link into /boot that depmod complains about
    _plain_modules(draft, modules.name)


def _plain_modules(draft: Path, release: str) -> None:
    """Unpacked: busybox insmod reads plain files only, and a slow guest is spared the work."""
    for suffix, command in _UNPACK.items():
        compressed = sorted((draft / "lib" / "modules").rglob(f"*.ko{suffix}"))
        if compressed:
            subprocess.run(
                ["xargs", "-0", "-P2", "-n64", *command],
                check=True,
                input="\0".join(map(str, compressed)),
                text=True,
            )
    subprocess.run(["depmod", "-b", draft, release], check=True)


def _newest_release(meta: str) -> str:
    """The release that a meta package points to today; old ones leave the mirror."""
    found: list[str] = []

    def look() -> None:
        command = ["apt-cache", "depends", meta]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        match = re.search(r"^ *Depends: linux-image-(\S+)", shown, re.MULTILINE)
        if match is None:
            raise LookupError(f"no {meta} in apt's lists")
        found.append(match[1])

    debian.with_fresh_lists(look)
    return found[0]
