"""Docker's API, asked of cgagent and of docker: ``python -m benchmarks.latency [--rounds N]``.

The same requests by the same client over each engine's socket, in interleaved rounds, with 50
containers there that sleep: a list of them, inspect, pause and unpause, and a container's life
(create, start, wait, remove) of a command that ends at once. Less is better.
"""

from __future__ import annotations

import argparse
import http
import json
import socket
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from benchmarks import apart, table
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


class _Line:
    """One connection that is kept, by a client with next to no work of its own."""

    def __init__(self, path: Path) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.connect(str(path))

    def call(self, method: str, target: str, body: Any = None) -> bytes:
        """The answer's body."""
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        self._sock.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        told = b""
        while b"\r\n\r\n" not in told:
            told += self._more()
        head_told, _, told = told.partition(b"\r\n\r\n")
        lines = head_told.lower().split(b"\r\n")
        if int(lines[0].split(b" ")[1]) >= http.HTTPStatus.BAD_REQUEST:
            raise Failure(f"{method} {target}: {head_told.decode()} {told.decode()}")
        if b"transfer-encoding: chunked" in lines:
            while not told.endswith(b"0\r\n\r\n"):
                told += self._more()
            return told
        sizes = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
        while len(told) < sum(sizes):
            told += self._more()
        return told

    def _more(self) -> bytes:
        data = self._sock.recv(1 << 18)
        if not data:
            raise Failure("the connection has ended")
        return data

    def close(self) -> None:
        self._sock.close()


class _Asked:
    """One engine with a connection to its socket, which is kept."""

    def __init__(self, engine: Cgagent | Docker) -> None:
        self.engine = engine
        self._line = _Line(engine.socket)
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
        made = self._line.call("POST", "/v1.44/containers/create", body)
        return str(json.loads(made)["Id"])

    def _do(self, method: str, container: str, rest: str) -> None:
        self._line.call(method, f"/v1.44/containers/{container}{rest}")

    def _remove(self, container: str) -> None:
        self._do("DELETE", container, "?force=1")

    def list(self) -> None:
        found = self._line.call("GET", "/v1.44/containers/json")
        if found.count(b'"Id"') < len(self.containers):
            raise Failure(f"{self.engine.name} does not list all containers")

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
