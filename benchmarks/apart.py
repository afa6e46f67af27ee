"""A run apart from the machine: Debian 13 is its root; its mounts, PIDs and network are its own.

Whatever engines leave ends with it; only cgroups outlive it, below one parent, and are removed
here. Nothing that already runs on the machine is touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks import trixie
from benchmarks.peers import CGROUP_PARENT
from tests.world import debian, images
from tests.world.audit import Snapshot, difference
from tests.world.guest import STATE_FOLDER

_INSIDE: Final = "CGAGENT_BENCH_FOLDER"


def folder() -> Path | None:
    """The empty folder of this run; None: it is not apart yet."""
    inside = os.environ.get(_INSIDE)
    return Path(inside) if inside else None


def again(module: str, packages: tuple[str, ...] = ()) -> int:
    """The program's exit status, after a run of it apart; 1 if something was left behind.

    `packages` are of this machine's Debian, for what Debian 13 has not; they are unpacked.
    """
    for package in packages:
        debian.unpack(package)
    images.busybox_docker_archive()
    before = Snapshot.take(mark=CGROUP_PARENT[1:])
    os.makedirs(STATE_FOLDER, exist_ok=True)
    # A short name: podman takes 50 characters at most for its run folder.
    made = Path(tempfile.mkdtemp(prefix="bench-", dir=STATE_FOLDER))
    try:
        program = trixie.inside(made, [".venv/bin/python", "-m", module, *sys.argv[1:]])
        namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        empty = made / "run"
        empty.mkdir()
        status = subprocess.run(
            ["unshare", *namespaces, *program],
            check=False,
            env={**os.environ, _INSIDE: str(empty)},
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
