"""Debian 13 as a root to measure in, with the newest peers that a stable Debian has.

It is bootstrapped once, into the cache of the tests, and is the root of a private mount namespace
under an overlay that ends with the run.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Final

from tests.world import cache, debian
from tests.world.guest import STATE_FOLDER

_REPOSITORY: Final = Path(__file__).resolve().parent.parent
_PACKAGES: Final = (
    *("python3", "python3-venv", "procps", "git", "ca-certificates", "busybox-static"),
    *("docker.io", "docker-cli", "containerd", "podman", "conmon", "netavark", "skopeo"),
    *(
        "crun",
        "runc",
        "umoci",
        "docker-registry",
        "libnftables1",
        "e2fsprogs",
        "iperf3",
        "nftables",
    ),
)
_OF_THIS_MACHINE: Final = ("etc/resolv.conf", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")
# Arguments: the repository, two more places to see, the new root, a folder for its .venv, and what
# to run. The shell stays as PID 1 of the namespace, where it reaps what the engines leave.
_ENTER: Final = """
here=$1 cache=$2 state=$3 new=$4 venv=$5
shift 5
for place in proc sys dev; do mount --rbind /$place $new/$place; done
for place in run tmp; do mount -t tmpfs $place $new/$place; done
for place in "$here" "$cache" "$state"; do
    mkdir -p "$new$place"
    mount --rbind "$place" "$new$place"
done
mkdir -p "$here/.venv"
mount --bind "$venv" "$new$here/.venv"
mkdir "$new/old"
cd "$new"
pivot_root . old
umount -l /old
mount -t tmpfs shm /dev/shm
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
cd "$here"
deploy/venv dev
# Engines make their bridges and rules in a network of the run's own, with nothing but loopback.
unshare --net sh -c 'busybox ip link set lo up && exec "$@"' sh "$@"
exit $?
"""


def root() -> Path:
    """Its files, which nobody changes."""
    return cache.build(f"debian-13-{_digest(*_PACKAGES)}", _bootstrap)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _bootstrap(draft: Path) -> None:
    print("benchmarks: bootstrapping Debian 13, which takes a few minutes", flush=True)
    debian.bootstrap(draft, "trixie", *_PACKAGES)


def inside(folder: Path, program: list[str]) -> list[str]:
    """The program, run with this root in a mount namespace; `folder` takes what it writes."""
    new = folder / "root"
    for name in ("upper", "work", "root"):
        (folder / name).mkdir()
    venv = cache.root() / f"venv-13-{_digest(str(_REPOSITORY))}"
    venv.mkdir(exist_ok=True)
    for name in _OF_THIS_MACHINE:
        if (there := Path("/") / name).is_file():
            (folder / "upper" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(there, folder / "upper" / name)
    overlay = f"lowerdir={root()},upperdir={folder}/upper,workdir={folder}/work"
    enter = f"mount -t overlay -o {overlay} root {new}\n{_ENTER}"
    places = (_REPOSITORY, cache.root(), STATE_FOLDER, new, venv)
    return ["sh", "-ec", enter, "sh", *map(str, places), *program]
