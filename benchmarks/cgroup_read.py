"""CPU time to read everything of one group: ``python -m benchmarks.cgroup_read [GROUPS...]``.

Each group has a process in it. The columns, in microseconds of CPU a group and sample:

    kernel      pread of the same files, nothing else: what no program can go below
    unchanged   a reader on groups that do nothing
    all new     every file parsed again, as if each of them had changed
    no fds      no descriptor kept: each file opened, read and closed

A real group lies between "unchanged" and "all new".
"""

from __future__ import annotations

import gc
import os
import signal
import statistics
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING

from cgagent.cgroups import Descriptors, Host, Reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cgroups import Group, Usage

ROUNDS = 20
COLUMNS = ("groups", "kernel", "unchanged", "all new", "no fds", "fds")


def measure(count: int) -> tuple[float, ...]:
    """One row of the table."""
    host = Host.detect()
    with ExitStack() as stack:
        groups = [_populated(host, stack) for _ in range(count)]
        readers = [stack.enter_context(Reader(group)) for group in groups]
        poor = [stack.enter_context(Reader(group, Descriptors(0))) for group in groups]
        for reader in (*readers, *poor):
            reader.read()
        kept = [list(reader._kept.values()) for reader in readers]  # noqa: SLF001
        return (
            count,
            _us(count, lambda: [[os.pread(fd, 8192, 0) for fd in fds] for fds in kept]),
            _us(count, lambda: [reader.read() for reader in readers]),
            _us(count, lambda: list(map(_read_anew, readers))),
            _us(count, lambda: [reader.read() for reader in poor]),
            len(kept[0]),
        )


def _read_anew(reader: Reader) -> Usage:
    for source in reader._sources.values():  # noqa: SLF001
        source._last = None  # noqa: SLF001
    return reader.read()


def _us(count: int, work: Callable[[], object]) -> float:
    """The median over rounds, so that a neighbour's burst does not count."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        work()
        times.append((time.process_time_ns() - began) / 1000 / count)
    return statistics.median(times)


def _populated(host: Host, stack: ExitStack) -> Group:
    group = host.group(f"/cgagent-test-{uuid.uuid4().hex}")
    group.create()
    stack.callback(group.remove)
    process = subprocess.Popen(["sleep", "1000"])
    stack.callback(process.wait)
    stack.callback(os.kill, process.pid, signal.SIGKILL)
    group.join(process.pid)
    return group


def main() -> None:
    print(("{:>10}" * len(COLUMNS)).format(*COLUMNS))
    gc.disable()
    for count in map(int, sys.argv[1:] or ("50", "500")):
        print(("{:>10.0f}" + "{:>10.1f}" * 4 + "{:>10.0f}").format(*measure(count)), flush=True)


if __name__ == "__main__":
    main()
