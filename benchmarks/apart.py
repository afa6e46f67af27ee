"""A run apart from the machine: in mount and PID namespaces of its own.

It has scratch copies of /run, /dev/shm and /etc. Whatever engines leave ends with it; only cgroups
outlive it, below one parent, and are removed here. Nothing that already runs on the machine is
touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.peers import CGROUP_PARENT
from tests.world import debian, images
from tests.world.audit import Snapshot, difference
from tests.world.guest import STATE_FOLDER

_INSIDE: Final = "CGAGENT_BENCH_FOLDER"
# The shell stays as PID 1 of the namespace, where it reaps what the engines leave.
_ENTER: Final = """
mount -t tmpfs run /run && mount -t tmpfs shm /dev/shm && mkdir "$0/etc" "$0/etc-work" &&
mount -t overlay -o "lowerdir=/etc,upperdir=$0/etc,workdir=$0/etc-work" etc /etc && "$@"
exit $?
"""


def folder() -> Path | None:
    """The empty folder of this run; None: it is not apart yet."""
    inside = os.environ.get(_INSIDE)
    return Path(inside) if inside else None


def again(module: str, packages: list[str]) -> int:
    """The program's exit status, after a run of it apart; 1 if something was left behind."""
    debian.install("crun", "runc", "skopeo")
    for package in packages:
        debian.unpack(package)
    images.busybox_docker_archive()
    before = Snapshot.take(mark=CGROUP_PARENT[1:])
    os.makedirs(STATE_FOLDER, exist_ok=True)
    # A short name: podman takes 50 characters at most for its run folder.
    made = Path(tempfile.mkdtemp(prefix="bench-", dir=STATE_FOLDER))
    try:
        namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        program = [sys.executable, "-m", module, *sys.argv[1:]]
        status = subprocess.run(
            ["unshare", *namespaces, "sh", "-c", _ENTER, str(made), *program],
            check=False,
            env={**os.environ, _INSIDE: str(made)},
        ).returncode
    finally:
        shutil.rmtree(made)
        _remove_cgroups()
    for line in (left := difference(before, Snapshot.take(mark=CGROUP_PARENT[1:]))):
        print(f"benchmarks: left behind: {line}", file=sys.stderr)
    return status or bool(left)


def _remove_cgroups() -> None:
    for parent in Path("/sys/fs/cgroup").glob(f"**{CGROUP_PARENT}"):
        for group, _, _ in os.walk(parent, topdown=False):
            os.rmdir(group)
