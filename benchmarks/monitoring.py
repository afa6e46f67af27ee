"""What watching many groups costs, beside netdata: ``python -m benchmarks.monitoring [GROUPS...]``.

Each group has a process in it, every tenth of which works now and then. Both programs watch the
same groups each second, one after the other. CPU is of one core, over `_WATCH_S`; a scrape is of
everything, gzipped; `blocked` is the longest that an answer of the agent's control socket took
while it was scraped.
"""

from __future__ import annotations

import http.client
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from configparser import ConfigParser
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.api import UnixConnection
from benchmarks.process import Daemon, cpu_seconds
from cgagent.cgroups import Host
from tests.world import debian
from tests.world.agent import free_port
from tests.world.guest import STATE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARENT: Final = f"/cgagent-bench-watched-{os.getpid()}"
_SETTLE_S: Final = 12.0
_STEADY: Final = 1.02
_FIND_S: Final = 120.0
_WATCH_S: Final = 20.0
_SCRAPES: Final = 7
_PAUSE_S: Final = 2.5
_WORK: Final = "while :; do i=0; while [ $i -lt 200 ]; do i=$((i+1)); done; sleep 1; done"


class Result(NamedTuple):
    cpu_percent: float
    resident_mib: float
    series: int
    scrape_ms: float
    blocked_ms: float | None


@contextmanager
def populated(count: int) -> Iterator[None]:
    host = Host.detect()
    parent = host.group(_PARENT)
    with ExitStack() as stack:
        parent.create()
        stack.callback(parent.remove, 30)
        for number in range(count):
            group = host.group(f"{_PARENT}/{number:05d}")
            group.create()
            command = ["sh", "-c", _WORK] if number % 10 == 0 else ["sleep", "100000"]
            process = subprocess.Popen(command)
            stack.callback(process.wait)
            stack.callback(process.send_signal, signal.SIGKILL)
            group.join(process.pid)
        yield
        parent.kill(60)


def cgagent(folder: Path, groups: int) -> Result:
    port = free_port()
    control = folder / "cgagent.sock"
    command = [
        *(sys.executable, "-m", "cgagent.cli.main", "serve"),
        *("--data-root", str(folder / "root"), "--socket", str(control)),
        *("--cgroup-parent", f"{_PARENT}-agent", "--metrics-listen", f"127.0.0.1:{port}"),
        *("--watch", f"{_PARENT[1:]}/*"),
    ]
    with _running(command, folder / "cgagent.log") as pid:
        return _measure(pid, port, "/metrics", control, groups)


def netdata(folder: Path, groups: int) -> Result:
    port = free_port()
    package = debian.unpack("netdata-core")
    settings = {
        "global": {"run as user": "root"},
        "directories": {
            **{name: str(folder / "netdata") for name in ("config", "cache", "lib", "log", "web")},
        },
        "db": {"mode": "ram", "update every": "1", "retention": "600"},
        "ml": {"enabled": "no"},
        "health": {"enabled": "no"},
        "statsd": {"enabled": "no"},
        "web": {"bind to": "127.0.0.1", "default port": str(port)},
        "plugins": {
            **dict.fromkeys(
                (
                    *("proc", "diskspace", "tc", "idlejitter", "timex", "apps", "checks"),
                    *("enable running new plugins", "statsd", "perf", "slabinfo", "ioping"),
                    *("netdata monitoring", "netdata monitoring extended"),
                ),
                "no",
            ),
            "cgroups": "yes",
        },
        "plugin:cgroups": {
            "use unified cgroups": "no",  # or it watches the empty tree of a hybrid host
            "check for new cgroups every": "10",
            "max cgroups to allow": "10000",
            "script to get cgroup names": "/bin/true",  # there are none, and it runs for each
            "script to get cgroup network interfaces": "/bin/true",
            **dict.fromkeys(
                (
                    "enable by default cgroups matching",
                    "enable by default cgroups names matching",
                    "search for cgroups in subpaths matching",
                ),
                "*",
            ),
        },
    }
    config = ConfigParser(interpolation=None)
    config.read_dict(settings)
    (folder / "netdata").mkdir()
    with (folder / "netdata" / "netdata.conf").open("w") as file:
        config.write(file)
    program = (f"{package}/usr/sbin/netdata", "-D", "-c", f"{folder}/netdata/netdata.conf")
    command = debian.seeing(package, "/usr/lib", *program)
    with _running(command, folder / "netdata.log") as pid:
        path = "/api/v1/allmetrics?format=prometheus&source=raw"
        return _measure(pid, port, path, None, groups)


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[int]:
    daemon = Daemon(command, log, {})
    try:
        yield daemon.pid
    finally:
        daemon.end()


def _measure(pid: int, port: int, path: str, control: Path | None, groups: int) -> Result:
    seen, deadline = -1, time.monotonic() + _FIND_S
    time.sleep(_SETTLE_S)
    while time.monotonic() < deadline:
        found = _scrape(port, path)
        if groups < found <= seen * _STEADY:
            break
        seen = found  # it still finds groups
        time.sleep(_SETTLE_S)
    before, began_s = cpu_seconds({pid}), time.monotonic()
    time.sleep(_WATCH_S)
    cpu = (cpu_seconds({pid}) - before) / (time.monotonic() - began_s)
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    times, blocked, series = [], [], 0
    for _ in range(_SCRAPES):
        time.sleep(_PAUSE_S)  # netdata tells a client only what is new to it
        with _watchdog(control) as longest:
            began_s = time.monotonic()
            series = _scrape(port, path)
            times.append(time.monotonic() - began_s)
        blocked += longest
    return Result(
        100 * cpu,
        resident / 2**20,
        series,
        1000 * statistics.median(times),
        1000 * max(blocked) if blocked else None,
    )


def _scrape(port: int, path: str) -> int:
    """How many lines are not comments, as far as the answer is not compressed; reads it all."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != http.client.OK:
        raise SystemExit(f"{path}: {answer.status} {body[:200]!r}")
    if answer.headers.get("content-encoding") == "gzip":
        import gzip

        body = gzip.decompress(body)
    return sum(bool(line) and not line.startswith(b"#") for line in body.split(b"\n"))


@contextmanager
def _watchdog(control: Path | None) -> Iterator[list[float]]:
    """The longest time that an answer took meanwhile."""
    longest: list[float] = []
    if control is None:
        yield longest
        return
    connection = UnixConnection(control)
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            began_s = time.monotonic()
            connection.request("GET", "/-/healthy")
            connection.getresponse().read()
            longest[:] = [max([time.monotonic() - began_s, *longest])]

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield longest
    finally:
        stop.set()
        thread.join()


def main() -> None:
    columns = ("groups", "program", "CPU %", "MiB", "series", "scrape ms", "blocked ms")
    print(("{:>12}" * len(columns)).format(*columns))
    os.makedirs(STATE_FOLDER, exist_ok=True)
    for count in map(int, sys.argv[1:] or ("50", "500")):
        with populated(count):
            for program in (cgagent, netdata):
                with tempfile.TemporaryDirectory(dir=STATE_FOLDER) as folder:
                    got = program(Path(folder), count)
                blocked = "-" if got.blocked_ms is None else f"{got.blocked_ms:.0f}"
                print(
                    f"{count:>12}{program.__name__:>12}{got.cpu_percent:>12.2f}"
                    f"{got.resident_mib:>12.0f}{got.series:>12}{got.scrape_ms:>12.0f}{blocked:>12}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
