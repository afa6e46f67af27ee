"""Containers on a bridge: ``python -m benchmarks.networks [--rounds N] [--containers N]``.

Each engine has its own bridge, in a network namespace of the run. Starts are measured beside the
same start without a network; throughput is what iperf3 carries in one TCP connection.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from benchmarks import apart, table
from benchmarks.engines import Cgagent, Docker, Podman
from benchmarks.measures import Row
from benchmarks.peers import IMAGE
from benchmarks.process import Daemon, Failure, command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.engines import Client

_AT_A_TIME: Final = 8
_WARM: Final = 3
_PORT: Final = 5201
_FIRST_PORT: Final = 5202
_SECONDS: Final = 2
# iperf3 is the one of Debian 13, with its libraries.
_PROGRAMS: Final = tuple(
    word for path in ("/usr", "/lib", "/lib64") for word in ("--volume", f"{path}:{path}:ro")
)


_DUAL: Final = "dual"
_LISTEN: Final = f"""
import socket, time
with socket.create_server(("::", {_FIRST_PORT}), family=socket.AF_INET6, backlog=4096,
                          dualstack_ipv6=True):
    time.sleep(100000)
"""
_CONNECT: Final = f"""
for address in "$@"; do
    begin=${{EPOCHREALTIME/./}}
    exec 3<>/dev/tcp/$address/{_FIRST_PORT} || exit 1
    echo $((${{EPOCHREALTIME/./}} - begin))
done
grep ^Tcp: /proc/net/snmp | tail -n 1 | cut -d ' ' -f 13
"""


class _Samples:
    """Samples of several measures and peers, in the order in which each measure came first."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], list[float]] = {}

    def add(self, measure: str, unit: str, peer: str, sample: float) -> None:
        self._found.setdefault((measure, unit, peer), []).append(sample)

    def rows(self) -> list[Row]:
        order = list(dict.fromkeys(measure for measure, _, _ in self._found))
        rows = [Row(m, unit, peer, tuple(s)) for (m, unit, peer), s in self._found.items()]
        return sorted(rows, key=lambda row: order.index(row.measure))


def _ms(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1e3


def _runs(engines: Sequence[Client], rounds: int, samples: _Samples) -> None:
    for number in range(rounds + 1):
        for engine in engines:
            taken = _ms(engine.run)
            if number:
                samples.add("run --rm true on a bridge", "ms", engine.name, taken)


def _starts(engine: Cgagent, rounds: int, samples: _Samples) -> None:
    """Several in a row: what is made ahead is for the network that was asked for last."""
    for _ in range(rounds):
        for network in ("none", "bridge"):
            engine.network = network
            for number in range(_WARM + 3):
                container = engine.create_by_api()
                taken = _ms(partial(engine.start_by_api, container))
                engine.remove([container])
                if number >= _WARM:
                    samples.add("start over the socket", "ms", f"{engine.name}, {network}", taken)


def _crowds(engine: Cgagent, count: int, rounds: int, samples: _Samples) -> None:
    for _ in range(rounds):
        for network in ("none", "bridge"):
            engine.network = network
            with ThreadPoolExecutor(_AT_A_TIME) as threads:
                begin = time.perf_counter()
                made = list(threads.map(lambda _: _started(engine), range(count)))
                taken = (time.perf_counter() - begin) * 1e3
            engine.remove(made)
            measure = f"{count} containers, {_AT_A_TIME} at a time"
            samples.add(measure, "ms", f"{engine.name}, {network}", taken)


def _started(engine: Cgagent) -> str:
    client = engine.another()
    container = client.create_by_api()
    client.start_by_api(container)
    return container


@contextmanager
def _server(engine: Client) -> Iterator[str]:
    """Listens in a container; its address."""
    words = ("run", "-d", "--network", "bridge", *_PROGRAMS, IMAGE, "iperf3", "-s")
    container = engine.cli(*words).strip()
    try:
        yield _address(engine, container)
    finally:
        engine.remove([container])


def _address(engine: Client, container: str) -> str:
    (found,) = json.loads(engine.cli("inspect", container))
    (network,) = found["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


def _gateway(engine: Client) -> str:
    words = ("run", "--rm", "--network", "bridge", IMAGE, "ip", "route")
    return engine.cli(*words).split("default via ")[1].split()[0]


def _carried(engine: Client, address: str, *flags: str) -> float:
    """Milliseconds for each gigabit, from a new container to an address."""
    words = ("run", "--rm", "--network", "bridge", *_PROGRAMS, IMAGE)
    iperf = ("iperf3", "-J", "-t", str(_SECONDS), "-p", str(_PORT), "-c", address, *flags)
    said = json.loads(engine.cli(*words, *iperf))
    return 1e12 / float(said["end"]["sum_received"]["bits_per_second"])


def _throughput(engines: Sequence[Client], rounds: int, samples: _Samples) -> None:
    with ExitStack() as stack:
        paths: list[tuple[str, Client, str, tuple[str, ...]]] = []
        for engine in engines:
            host, other = _gateway(engine), stack.enter_context(_server(engine))
            paths += [
                ("container to host", engine, host, ()),
                ("host to container", engine, host, ("-R",)),
                ("container to container", engine, other, ()),
            ]
        for _ in range(rounds):
            for name, engine, address, flags in paths:
                samples.add(name, "ms/Gbit", engine.name, _carried(engine, address, *flags))


def _first_connections(engine: Cgagent, count: int, samples: _Samples) -> str:
    """The first thing that containers do is to connect, each to one of four addresses first.

    A SYN that is lost is sent again after a second, and the kernel counts it.
    """
    engine.cli("network", "create", "--ipv6", _DUAL)
    listen = ("python3", "-c", _LISTEN)
    host = Daemon(list(listen), engine.folder / "listen.log", {})
    made = engine.cli("run", "-d", "--network", _DUAL, *_PROGRAMS, IMAGE, *listen).strip()
    try:
        targets = _both_sides(engine, made)
        with ThreadPoolExecutor(_AT_A_TIME) as threads:
            said = list(threads.map(lambda n: _connected(engine, targets, n), range(count)))
    finally:
        host.end()
        engine.remove([made])
        engine.cli("network", "rm", _DUAL)
    for took_ms, _ in said:
        samples.add(f"first connections, {_AT_A_TIME} at a time", "ms", engine.name, max(took_ms))
    slowest = max(ms for took_ms, _ in said for ms in took_ms)
    lost = sum(again for _, again in said)
    every = count * len(targets)
    return f"first connections: {every}, slowest {slowest:.1f} ms, {lost} lost their first packet"


def _both_sides(engine: Cgagent, server: str) -> list[str]:
    (found,) = json.loads(engine.cli("inspect", server))
    place = found["NetworkSettings"]["Networks"][_DUAL]
    keys = ("IPAddress", "Gateway", "GlobalIPv6Address", "IPv6Gateway")
    return [str(place[key]) for key in keys]


def _connected(engine: Cgagent, targets: list[str], number: int) -> tuple[list[float], int]:
    """Milliseconds to each, and how many segments were sent again."""
    first = number % len(targets)
    turned = [*targets[first:], *targets[:first]]
    words = ("run", "--rm", "--network", _DUAL, *_PROGRAMS, IMAGE)
    *took, again = engine.cli(*words, "bash", "-c", _CONNECT, "bash", *turned).split()
    return [int(us) / 1e3 for us in took], int(again)


def _inside(options: argparse.Namespace, folder: Path) -> int:
    cgagent = Cgagent(folder / "cgagent", "bridge")
    engines: list[Cgagent | Docker | Podman] = [
        cgagent,
        Docker(folder / "docker", "bridge"),
        Podman(folder / "podman", "bridge"),
    ]
    samples = _Samples()
    with ExitStack() as stack:
        for engine in engines:
            stack.callback(engine.close)
            engine.open()
        # docker drops what other engines forward, within a bridge too where br_netfilter is on
        command("iptables", "--policy", "FORWARD", "ACCEPT")
        listening = Daemon(["iperf3", "-s", "-p", str(_PORT)], folder / "iperf3.log", {})
        stack.callback(listening.end)
        _starts(cgagent, options.rounds, samples)
        _crowds(cgagent, options.containers, 3, samples)
        cgagent.network = "bridge"
        first = _first_connections(cgagent, options.first, samples)
        _runs(engines, options.rounds, samples)
        _throughput(engines[:2], options.rounds, samples)
        versions = [f"{engine.name}: {engine.version()}" for engine in engines]
    table.show(samples.rows(), [first, *versions, command("iperf3", "--version").split("\n")[0]])
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--containers", type=int, default=200)
    parser.add_argument("--first", type=int, default=500, help="how many connect at once")
    options = parser.parse_args()
    folder = apart.folder()
    if folder is None:
        return apart.again("benchmarks.networks")
    try:
        return _inside(options, folder)
    except Failure as failure:
        print(f"benchmarks: {failure}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
