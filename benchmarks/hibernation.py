"""What sleeping servers save, and what waking costs: ``python -m benchmarks.hibernation``.

50 web servers (Python's, each with 16 MiB of files that it has served) are asked awake, then asleep
without their memory taken back, then asleep with it taken back. Printed are the time of a whole
request (connect to end), memory before and after, and CPU time while all sleep. Then one of them is
asked 1,000 times at random moments around being put to sleep: no request may be lost. ``--mode v2``
does it in a guest with cgroup v2 and swap.
"""

from __future__ import annotations

import argparse
import http.client
import random
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from benchmarks.process import Failure
from cgagent.client.http import Client
from cgagent.errors import ConflictError
from tests.world import guest
from tests.world.agent import SLOWNESS, Agent

if TYPE_CHECKING:
    from collections.abc import Iterable

_MIB: Final = 1 << 20
_FILE_MIB: Final = 16
_SERVE: Final = (
    f"mkdir /srv/files && cd /srv/files && head -c {_FILE_MIB}M /dev/zero >big && "
    "echo hello >small && exec python3 -I -m http.server 80"
)
_ASLEEP_S: Final = 10.0
_PAUSE_S: Final = 0.05
_APART_S: Final = 0.02 * SLOWNESS
"""Between two requests at most: sometimes long enough to be put to sleep, sometimes not."""


class _Server:
    def __init__(self, agent: Agent, number: int) -> None:
        self.client = Client(str(agent.socket))
        self.path = f"/v1/containers/web-{number}"
        body = {"image": "host", "name": f"web-{number}", "command": ["sh", "-c", _SERVE]}
        self.client.request("POST", "/v1/containers", body)
        self.client.request("POST", f"{self.path}/start")
        self.address = self.detail()["networks"][0]["addresses"][0]["address"]
        self._when_it_answers()
        self.get("big")

    def _when_it_answers(self) -> None:
        for _ in range(600):
            try:
                self.get("small")
            except ConnectionRefusedError:
                time.sleep(_PAUSE_S)
            else:
                return
        raise Failure(f"{self.path}: its server does not answer")

    def detail(self) -> Any:
        return self.client.request("GET", self.path)

    def usage(self) -> Any:
        return self.client.request("GET", f"{self.path}/stats")["usage"]

    def get(self, name: str) -> float:
        """Seconds from before the connect to the end of the answer."""
        began_s = time.perf_counter()
        line = http.client.HTTPConnection(self.address, timeout=30)
        line.request("GET", f"/{name}")
        answer = line.getresponse()
        size = len(answer.read())
        took_s = time.perf_counter() - began_s
        line.close()
        if answer.status != http.HTTPStatus.OK or not size:
            raise Failure(f"{self.path}: {answer.status}, {size} bytes")
        return took_s

    def hibernate(self, *, reclaim: bool) -> Any:
        for _ in range(600):
            try:
                return self.client.request(
                    "POST", f"{self.path}/hibernate?reclaim={str(reclaim).lower()}"
                )
            except ConflictError:
                time.sleep(_PAUSE_S)
        raise Failure(f"{self.path} does not sleep")


def _shown(what: str, times_s: Iterable[float]) -> None:
    found = sorted(t * 1e3 for t in times_s)
    p99 = found[min(int(len(found) * 0.99), len(found) - 1)]
    print(f"{what:44} p50 {statistics.median(found):7.2f} ms   p99 {p99:7.2f}   n {len(found)}")


def _measure(agent: Agent, count: int, connects: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        servers = list(pool.map(lambda number: _Server(agent, number), range(count)))
    time.sleep(2)
    _shown("a request, never slept", [server.get("small") for server in servers])
    for server in servers:
        server.hibernate(reclaim=False)
    time.sleep(1)
    _shown("the first one, asleep, nothing taken back", [s.get("small") for s in servers])
    time.sleep(2)
    used = [server.usage()["memory"] for server in servers]
    cache, own = (sum(one[f"{what}_bytes"] or 0 for one in used) for what in ("file", "anon"))
    reclaimable = cache + min(own, psutil.swap_memory().free)
    slept = [server.hibernate(reclaim=True) for server in servers]
    before, after = (sum(s[f"memory_{w}_bytes"] for s in slept) for w in ("before", "after"))
    saved = before - after
    print(
        f"memory of all: {before / _MIB:.0f} MiB, asleep {after / _MIB:.0f}: "
        f"{saved / before:.0%} less, {saved / reclaimable:.0%} of the page cache"
        " and, as far as there is swap for it, of what is no file's"
    )
    spent = sum(server.usage()["cpu"]["usage_ns"] for server in servers)
    time.sleep(_ASLEEP_S)
    spent = sum(server.usage()["cpu"]["usage_ns"] for server in servers) - spent
    print(f"CPU time of all in {_ASLEEP_S:.0f} s asleep: {spent / 1e6:.3f} ms")
    _shown("the first one, asleep, memory taken back", [s.get("small") for s in servers])
    _at_random(servers[0], connects)


def _at_random(server: _Server, connects: int) -> None:
    """Put to sleep as often as it can be, by one thread, and asked by another."""
    ended = threading.Event()
    slept = 0

    def put_to_sleep() -> None:
        nonlocal slept
        while not ended.is_set():
            try:
                server.client.request("POST", f"{server.path}/hibernate?reclaim=false")
                slept += 1
            except ConflictError:
                time.sleep(0.001)

    thread = threading.Thread(target=put_to_sleep)
    thread.start()
    chance = random.Random(1)  # noqa: S311
    times = []
    try:
        for _ in range(connects):
            time.sleep(chance.random() * _APART_S)
            times.append(server.get("small"))
    finally:
        ended.set()
        thread.join()
    _shown(f"at random moments, put to sleep {slept} times", times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=("native", "v2"), default="native")
    parser.add_argument("--servers", type=int, default=50)
    parser.add_argument("--connects", type=int, default=1000)
    options = parser.parse_args()
    if options.mode == "v2":
        words = ("--servers", options.servers, "--connects", options.connects)
        return guest.run_module("v2", "benchmarks.hibernation", *words)
    Path(guest.STATE_FOLDER).mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=guest.STATE_FOLDER) as folder,
        Agent(Path(folder)) as agent,
    ):
        _measure(agent, options.servers, options.connects)
    return 0


if __name__ == "__main__":
    sys.exit(main())
