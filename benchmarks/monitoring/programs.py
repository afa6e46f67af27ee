"""The programs that watch groups: each is started when it is entered and ended when it is left."""

from __future__ import annotations

import json
import selectors
import socket
import sys
import threading
from configparser import ConfigParser
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from benchmarks.api import UnixConnection
from benchmarks.monitoring import measure
from benchmarks.process import Daemon
from tests.world import debian
from tests.world.agent import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.engines import Docker


class Exporter:
    """A process with an exposition in Prometheus' text format."""

    def __init__(self, pid: int, port: int, path: str, heart: Path | None = None) -> None:
        self._pid = pid
        self._port = port
        self._path = path
        self.heart = heart

    def pids(self) -> set[int]:
        return {self._pid}

    def scrape(self) -> int:
        return measure.scrape(self._port, self._path)

    def value(self, series: str) -> float:
        """Of the one series of this name; little is made for it."""
        return measure.value(self._port, f"{self._path}?name[]={series}", series)


@contextmanager
def cgagent(folder: Path, parent: str, interval_s: float = 1.0) -> Iterator[Exporter]:
    folder.mkdir()
    port, heart = free_port(), folder / "heart"
    command = [
        *(sys.executable, "-m", "benchmarks.monitoring.heartbeat", str(heart), "serve"),
        *("--data-root", str(folder / "root"), "--socket", str(folder / "cgagent.sock")),
        *("--cgroup-parent", f"{parent}-agent", "--metrics-listen", f"127.0.0.1:{port}"),
        *("--watch", f"{parent[1:]}/*", "--sample-interval", f"{interval_s}"),
        *("--sample-full-interval", f"{5 * interval_s}"),
    ]
    with _running(command, folder / "log") as daemon:
        exporter = Exporter(daemon.pid, port, "/metrics", heart)
        daemon.wait_for(exporter.scrape)
        yield exporter


@contextmanager
def netdata(folder: Path, _parent: str) -> Iterator[Exporter]:
    """Debian's, with nothing switched on but its plugin for cgroups."""
    folder.mkdir()
    port = free_port()
    package = debian.unpack("netdata-core")
    config = ConfigParser(interpolation=None)
    config.read_dict(_netdata_settings(folder, port))
    with (folder / "netdata.conf").open("w") as file:
        config.write(file)
    program = (f"{package}/usr/sbin/netdata", "-D", "-c", f"{folder}/netdata.conf")
    command = debian.seeing(package, "/usr/lib", *program)
    with _running(command, folder / "log") as daemon:
        path = "/api/v1/allmetrics?format=prometheus&source=raw"
        exporter = Exporter(daemon.pid, port, path)
        daemon.wait_for(exporter.scrape)
        yield exporter


def _netdata_settings(folder: Path, port: int) -> dict[str, dict[str, str]]:
    return {
        "global": {"run as user": "root"},
        "directories": {
            **{name: str(folder) for name in ("config", "cache", "lib", "log", "web")},
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


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[Daemon]:
    daemon = Daemon(command, log, {})
    try:
        yield daemon
    finally:
        daemon.end()


class DockerStats:
    """docker's stats as monitoring agents read them: a stream of each container, one a second.

    A scrape is a one-shot request for each, all at once. What reads the answers is not counted.
    """

    heart: Path | None = None

    def __init__(self, docker: Docker, containers: list[str]) -> None:
        self._docker = docker
        self._containers = containers

    def pids(self) -> set[int]:
        return self._docker.engine_pids()

    def scrape(self) -> int:
        connections = self._ask("?stream=false&one-shot=true")
        return sum(_numbers(json.load(c.getresponse())) for c in connections)

    def streams(self) -> list[socket.socket]:
        return [connection.sock for connection in self._ask("")]

    def _ask(self, query: str) -> list[UnixConnection]:
        made = [UnixConnection(self._docker.socket) for _ in self._containers]
        for connection, container in zip(made, self._containers, strict=True):
            headers = {"Connection": "close"} if query else {}
            connection.request(
                "GET", f"/v1.41/containers/{container}/stats{query}", headers=headers
            )
        return made


def _numbers(answer: object) -> int:
    if isinstance(answer, dict | list):
        values = answer.values() if isinstance(answer, dict) else answer
        return sum(map(_numbers, values))
    return isinstance(answer, int | float)


@contextmanager
def docker_stats(docker: Docker, containers: list[str]) -> Iterator[DockerStats]:
    stats = DockerStats(docker, containers)
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for stream in stats.streams():
            stack.callback(stream.close)
            selector.register(stream, selectors.EVENT_READ)
        stop = threading.Event()

        def drain() -> None:
            while not stop.is_set():
                for key, _ in selector.select(0.2):
                    if isinstance(key.fileobj, socket.socket):
                        key.fileobj.recv(1 << 16)

        thread = threading.Thread(target=drain)
        thread.start()
        try:
            yield stats
        finally:
            stop.set()
            thread.join()
