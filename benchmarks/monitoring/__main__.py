"""What watching many groups costs: ``python -m benchmarks.monitoring GROUPS...``.

With ``--peers`` the groups are docker's containers, and docker's stats and netdata are measured
too, one after the other on the same containers. With ``--rounds`` what one round of sampling costs
is measured instead, at an interval that a slow machine can keep: ``--interval``. Every tenth group
works a little in each interval, with ``--awake`` each of them. In the guest of the tests:
``python -m tests.world.guest -- ...``.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import apart
from benchmarks.engines import Docker
from benchmarks.monitoring import programs, rounds
from benchmarks.monitoring.measure import Result, Watching, measure
from benchmarks.peers import CGROUP_PARENT, IMAGE, SLEEP
from cgagent.cgroups import Host
from tests.world.guest import STATE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

_PARENT: Final = f"/cgagent-bench-watched-{os.getpid()}"
_WORK: Final = "while :; do i=0; while [ $i -lt 200 ]; do i=$((i+1)); done; sleep 1; done"
# Without a process for each second of sleep: hundreds of those are load enough by themselves.
_STEADY: Final = (
    "exec 3<> <(:); while :; do for ((i = 0; i < 200; i++)); do :; done; read -t {} -u 3; done"
)
_COLUMNS: Final = (
    *("groups", "program", "CPU %", "scraped CPU %", "MiB", "figures"),
    *("scrape ms", "blocked ms", "machine ms"),
)


def _commands(
    count: int, work: list[str], rest: Sequence[str], one_in: int
) -> Iterator[Sequence[str]]:
    for number in range(count):
        yield work if number % one_in == 0 else rest


def _sleep(folder: Path) -> Sequence[str]:
    """One file and no library where busybox is there: in the guest thousands share few handles."""
    busybox, copy = shutil.which("busybox"), folder / "busybox"
    if busybox and not copy.exists():
        shutil.copy(busybox, copy)
    return (str(copy), *SLEEP) if busybox else SLEEP


@contextmanager
def _groups(count: int, one_in: int, interval_s: float, folder: Path) -> Iterator[str]:
    """Groups with a process in each; the path of their parent."""
    rest = _sleep(folder)
    work = ["bash", "-c", _STEADY.format(interval_s)]
    host = Host.detect()
    parent = host.group(_PARENT)
    with ExitStack() as stack:
        parent.create()
        stack.callback(parent.remove, 60)
        for number, command in enumerate(_commands(count, work, rest, one_in)):
            group = host.group(f"{_PARENT}/{number:05d}")
            group.create()
            process = subprocess.Popen(command)
            stack.callback(process.wait)
            stack.callback(process.send_signal, signal.SIGKILL)
            group.join(process.pid)
        yield _PARENT
        parent.kill(120)


@contextmanager
def _containers(docker: Docker, count: int, one_in: int) -> Iterator[list[str]]:
    made: list[str] = []
    try:
        for command in _commands(count, ["sh", "-c", _WORK], SLEEP, one_in):
            flags = ("--network", "none", "--memory", "256m")
            made.append(docker.cli("run", "-d", *flags, IMAGE, *command).strip())
        yield made
    finally:
        docker.remove(made)


def _alone(counts: list[int], one_in: int, folder: Path) -> None:
    for count in counts:
        with _groups(count, one_in, 1, folder) as parent:
            _show(count, "cgagent", programs.cgagent(folder / str(count), parent))


def _rounds(counts: list[int], one_in: int, interval_s: float, folder: Path) -> None:
    for count in counts:
        with (
            _groups(count, one_in, interval_s, folder) as parent,
            programs.cgagent(folder / str(count), parent, interval_s) as agent,
        ):
            got = rounds.measure(agent, count, interval_s)
        print(f"| {count} | cgagent | {' | '.join(rounds.cells(got))} |", flush=True)


def _beside_peers(counts: list[int], one_in: int, folder: Path) -> None:
    docker = Docker(folder / "docker")
    docker.open()
    try:
        for count in counts:
            with _containers(docker, count, one_in) as made:
                _show(count, "cgagent", programs.cgagent(folder / f"c{count}", CGROUP_PARENT))
                _show(count, "docker", programs.docker_stats(docker, made))
                _show(count, "netdata", programs.netdata(folder / f"n{count}", CGROUP_PARENT))
    finally:
        docker.close()


def _show(count: int, name: str, program: AbstractContextManager[Watching]) -> None:
    with program as running:
        got = measure(running, count)
    print(f"| {count} | {name} | {' | '.join(_cells(got))} |", flush=True)


def _cells(got: Result) -> Iterator[str]:
    yield f"{got.cpu_percent:.2f}"
    yield f"{got.scraped_percent:.2f}"
    yield f"{got.memory_mib:.0f}"
    yield str(got.series)
    yield f"{got.scrape_ms:.0f}"
    for delays in (got.blocked, got.machine):
        yield "" if delays is None else str(delays)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring")
    parser.add_argument("groups", nargs="*", type=int, default=[50, 500])
    parser.add_argument("--peers", action="store_true", help="beside docker's stats and netdata")
    parser.add_argument("--rounds", action="store_true", help="what one round costs")
    parser.add_argument("--awake", action="store_true", help="every group works, not each tenth")
    parser.add_argument("--interval", type=float, default=1.0, help="of rounds, in seconds")
    options = parser.parse_args()
    one_in = 1 if options.awake else 10
    folder = apart.folder()
    if options.peers and folder is None:
        return apart.again("benchmarks.monitoring", ("netdata-core",))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    columns = rounds.COLUMNS if options.rounds else _COLUMNS
    print(f"| {' | '.join(columns)} |\n|--:|---|{'--:|' * (len(columns) - 2)}", flush=True)
    if folder is not None:
        _beside_peers(options.groups, one_in, folder)
        return 0
    os.makedirs(STATE_FOLDER, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STATE_FOLDER) as made:
        if options.rounds:
            _rounds(options.groups, one_in, options.interval, Path(made))
        else:
            _alone(options.groups, one_in, Path(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
