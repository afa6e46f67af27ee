"""Debian packages the tests need.

Programs are installed. Packages with a service are only unpacked into the cache and started by
the tests by hand, so that no daemon, unit or user appears on the machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.world import cache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOCK_TIMEOUT = "DPkg::Lock::Timeout=300"
_LIBRARIES = {
    "conmon": ("libglib2.0-0",),
    "docker.io": ("libdevmapper1.02.1",),
    "podman": ("libdevmapper1.02.1", "libgpgme11", "libsubid4"),
}
"""What the programs of unpacked packages are linked with, and a small machine may lack."""


def _apt(*arguments: str, cwd: Path | None = None) -> None:
    ran = subprocess.run(
        ["apt-get", "-q", "-y", "-o", LOCK_TIMEOUT, *arguments],
        check=False,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    if ran.returncode != 0:
        print(*ran.stdout.splitlines()[-10:], sep="\n", file=sys.stderr)
        ran.check_returncode()


def with_fresh_lists(attempt: Callable[[], None]) -> None:
    """Run `attempt`; when it fails, refresh apt's lists and run it once more.

    A list may be missing on a new machine, or name versions that have left the mirror.
    """
    try:
        attempt()
    except (subprocess.CalledProcessError, LookupError):
        print("tests: a package cannot be had, refreshing apt's lists", file=sys.stderr)
        _apt("update")
        attempt()


def _missing(names: tuple[str, ...]) -> list[str]:
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *names]
    found = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    installed = {line.split()[1] for line in found.splitlines() if line.startswith("installed ")}
    return [name for name in names if name not in installed]


def install(*names: str) -> None:
    """Install the packages that are missing, without recommended ones."""
    if not names or not _missing(names):
        return
    with cache.locked("apt"):
        if missing := _missing(names):
            print(f"tests: installing {' '.join(missing)}", file=sys.stderr)
            with_fresh_lists(lambda: _apt("install", "--no-install-recommends", *missing))


def extract(name: str, folder: Path) -> None:
    """Download a package and lay its files out under `folder`; no script of it runs."""
    folder.mkdir(exist_ok=True)
    with_fresh_lists(lambda: _apt("download", "-o", "APT::Sandbox::User=root", name, cwd=folder))
    (archive,) = folder.glob("*.deb")
    subprocess.run(["dpkg", "-x", archive, folder], check=True)
    archive.unlink()


def unpack(name: str) -> Path:
    """The folder in the cache that holds the files of package `name`, whose libraries are there."""
    install(*_LIBRARIES.get(name, ()))
    return cache.build(f"debian-{name}", lambda draft: extract(name, draft))


def seeing(package: Path, directory: str, *command: str) -> list[str]:
    """The command, run so that a directory has the unpacked package's files beside its own."""
    options = f"lowerdir={package}{directory}:{directory}"
    inside = f'mount -t overlay overlay -o "$0" {directory} && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", inside, options, *command]


def bootstrap(folder: Path, release: str, *packages: str) -> None:
    """Make a root of a Debian release in `folder`, of the mirror that this machine's apt has."""
    install("debootstrap")
    listed = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    mirrors = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()
    more = [f"--include={','.join(packages)}"] if packages else []
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", *more, release, folder, mirrors[0]],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if made.returncode:
        raise RuntimeError(f"debootstrap failed:\n{made.stdout[-2000:]}")
    for archive in (folder / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
