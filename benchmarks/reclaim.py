"""``python -m benchmarks.reclaim`` measures what ``--reclaim auto`` saves, and what it costs.

Three workloads with cold memory: a web server of Python's, SQLite with a cache, a compiler. What is
cold is wanted once in ten minutes or so. Each runs twice at the same time, once with reclaim and
once without, so that whatever else the machine does hits both. Printed are the memory, the stall
and the throughput of both, over the last part of the run. ``--control`` gives neither of them
reclaim: that is what chance makes of two equal ones. ``--mode v1`` or ``v2`` does it in a guest
with swap, which is 15 times slower, and where what is cold is wanted as much more rarely.
Natively, run it in a network namespace: ``unshare -n sh -c 'ip link set lo up; ...'``.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.world import guest
from tests.world.agent import SLOWNESS, Agent

if TYPE_CHECKING:
    from collections.abc import Sequence

_MIB: Final = 1 << 20
# Each prints how often it has done its work, once a second.
_COUNT: Final = """
import os, random, sys, time
chosen, done, told = random.Random(1), 0, time.monotonic()
due = told
def is_cold(every_s):
    global due
    if time.monotonic() < due:
        return False
    due = time.monotonic() + chosen.uniform(0, 2 * every_s * slowness)
    return True
def count():
    global done, told
    done += 1
    if time.monotonic() >= told + 1:
        told = time.monotonic()
        print(done, flush=True)
"""
_SERVICE: Final = """
import http.server, threading, urllib.request
heap = [bytearray(os.urandom(1 << 16)) for _ in range(32 << 4)]
os.makedirs("/srv/files")
os.chdir("/srv/files")
for n in range(64):
    with open(str(n), "wb") as file:
        file.write(os.urandom(1 << 20))
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
while True:
    name = chosen.randrange(64) if is_cold(10) else chosen.randrange(4)
    urllib.request.urlopen(f"http://127.0.0.1:8000/{name}").read()
    count()
"""
_SQLITE: Final = """
import sqlite3
base = sqlite3.connect("/db")
base.execute("pragma cache_size = -8192")
base.execute("create table if not exists t (id integer primary key, text blob)")
with base:
    base.executemany("insert into t values (?, ?)", ((n, os.urandom(1000)) for n in range(100_000)))
while True:
    n = chosen.randrange(100_000) if is_cold(0.5) else chosen.randrange(10_000)
    base.execute("select text from t where id = ?", (n,)).fetchone()
    if done % 50 == 0:
        with base:
            base.execute("update t set text = ? where id = ?", (os.urandom(1000), n))
    count()
"""
_COMPILE: Final = """
import subprocess
os.makedirs("/sources")
os.chdir("/sources")
for n in range(200):
    with open(f"{n}.c", "w") as file:
        file.write("#include <stdio.h>\\n" + "/* " + "x" * 300_000 + " */\\n")
        for f in range(60):
            loop = f"for (int i = 0; i < a; i++) s ^= i * {f} + s / 3;"
            file.write(f"int f{f}(int a) {{ int s = {n}; {loop} return s; }}\\n")
while True:
    name = str(chosen.randrange(200) if is_cold(3) else done % 20)
    subprocess.run(["gcc", "-O1", "-g", "-c", f"{name}.c", "-o", f"{name}.o"], check=True)
    count()
"""
_COMPILER: Final = ("gcc", "-O1", "-g", "-c", "-x", "c", "/dev/null", "-o", "/dev/null")
_WORKLOADS: Final = {"service": _SERVICE, "sqlite": _SQLITE, "compile": _COMPILE}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reclaim")
    parser.add_argument("--mode", choices=("native", "v1", "v2"), default="native")
    parser.add_argument("--only", default=",".join(_WORKLOADS))
    parser.add_argument("--control", action="store_true", help="reclaim for neither of the two")
    parser.add_argument("--settle", type=float, default=240.0, help="seconds before the figures")
    parser.add_argument("--seconds", type=float, default=120.0, help="of the figures")
    return parser.parse_args()


@dataclass(slots=True)
class _Run:
    """One container of the two."""

    agent: Agent
    id: str
    memory: list[int]
    states: list[dict[str, Any]] = field(default_factory=list)
    """The part `reclaim` of its stats, one each second; empty for a container without reclaim."""
    stall_ns: int = 0
    done: int = 0

    def look(self) -> dict[str, Any]:
        found: dict[str, Any] = self.agent.client.request("GET", f"/v1/containers/{self.id}/stats")
        return found

    def begin(self) -> None:
        self.stall_ns, self.done = self._counts()

    def add(self) -> None:
        found = self.look()
        self.memory.append(found["usage"]["memory"]["current_bytes"])
        if found["reclaim"] is not None:
            self.states.append(found["reclaim"])

    def end(self, seconds: float) -> tuple[float, float, float]:
        """Memory in MiB, stall in percent of the time, work done a second."""
        stall_ns, done = self._counts()
        stall = (stall_ns - self.stall_ns) / 1e7 / seconds
        return statistics.mean(self.memory) / _MIB, stall, (done - self.done) / seconds

    def _counts(self) -> tuple[int, int]:
        stall = self.look()["usage"]["pressure"]["memory"]["some"]["total_ns"]
        lines = self.agent.logs(self.id, tail=1)
        return stall, int(lines[-1]["log"])


def _measure(agent: Agent, name: str, options: argparse.Namespace) -> None:
    code = f"slowness = {SLOWNESS}\n{_COUNT}{_WORKLOADS[name]}"
    command = (sys.executable, "-I", "-S", "-u", "-c", code)
    if name == "compile":  # whoever reads a file of the host first pays for its page cache
        subprocess.run(_COMPILER, check=True)
    none = [{"network": "none"}]
    runs = [
        _Run(agent, agent.launch(*command, image="host", networks=none, **more), [])
        for more in ({} if options.control else {"reclaim": "auto"}, {})
    ]
    time.sleep(options.settle)
    for run in runs:
        run.begin()
    began = time.monotonic()
    while time.monotonic() < began + options.seconds:
        time.sleep(1)
        for run in runs:
            run.add()
    seconds = time.monotonic() - began
    _show(name, [run.end(seconds) for run in runs])
    for run in runs:
        _show_states(run.states)
    for run in runs:
        agent.remove(run.id)


def _show(name: str, figures: Sequence[tuple[float, float, float]]) -> None:
    (memory, stall, work), (memory_without, stall_without, work_without) = figures
    print(
        f"{name:8} memory {memory_without:6.1f} -> {memory:6.1f} MiB"
        f" ({100 - 100 * memory / memory_without:+.1f} % saved)"
        f"   stall {stall_without:.3f} -> {stall:.3f} %"
        f"   throughput {work_without:.2f} -> {work:.2f} a second"
        f" ({100 * work / work_without - 100:+.1f} %)",
        flush=True,
    )


def _show_states(states: Sequence[dict[str, Any]]) -> None:
    if not states:
        return
    paused = sum(state["backing_off"] for state in states) / len(states)
    taken = states[-1]["reclaimed_bytes"] - states[0]["reclaimed_bytes"]
    print(
        f"{'':8} {taken / _MIB:.1f} MiB taken back meanwhile,"
        f" {states[-1]['reclaimed_bytes'] / _MIB:.1f} in all, steps of"
        f" {statistics.mean(state['step_ratio'] for state in states):.2%} in the mean,"
        f" backing off {paused:.0%} of the time",
        flush=True,
    )
    for reason, count in Counter(state["reason"] for state in states).most_common(5):
        print(f"{'':8} {count / len(states):4.0%} {reason or 'a step was taken'}", flush=True)


def main() -> int:
    options = _options()
    if options.mode != "native":
        words = ("--only", options.only, "--settle", options.settle, "--seconds", options.seconds)
        control = ("--control",) if options.control else ()
        return guest.run_module(options.mode, "benchmarks.reclaim", *words, *control)
    folder_base = guest.STATE_FOLDER
    Path(folder_base).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder_base) as folder, Agent(Path(folder)) as agent:
        for name in options.only.split(","):
            _measure(agent, name, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
