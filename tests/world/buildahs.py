"""What Debian 13's buildah makes of the Dockerfiles of the tests, recorded once.

``python -m tests.world.buildahs`` writes ``dockerfiles/buildah.json``: of each image the fields of
its configuration, and what it has beside its base. buildah runs in a root of Debian 13 of its own,
which is bootstrapped into the cache; what it writes goes with the run.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.world.dockerfiles import CASES, Case
from tests.world.dockerfiles.case import Entry, changes, entries, settings

RECORD: Final = Path(__file__).parent / "dockerfiles" / "buildah.json"
_REPOSITORY: Final = Path(__file__).resolve().parent.parent.parent
_PACKAGES: Final = ("buildah", "ca-certificates", "crun", "netavark", "python3")
_POLICY: Final = '{"default": [{"type": "insecureAcceptAnything"}]}'
_ENTER: Final = """
new=$1 here=$2 archive=$3 state=$4 work=$5
mount -t overlay -o "lowerdir=$6,upperdir=$work/upper,workdir=$work/work" root "$new"
for place in proc sys dev; do mount --rbind /$place $new/$place; done
for place in run tmp; do mount -t tmpfs $place $new/$place; done
for place in "$here" "$archive" "$state"; do
    mkdir -p "$new$(dirname "$place")"
    [ -d "$place" ] && mkdir -p "$new$place" || touch "$new$place"
    mount --bind "$place" "$new$place"
done
cd "$new" && mkdir old && pivot_root . old && umount -l /old
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
cd "$here" && exec python3 -m tests.world.buildahs "$state" "$archive"
"""
# Here no runtime makes a container in a build: RUN is in a chroot, with limits that can be set.
_BUILD: Final = (
    *("build", "--isolation", "chroot", "--network", "host", "--format", "docker", "--layers"),
    *("--pull=never", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
)


def main() -> None:
    """On this machine: make the root, and go there."""
    from tests.world import cache, debian, images

    root = cache.build("debian-13-buildah", lambda d: debian.bootstrap(d, "trixie", *_PACKAGES))
    with tempfile.TemporaryDirectory(prefix="cgagent-buildah-", dir="/var/tmp") as scratch:
        for name in ("upper", "work", "root", "state"):
            (Path(scratch) / name).mkdir()
        places = (f"{scratch}/root", _REPOSITORY, images.alpine_docker_archive())
        more = (f"{scratch}/state", scratch, root)
        inside = ["unshare", "--mount", "--fork", "sh", "-ec", _ENTER, "sh", *places, *more]
        subprocess.run([str(word) for word in inside], check=True)
        RECORD.write_bytes((Path(scratch) / "state" / "record.json").read_bytes())
        print(f"{RECORD} is written")


class _Buildah:
    """In that root, with its storage in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        storage = ("--root", folder / "root", "--runroot", folder / "run")
        self._flags = [str(word) for word in (*storage, "--storage-driver", "overlay")]
        (folder / "scratch").mkdir()  # not in this root, which is an overlay itself
        policy = Path("/etc/containers/policy.json")
        policy.parent.mkdir(exist_ok=True)
        policy.write_text(_POLICY)

    def run(self, *words: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["buildah", *self._flags, *words],
            check=False,
            cwd=cwd,
            capture_output=True,
            text=True,
            env={**os.environ, "TMPDIR": str(self._folder / "scratch")},
        )
        if done.returncode:
            raise RuntimeError(f"buildah {' '.join(words)}: {done.stderr[-2000:]}")
        return done.stdout.strip()

    def files(self, image: str) -> dict[str, Entry]:
        """The root of a container of it."""
        container = self.run("from", "--pull=never", image)
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as tar:
            tar.add(self.run("mount", container), arcname=".")
        self.run("rm", container)
        raw.seek(0)
        with tarfile.open(fileobj=raw) as tar:
            return entries(tar.getmembers(), tar)

    def built(self, case: Case) -> dict[str, Any]:
        context = self._folder / f"context-{case.name}"
        context.mkdir()
        case.write(context)
        self.run(*_BUILD, "-t", f"localhost/{case.name}", *case.flags, ".", cwd=context)
        found = json.loads(self.run("inspect", "--type", "image", f"localhost/{case.name}"))
        return {
            "config": settings(found["Docker"]["config"]),
            "files": changes(self.files("alpine"), self.files(f"localhost/{case.name}")),
        }


def _inside(folder: Path, archive: str) -> None:
    os.umask(0o022)
    buildah = _Buildah(folder)
    pulled = buildah.run("pull", f"docker-archive:{archive}:alpine:latest")
    buildah.run("tag", pulled.split("\n")[-1], "localhost/alpine:latest")
    found: dict[str, Any] = {"buildah": buildah.run("--version"), "cases": {}, "failed": {}}
    for case in CASES:
        try:
            found["cases"][case.name] = buildah.built(case)
        except RuntimeError as e:
            found["failed"][case.name] = str(e)[-400:]
    text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / "record.json").write_text(f"{text}\n")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _inside(Path(sys.argv[1]), sys.argv[2])
    else:
        main()
