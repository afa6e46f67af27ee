"""Compare cgagent with other engines: ``python -m benchmarks [--rounds N] [--only NAME,...]``.

The engines run in a mount and a PID namespace of their own, with scratch copies of /run, /dev/shm
and /etc: whatever they leave ends with it. Only cgroups outlive that, below one parent, and are
removed here. Nothing that already runs on the machine is touched.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import measures, table
from benchmarks.engines import Cgagent, Docker, Podman
from benchmarks.peers import CGROUP_PARENT, Peer
from benchmarks.process import Failure
from benchmarks.runtimes import Crun, Runc
from tests.world import debian, images
from tests.world.audit import Snapshot, difference
from tests.world.guest import STATE_FOLDER

PEERS: dict[str, type[Cgagent | Docker | Podman | Crun | Runc]] = {
    peer.name: peer for peer in (Cgagent, Docker, Podman, Crun, Runc)
}
_LOG_ROUNDS = 3
_INSIDE = "CGAGENT_BENCH_FOLDER"
_PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
# The shell stays as PID 1 of the namespace, where it reaps what the engines leave.
_ENTER = """
mount -t tmpfs run /run && mount -t tmpfs shm /dev/shm && mkdir "$0/etc" "$0/etc-work" &&
mount -t overlay -o "lowerdir=/etc,upperdir=$0/etc,workdir=$0/etc-work" etc /etc && "$@"
exit $?
"""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=20, help="samples of each latency")
    parser.add_argument("--containers", type=int, default=50, help="how many make a full host")
    parser.add_argument("--tasks", type=int, default=1000, help="how many to freeze at once")
    parser.add_argument("--idle-seconds", type=float, default=10.0)
    parser.add_argument("--only", metavar="NAME,...", help=f"of {','.join(PEERS)}")
    parser.add_argument("--write", action="store_true", help=f"also write {_PAGE.name}")
    options = parser.parse_args()
    options.peers = options.only.split(",") if options.only else list(PEERS)
    if unknown := set(options.peers) - set(PEERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    return options


def _outside(peers: list[str]) -> int:
    debian.install("crun", "runc", "skopeo")  # skopeo shares its libraries with docker and podman
    debian.install("libglib2.0-0", "libsubid4")
    for name in peers:
        for package in PEERS[name].packages:
            debian.unpack(package)
    images.busybox_docker_archive()
    before = Snapshot.take(name=CGROUP_PARENT[1:])
    os.makedirs(STATE_FOLDER, exist_ok=True)
    # A short name: podman takes 50 characters at most for its run folder.
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=STATE_FOLDER))
    try:
        namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        again = [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
        status = subprocess.run(
            ["unshare", *namespaces, "sh", "-c", _ENTER, str(folder), *again],
            check=False,
            env={**os.environ, _INSIDE: str(folder)},
        ).returncode
    finally:
        shutil.rmtree(folder)
        _remove_cgroups()
    for line in (left := difference(before, Snapshot.take(name=CGROUP_PARENT[1:]))):
        print(f"benchmarks: left behind: {line}", file=sys.stderr)
    return status or bool(left)


def _remove_cgroups() -> None:
    for parent in Path("/sys/fs/cgroup").glob(f"**{CGROUP_PARENT}"):
        for group, _, _ in os.walk(parent, topdown=False):
            os.rmdir(group)


def _inside(options: argparse.Namespace, folder: Path) -> int:
    running: list[Peer] = []
    notes: list[str] = []
    try:
        for name in options.peers:
            peer: Peer = PEERS[name](folder / name)
            running.append(peer)
            try:
                peer.open()
                peer.run()
            except Failure as failure:
                running.pop().close()
                notes.append(f"{name} is left out: {failure}")
                print(f"benchmarks: {notes[-1]}", file=sys.stderr)
        versions = {peer.name: peer.version() for peer in running}
        rows = [
            *measures.latencies(running, options.rounds, notes),
            *measures.crowd(running, options.tasks, options.rounds, notes),
            *measures.logs(running, _LOG_ROUNDS, notes),
            *measures.full_host(running, options.containers, options.idle_seconds, notes),
        ]
    except Failure as failure:
        print(f"benchmarks: {failure}", file=sys.stderr)
        return 1
    finally:
        for peer in running:
            peer.close()
    table.show(rows, notes)
    if options.write:
        _PAGE.write_text(table.page(rows, versions, notes, rounds=options.rounds))
        print(f"written to {_PAGE}")
    return 0


def main() -> int:
    options = _options()
    inside = os.environ.get(_INSIDE)
    return _inside(options, Path(inside)) if inside else _outside(options.peers)


if __name__ == "__main__":
    sys.exit(main())
