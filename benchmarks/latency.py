"""Docker's API, asked of cgagent and of docker: ``python -m benchmarks.latency [--rounds N]``.

The same requests by the same client over each engine's socket, in interleaved rounds, with 50
containers there that sleep: a list of them, inspect, pause and unpause, and a container's life
(create, start, wait, remove) of a command that ends at once. Less is better.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from benchmarks import apart, table
from benchmarks.api import UnixConnection
from benchmarks.engines import Cgagent, Docker
from benchmarks.measures import Row
from benchmarks.peers import CPUS, IMAGE, MEMORY_BYTES, PIDS, SLEEP
from benchmarks.process import Failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_ENGINES: Final = (Cgagent, Docker)
_LIMITS: Final = {"Memory": MEMORY_BYTES, "NanoCpus": int(CPUS * 1e9), "PidsLimit": PIDS}
_WARM: Final = 3


class _Asked:
    """One engine with a connection to its socket, which is kept."""

    def __init__(self, engine: Cgagent | Docker) -> None:
        self.engine = engine
        self._line = UnixConnection(engine.socket)
        self.containers: list[str] = []

    def fill(self, count: int) -> None:
        for _ in range(count):
            self.containers.append(self._create(*SLEEP))
            self._do("POST", self.containers[-1], "/start")

    def empty(self) -> None:
        for container in self.containers:
            self._remove(container)
        self._line.close()

    def _create(self, *command: str) -> str:
        host = {"NetworkMode": self.engine.network, **_LIMITS}
        body = {"Image": IMAGE, "Cmd": list(command), "HostConfig": host}
        return str(self._line.call("POST", "/v1.44/containers/create", body)["Id"])

    def _do(self, method: str, container: str, rest: str) -> Any:
        return self._line.call(method, f"/v1.44/containers/{container}{rest}")

    def _remove(self, container: str) -> None:
        self._do("DELETE", container, "?force=1")

    def list(self) -> None:
        found: Any = self._line.call("GET", "/v1.44/containers/json")
        if len(found) < len(self.containers):
            raise Failure(f"{self.engine.name} lists {len(found)} containers")

    def inspect(self) -> None:
        self._do("GET", self.containers[0], "/json")

    def pause_and_unpause(self) -> None:
        self._do("POST", self.containers[0], "/pause")
        self._do("POST", self.containers[0], "/unpause")

    def live(self) -> None:
        container = self._create("true")
        self._do("POST", container, "/start")
        self._do("POST", container, "/wait")
        self._remove(container)


_VERBS: Final[dict[str, Callable[[_Asked], None]]] = {
    "list of 50": _Asked.list,
    "inspect": _Asked.inspect,
    "pause, unpause": _Asked.pause_and_unpause,
    "create, start, wait, remove": _Asked.live,
}


def _measured(asked: list[_Asked], rounds: int) -> list[Row]:
    samples: dict[tuple[str, str], list[float]] = {}
    for number in range(_WARM + rounds):
        for verb, do in _VERBS.items():
            for one in asked:
                began_s = time.perf_counter()
                do(one)
                took_ms = (time.perf_counter() - began_s) * 1e3
                if number >= _WARM:
                    samples.setdefault((verb, one.engine.name), []).append(took_ms)
    return [Row(verb, "ms", peer, tuple(taken)) for (verb, peer), taken in samples.items()]


def _inside(options: argparse.Namespace, folder: Path) -> int:
    with ExitStack() as closing:
        asked = []
        for kind in _ENGINES:
            engine = kind(folder / kind.name, options.network)
            closing.callback(engine.close)
            engine.open()
            asked.append(_Asked(engine))
            closing.callback(asked[-1].empty)
            asked[-1].fill(options.containers)
        rows = _measured(asked, options.rounds)
        notes = [f"{one.engine.name}: {one.engine.version()}" for one in asked]
    table.show(rows, notes)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--containers", type=int, default=50)
    parser.add_argument("--network", default="none", help="of the containers: none, or bridge")
    options = parser.parse_args()
    folder = apart.folder()
    if folder is not None:
        return _inside(options, folder)
    return apart.again("benchmarks.latency")


if __name__ == "__main__":
    sys.exit(main())
