"""Measure what many containers cost the agent: ``python -m benchmarks.thousand [N]``.

N containers are made and started, four at a time, and removed again. Printed are the median of
creation and start for each hundred, a list of all, and the agent's resident memory before, with
all of them, and a minute after the last is gone.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from benchmarks.door import resident_mib
from cgagent.client.http import Client
from tests.world.agent import Agent
from tests.world.guest import STATE_FOLDER
from tests.world.images import busybox_docker_archive

_AT_ONCE: Final = 4
_BATCH: Final = 100
_SETTLE_S: Final = 20
_AFTER_S: Final = 60


def _make(agent: Agent) -> tuple[str, float]:
    """A container that sleeps; its id, and how long it took in milliseconds."""
    client = Client(str(agent.socket))
    began_s = time.perf_counter()
    body = {"image": "busybox", "command": ["sleep", "99999"]}
    made: str = client.request("POST", "/v1/containers", body)["id"]
    client.request("POST", f"/v1/containers/{made}/start")
    took_ms = (time.perf_counter() - began_s) * 1e3
    client.close()
    return made, took_ms


def _remove(agent: Agent, container: str) -> None:
    client = Client(str(agent.socket))
    client.request("DELETE", f"/v1/containers/{container}?force=true")
    client.close()


def _list_ms(agent: Agent) -> float:
    client = Client(str(agent.socket))
    client.request("GET", "/v1/containers")
    began_s = time.perf_counter()
    client.request("GET", "/v1/containers")
    took_ms = (time.perf_counter() - began_s) * 1e3
    client.close()
    return took_ms


def _measure(agent: Agent, count: int) -> None:
    agent.load(busybox_docker_archive())
    for _ in range(20):
        agent.remove(agent.launch("sleep", "9", image="busybox"))
    time.sleep(_SETTLE_S)
    before = resident_mib(agent.pid)
    made: list[str] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while len(made) < count:
            batch = list(pool.map(lambda _: _make(agent), range(min(_BATCH, count - len(made)))))
            made += [container for container, _ in batch]
            median = statistics.median(took_ms for _, took_ms in batch)
            print(f"{len(made):5d} containers: {median:.1f} ms for one more", flush=True)
        print(f"list of all: {_list_ms(agent):.1f} ms")
        full = resident_mib(agent.pid)
        list(pool.map(lambda container: _remove(agent, container), made))
    time.sleep(_AFTER_S)
    after = resident_mib(agent.pid)
    print(f"resident: {before:.1f} MiB, {full:.1f} with all, {after:.1f} a minute after")


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    Path(STATE_FOLDER).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STATE_FOLDER) as folder, Agent(Path(folder)) as agent:
        _measure(agent, count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
