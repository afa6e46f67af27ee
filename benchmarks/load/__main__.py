"""Many clients at once: ``python -m benchmarks.load [--clients 200] [--seconds 300]``. Needs root.

Each client goes through a container's life again and again (create, start, freeze, stats, thaw,
logs, exec, rm), without a pause. Beside them an image of a gigabyte is pulled and removed again and
again, a container writes as fast as it can with one reader that follows and one that hardly reads,
and an operator freezes another container ten times a second. Printed are the times of all verbs,
whatever went wrong, and whose the CPU time was; the exit status is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.door import resident_mib
from benchmarks.load.clients import summary
from benchmarks.load.surroundings import Surroundings, push_random
from benchmarks.process import cpu_seconds
from tests.world import hosts
from tests.world.agent import Agent
from tests.world.guest import STATE_FOLDER
from tests.world.images import busybox_docker_archive
from tests.world.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTLE_S: Final = 3
_BESIDE: Final = "pull,flood,quick,slow"


class _Cpu:
    """Seconds that each part has been busy since this was made."""

    def __init__(self, agent: Agent) -> None:
        self._pids = {"agent": agent.pid, "supervisor": agent.supervisor_pid}
        self._before = dict(self._now())
        self._began_s = time.monotonic()

    def _now(self) -> Iterator[tuple[str, float]]:
        for name, pid in self._pids.items():
            yield name, cpu_seconds({pid})
        user, nice, system, _idle, _wait, *others = map(
            int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        )
        yield "machine", (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")

    def shares(self, clients_s: float) -> dict[str, float]:
        """The CPU time of each part since the beginning, in cores."""
        seconds = time.monotonic() - self._began_s
        spent = {name: now - self._before[name] for name, now in self._now()}
        return {
            name: round(taken / seconds, 2)
            for name, taken in {**spent, "clients": clients_s}.items()
        }


def _started(module: str, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"benchmarks.load.{module}", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def _told(process: subprocess.Popen[bytes]) -> Any:
    out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{process.args!r} has failed: {out!r}")
    return json.loads(out)


def _measure(agent: Agent, registry: Registry, options: argparse.Namespace) -> bool:
    agent.load(busybox_docker_archive())
    image = push_random(registry)
    victim = agent.launch("sleep", "100000", image="busybox", name="victim")
    time.sleep(_SETTLE_S)
    before_mib = resident_mib(agent.pid)
    socket, seconds = str(agent.socket), str(options.seconds)
    with Surroundings(agent, image, set(options.beside.split(","))) as beside:
        time.sleep(_SETTLE_S)
        cpu = _Cpu(agent)
        clients = _started("clients", socket, str(options.clients), seconds)
        observer = _started("observer", socket, victim, seconds)
        time.sleep(options.seconds / 2)
        half_mib = resident_mib(agent.pid)
        told, observed = _told(clients), _told(observer)
        shares = cpu.shares(told["cpu_s"])
    print(f"{told['lives']} lives of containers by {options.clients} clients in {seconds} s")
    for verb, shown in {**told["verbs"], **_observed(observed)}.items():
        print(f"  {verb:20} {shown}")
    print(f"pulls of 1 GiB: {' '.join(f'{s:.0f}' for s in beside.pulls_s)} s")
    print(f"read of the flood: {beside.read_bytes}")
    print(f"cores: {shares}")
    after_mib = resident_mib(agent.pid)
    print(f"agent: {before_mib:.0f} MiB before, {half_mib:.0f} amid, {after_mib:.0f} after")
    long_turns = [
        line for line in agent.log.read_text().split("\n") if "event loop was busy" in line
    ]
    print(f"{len(long_turns)} turns of the loop over 100 ms", *long_turns[-10:], sep="\n  ")
    wrong = {**told["wrong"], **dict.fromkeys(beside.wrong, 1)}
    print(f"wrong: {json.dumps(wrong, indent=1) if wrong else 'nothing'}", flush=True)
    left = {c["name"] for c in agent.containers()} - {"victim", "flood"}
    print(f"containers left: {len(left)}")
    return not wrong and not left


def _observed(times: dict[str, list[float]]) -> dict[str, Any]:
    return {f"{verb} by the operator": summary(taken) for verb, taken in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--beside", default=_BESIDE, help=f"of {_BESIDE}")
    options = parser.parse_args()
    hosts.leave_the_machines_network()
    Path(STATE_FOLDER).mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=STATE_FOLDER) as folder,
        Registry() as registry,
        Agent(Path(folder)) as agent,
    ):
        is_good = _measure(agent, registry, options)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
