"""Floods against both listeners, beside freezes of a container: ``python -m benchmarks.door``.

Needs root. For each kind: how long a freeze takes meanwhile, how long a scrape, and what the
agent's memory is during the flood and a minute after all of them. Loopback and a unix socket only.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Final

from tests.world import flood
from tests.world.agent import Agent
from tests.world.images import busybox_docker_archive

_FLOODS: Final = (
    ("pipelines", 60, True),
    ("half-requests", 70, True),
    ("endless-header", 20, True),
    ("many-headers", 20, True),
    ("idle", 400, True),
    ("pipelines", 60, False),
    ("upgrade-body", 8, False),
    ("upgrade-rest", 8, False),
)


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def _attack(kind: str, address: str, count: int, seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(flood.command(kind, address, count, seconds), stdout=subprocess.PIPE)


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98] if len(times) > 1 else float("nan")


def _scrapes(url: str, ended: threading.Event) -> list[str]:
    told = []
    while not ended.is_set():
        began = time.perf_counter()
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - loopback
                answer.read()
            told.append(f"{(time.perf_counter() - began) * 1e3:.0f}")
        except OSError as e:
            told.append(type(e).__name__)
        ended.wait(1)
    return told


def _one(agent: Agent, kind: str, count: int, seconds: float, *, metrics: bool) -> None:
    address = agent.metrics if metrics else str(agent.socket)
    process = _attack(kind, address, count, seconds)
    ended = threading.Event()
    scraped: list[str] = []
    url = f"http://{agent.metrics}/metrics"
    scraper = threading.Thread(target=lambda: scraped.extend(_scrapes(url, ended)))
    scraper.start()
    most = 0.0

    times: list[float] = []
    while process.poll() is None:
        began = time.perf_counter()
        agent.client.request("POST", "/v1/containers/victim/freeze")
        times.append((time.perf_counter() - began) * 1e3)
        most = max(most, resident_mib(agent.pid))
        agent.client.request("POST", "/v1/containers/victim/thaw")
        time.sleep(0.02)
    ended.set()
    scraper.join()
    assert process.stdout  # noqa: S101 - it is a pipe
    closed = process.stdout.read().decode().strip()
    where = "metrics" if metrics else "control"
    print(
        f"{where:8} {kind:15} {count:4} freeze p50 {statistics.median(times):6.1f} "
        f"p99 {_p99(times):7.1f} max {max(times):7.1f} ms of {len(times):4}; "
        f"most {most:6.0f} MiB; closed {closed}; scrapes {' '.join(scraped)}",
        flush=True,
    )


def main(seconds: float, pause_s: float) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, Agent(Path(folder)) as agent:
        agent.load(busybox_docker_archive())
        agent.launch("sleep", "99999", name="victim", image="busybox")
        time.sleep(5)
        start = resident_mib(agent.pid)
        print(f"at the start {start:.1f} MiB")
        for kind, count, metrics in _FLOODS:
            _one(agent, kind, count, seconds, metrics=metrics)
        time.sleep(pause_s)
        print(f"{pause_s:.0f} s later {resident_mib(agent.pid):.1f} MiB")
        print(f"{len(agent.log.read_text().splitlines())} lines of log")


if __name__ == "__main__":
    main(float(sys.argv[1]) if sys.argv[1:] else 10, float(sys.argv[2]) if sys.argv[2:] else 60)
