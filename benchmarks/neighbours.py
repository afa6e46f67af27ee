"""A protected container's latency beside noisy neighbours: ``python -m benchmarks.neighbours``.

A small HTTP server answers one request after the other: alone, beside containers that burn all CPUs
or write to the disk without end, and beside these with deploy/policies/protect.toml at work. Run it
in a network namespace of its own: ``unshare -n sh -c 'ip link set lo up; ...'``.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import tempfile
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.world import images
from tests.world.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator

_RULES: Final = Path(__file__).parents[1] / "deploy/policies/protect.toml"
_PORT: Final = 8080
_NOISE: Final = {
    "cpu": ("sh", "-c", "for n in 1 2 3 4; do (while :; do :; done) & done; wait"),
    "io": ("sh", "-c", "while :; do dd if=/dev/zero of=/f bs=1M count=256 conv=fsync; done"),
    "memory": ("sh", "-c", "while :; do dd if=/dev/zero of=/dev/null bs=200M count=9; done"),
}
_SETTLE_S: Final = 20.0
"""The server is asked for so long while grades are taken, before the measurement."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neighbours")
    parser.add_argument("--seconds", type=float, default=20.0, help="of requests for each figure")
    parser.add_argument("--neighbours", type=int, default=3)
    parser.add_argument("--only", default=",".join(_NOISE))
    parser.add_argument("--rules", type=Path, default=_RULES, help="a file of rulesets")
    return parser.parse_args()


def _requests(seconds: float) -> Iterator[float]:
    """Milliseconds of each, one after the other with a small pause."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", _PORT, timeout=60)
        began = time.perf_counter()
        connection.request("GET", "/index.html")
        connection.getresponse().read()
        yield (time.perf_counter() - began) * 1000
        connection.close()
        time.sleep(0.01)


def _figures(agent: Agent, server: str, seconds: float) -> tuple[float, float, float]:
    """Median, 99th percentile, and the percent of the time that the server waited for a CPU.

    Who measures does not wait for a CPU itself.
    """
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    try:
        waited_ns = _waited_ns(agent, server)
        times = sorted(_requests(seconds))
        waited_ns = _waited_ns(agent, server) - waited_ns
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return statistics.median(times), times[int(len(times) * 0.99)], waited_ns / seconds / 1e7


def _waited_ns(agent: Agent, server: str) -> int:
    found = agent.client.request("GET", f"/v1/containers/{server}/stats")["usage"]
    total: int = found["pressure"]["cpu"]["some"]["total_ns"]
    return total


def _server(agent: Agent) -> str:
    page = "mkdir /www; head -c 65536 /dev/zero > /www/index.html"
    return agent.launch(
        *("sh", "-c", f"{page}; exec httpd -f -p {_PORT} -h /www"),
        image="busybox",
        labels={"cgagent.protect": "1"},
        networks=[{"network": "host"}],
    )


def _noisy(agent: Agent, kind: str, count: int) -> list[str]:
    none: list[dict[str, Any]] = [{"network": "none"}]
    return [agent.launch(*_NOISE[kind], image="busybox", networks=none) for _ in range(count)]


def _measure(agent: Agent, server: str, kind: str, options: argparse.Namespace) -> None:
    alone = _figures(agent, server, options.seconds)
    noisy = _noisy(agent, kind, options.neighbours)
    time.sleep(3)
    beside = _figures(agent, server, options.seconds)
    rules = tomllib.loads(options.rules.read_text())
    agent.client.request("POST", "/v1/policies", rules)
    _figures(agent, server, _SETTLE_S)
    protected = _figures(agent, server, options.seconds)
    decided = agent.client.request("GET", "/v1/decisions?limit=100")
    for one in rules["ruleset"]:
        agent.client.request("DELETE", f"/v1/policies/{one['name']}")
    for one in noisy:
        agent.remove(one)
    done = [f"{d['policy']} {d['action']}" for d in reversed(decided) if d["outcome"] == "done"]
    for name, found in (("alone", alone), ("beside", beside), ("protected", protected)):
        median, p99, waited = found
        print(
            f"{kind:7} {name:10} median {median:7.2f} ms   p99 {p99:7.2f} ms"
            f"   {p99 / alone[1]:.2f}x   waited {waited:.2f} %"
        )
    print(f"{kind:7} decided: {', '.join(done) or 'nothing'}", flush=True)


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, Agent(Path(folder)) as agent:
        agent.load(images.busybox_docker_archive())
        server = _server(agent)
        time.sleep(1)
        for kind in options.only.split(","):
            _measure(agent, server, kind, options)


if __name__ == "__main__":
    main()
