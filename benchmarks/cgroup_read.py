"""CPU time to read everything of one group: ``python -m benchmarks.cgroup_read [GROUPS...]``.

Each group has a process in it. The columns, in microseconds of CPU a group and sample:

    kernel      pread of the same files, nothing else: what no program can go below
    idle        a reader on groups that do nothing
    fast        the same, of what changes from second to second only
    working     on groups whose process runs a little between two samples
    all new     every file parsed again, as if each of them had changed
    no fds      no descriptor kept: each file opened, read and closed (idle groups)

The least of many rounds counts: it is what the work costs without the machine's other load.
"""

from __future__ import annotations

import gc
import os
import signal
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
COLUMNS = ("groups", "kernel", "idle", "fast", "working", "all new", "no fds", "fds")
_SETTLE_S = 0.2


def measure(count: int) -> tuple[float, ...]:
    """One row of the table."""
    host = Host.detect()
    with ExitStack() as stack:
        populated = [_populated(host, stack) for _ in range(count)]
        groups = [group for group, _ in populated]

        def wake() -> None:
            for _, process in populated:
                if process.stdin:
                    process.stdin.write(b"\n")
            time.sleep(_SETTLE_S)

        plenty = Descriptors(30 * count)
        readers = [stack.enter_context(Reader(group, plenty)) for group in groups]
        poor = [stack.enter_context(Reader(group, Descriptors(0))) for group in groups]
        for reader in (*readers, *poor):
            reader.read()
        kept = [_descriptors(reader) for reader in readers]
        return (
            count,
            _us(count, lambda: [[os.pread(fd, 8192, 0) for fd in fds] for fds in kept]),
            _us(count, lambda: [reader.read() for reader in readers]),
            _us(count, lambda: [reader.read(full=False) for reader in readers]),
            _us(count, lambda: [reader.read() for reader in readers], wake),
            _us(count, lambda: list(map(_read_anew, readers))),
            _us(count, lambda: [reader.read() for reader in poor]),
            len(kept[0]),
        )


def _descriptors(reader: Reader) -> list[int]:
    return [d for s in reader._sources.values() for d in s._descriptors]  # noqa: SLF001


def _read_anew(reader: Reader) -> Usage:
    for source in reader._sources.values():  # noqa: SLF001
        source._last = None  # noqa: SLF001
    return reader.read()


def _us(count: int, work: Callable[[], object], prepare: Callable[[], None] | None = None) -> float:
    times = []
    for _ in range(ROUNDS):
        if prepare:
            prepare()
        began = time.process_time_ns()
        work()
        times.append((time.process_time_ns() - began) / 1000 / count)
    return min(times)


def _populated(host: Host, stack: ExitStack) -> tuple[Group, subprocess.Popen[bytes]]:
    """A group with a shell in it that runs a loop for each line it is sent."""
    group = host.group(f"/cgagent-test-{uuid.uuid4().hex}")
    group.create()
    stack.callback(group.remove)
    script = "while read go; do i=0; while [ $i -lt 500 ]; do i=$((i+1)); done; done"
    process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, bufsize=0)
    stack.callback(process.wait)
    stack.callback(os.kill, process.pid, signal.SIGKILL)
    group.join(process.pid)
    return group, process


def main() -> None:
    print(("{:>10}" * len(COLUMNS)).format(*COLUMNS))
    gc.disable()
    for count in map(int, sys.argv[1:] or ("50", "500")):
        print(("{:>10.0f}" + "{:>10.1f}" * 6 + "{:>10.0f}").format(*measure(count)), flush=True)


if __name__ == "__main__":
    main()
