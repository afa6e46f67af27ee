"""``python -m benchmarks.victims`` shows who is ended under overload, and after how long.

The same containers in the same trouble are watched by Debian 13's oomd, by its systemd-oomd, and by
the rulesets in deploy/policies that say the same, one after the other, in a guest with cgroup v2
and swap. Printed are the victim and the seconds from the beginning of the trouble. systemd-oomd is
told what to watch on a socket in the place of systemd's, which does not run in the guest.
``--only TEXT`` plays the scenarios alone that have it in their name.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.world import cache, debian, guest
from tests.world.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PACKAGES: Final = ("oomd", "systemd-oomd")
_POLICIES: Final = Path(__file__).parents[1] / "deploy/policies"
_LONGEST_S: Final = 120.0
_AFTER_S: Final = 20.0
"""Nobody else may be ended for so long after a victim."""
_LITTLE: Final = 0.1
"""The part that is left of memory and of swap where systemd-oomd acts (SwapUsedLimit=90%)."""
_MIB: Final = 1 << 20
# Holds START MiB in use, takes RATE more each second up to MOST, and CHURN ever anew.
_LOAD: Final = """
import sys, time
start, rate, most, churn = map(int, sys.argv[1:])
kept = [bytearray(1 << 20) for _ in range(start)]
next = time.monotonic()
with open("/churn", "wb") as file:
    file.write(bytes(churn << 20))
while True:
    kept += [bytearray(b"1") * (1 << 20) for _ in range(min(rate // 2, most - len(kept)))]
    for pages in kept[:start]:
        for at in range(0, len(pages), 4096):
            pages[at] = 1
    next = max(next + 0.5, time.monotonic())
    while time.monotonic() < next:
        if churn:
            bytearray(b"1") * (churn << 20)
            with open("/churn", "rb") as file:
                while file.read(1 << 20):
                    pass
        else:
            time.sleep(0.1)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One container: MiB at first, MiB more each second, MiB at most; none of it is swapped."""

    name: str
    start: int
    rate: int = 0
    most: int = 0
    churn: int = 0
    """MiB that it takes and gives back without end."""
    high: int = 0
    """Its memory.high in MiB: above it is slowed down, which is pressure."""
    swaps: bool = False
    mark: str = ""
    """The preference that its label and its cgroup's xattrs carry: avoid, omit; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    name: str
    loads: tuple[Load, ...]
    killers: tuple[str, ...]
    high: int = 0
    """The memory.high of all containers together, in MiB."""
    free: int = 100
    """Percent of the host's memory that is left; the rest is taken by what cannot be swapped."""


_BLOAT: Final = Load(name="bloat", start=40, churn=40, high=48)
_CHILL: Final = Load(name="chill", start=10)
_SYSTEMD: Final = ("systemd-oomd", "systemd-oomd.toml")
_BOTH: Final = ("oomd", "oomd.toml", *_SYSTEMD)
_SCENARIOS: Final = (
    Scenario(name="one bloats, one is calm", loads=(_BLOAT, _CHILL), killers=_BOTH),
    Scenario(
        name="the larger one is to be avoided",
        loads=(
            Load(name="precious", start=60, churn=60, high=68, mark="avoid"),
            _BLOAT,
            _CHILL,
        ),
        killers=_BOTH,
    ),
    Scenario(
        name="a small one grows beside large ones",
        loads=(
            *(Load(name=f"steady-{n}", start=40, churn=4) for n in range(3)),
            Load(name="grower", start=10, rate=2, most=90, churn=4),
        ),
        killers=("oomd", "oomd.toml"),
        high=130,
    ),
    Scenario(
        name="swap runs out",
        loads=(Load(name="swapper", start=2, rate=40, most=290, high=24, swaps=True), _CHILL),
        killers=("oomd", "oomd.toml"),
    ),
    Scenario(
        name="memory and swap of the host are full",
        loads=(
            Load(name="swapper", start=2, rate=40, most=260, high=24, swaps=True),
            Load(name="sipper", start=2, rate=40, most=50, high=24, swaps=True),
            Load(name="large", start=60),
        ),
        killers=_SYSTEMD,
        free=9,
    ),
    Scenario(
        name="memory and swap of the host are full twice",
        loads=(
            Load(name="faster", start=2, rate=40, most=260, high=24, swaps=True),
            Load(name="slower", start=2, rate=30, most=260, high=24, swaps=True),
        ),
        killers=_SYSTEMD,
        free=9,
    ),
    Scenario(
        name="who fills memory and swap is to be omitted",
        loads=(
            Load(name="swapper", start=2, rate=40, most=256, high=24, swaps=True, mark="omit"),
            Load(name="sipper", start=2, rate=40, most=22, high=24, swaps=True),
        ),
        killers=_SYSTEMD,
        free=9,
    ),
)


# -- the killers, each a context ----------------------------------------------------------------


@contextlib.contextmanager
def _oomd(root: Path, agent: Agent) -> Iterator[None]:
    """Debian's oomd is at work with its configuration for desktops, about these containers."""
    parent = agent.cgroup_parent.strip("/")
    rules = json.loads(_without_comments(root / "etc/oomd/oomd.json"))
    text = json.dumps([one for one in rules["rulesets"] if "overview" not in one["name"]])
    config = json.loads(text)
    for one in config:
        one["detectors"] = one["detectors"][:1]  # that of users, and not that of the system
        for detector in one["detectors"][0][1:]:
            if "cgroup" in detector["args"]:
                detector["args"]["cgroup"] = parent
        one["actions"][0]["args"]["cgroup"] = f"{parent}/*"
    (root / "tmp/oomd.json").write_text(json.dumps({"rulesets": config}))
    command = ["oomd", "--config", "/tmp/oomd.json", "--kmsg-override", "/tmp/kmsg"]
    with _running(root, *command, "--runtime-dir", "/tmp/oomd"):
        yield


def _without_comments(path: Path) -> str:
    lines = path.read_text().splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("//"))


@contextlib.contextmanager
def _systemd_oomd(root: Path, agent: Agent) -> Iterator[None]:
    """Its systemd-oomd is at work by its defaults; the parent has each `_WATCHED` set to kill."""
    folder = root / "run/systemd"
    (folder / "oom").mkdir(parents=True, exist_ok=True)  # it listens there itself
    watched = [{"mode": "kill", "path": agent.cgroup_parent, "property": name} for name in _WATCHED]
    told = {"parameters": {"cgroups": watched}, "continues": True}
    with socket.socket(socket.AF_UNIX) as listener:
        path = folder / "io.systemd.ManagedOOM"
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen()
        kept: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    kept.append(peer)
                    peer.recv(1 << 16)
                    peer.sendall(json.dumps(told).encode() + b"\0")

        threading.Thread(target=serve, daemon=True).start()
        with _running(root, "/usr/lib/systemd/systemd-oomd"):
            yield
        listener.shutdown(socket.SHUT_RDWR)


_WATCHED: Final = ("ManagedOOMMemoryPressure", "ManagedOOMSwap")


@contextlib.contextmanager
def _running(root: Path, *command: str) -> Iterator[None]:
    with (root / "tmp/killer.log").open("wb") as log:
        process = subprocess.Popen(["chroot", root, *command], stdout=log, stderr=log)
        try:
            yield
            if process.poll() is not None:
                raise RuntimeError((root / "tmp/killer.log").read_text()[-2000:])
        finally:
            process.terminate()
            process.wait()


def _ruleset(name: str) -> Callable[[Path, Agent], contextlib.AbstractContextManager[None]]:
    @contextlib.contextmanager
    def at_work(_root: Path, agent: Agent) -> Iterator[None]:
        rules = tomllib.loads((_POLICIES / name).read_text())
        agent.client.request("POST", "/v1/policies", rules)
        yield
        for one in rules["ruleset"]:
            agent.client.request("DELETE", f"/v1/policies/{one['name']}")

    return at_work


_KILLERS: Final[dict[str, Callable[[Path, Agent], contextlib.AbstractContextManager[None]]]] = {
    "oomd": _oomd,
    "oomd.toml": _ruleset("oomd.toml"),
    "systemd-oomd": _systemd_oomd,
    "systemd-oomd.toml": _ruleset("systemd-oomd.toml"),
}


# -- one scenario -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Trouble:
    agent: Agent
    scenario: Scenario
    ids: dict[str, str] = field(default_factory=dict)

    def begin(self) -> None:
        parent = Path("/sys/fs/cgroup") / self.agent.cgroup_parent.strip("/")
        high = self.scenario.high
        (parent / "memory.high").write_text(str(high * _MIB) if high else "max")
        for load in self.scenario.loads:
            sizes = (load.start, load.rate, max(load.most, load.start), load.churn)
            command = [sys.executable, "-I", "-S", "-c", _LOAD, *map(str, sizes)]
            limits: dict[str, Any] = {} if load.swaps else {"memory_swap_max_bytes": 0}
            if load.high:
                limits["memory_high_bytes"] = load.high * _MIB
            id_ = self.agent.launch(
                *command,
                image="host",
                networks=[{"network": "none"}],
                labels={"cgagent.policy": load.mark} if load.mark else {},
                limits=limits,
            )
            self.ids[load.name] = id_
            if load.mark:
                for name in ("user.oomd", "trusted.oomd"):
                    os.setxattr(parent / id_, f"{name}_{load.mark}", b"1")

    def ended(self) -> list[str]:
        return [
            name for name, id_ in self.ids.items() if self.agent.state(id_)["status"] != "running"
        ]

    def pressure(self) -> float:
        """The share of the last 10 s in which all who could work waited for memory, in percent."""
        parent = self.agent.cgroup_parent.strip("/")
        text = Path(f"/sys/fs/cgroup/{parent}/memory.pressure").read_text()
        return float(text.split("full avg10=")[1].split()[0])

    def end(self) -> None:
        for id_ in self.ids.values():
            self.agent.remove(id_)


def _of_the_host() -> dict[str, int]:
    """Return the fields of /proc/meminfo, in KiB; those that count huge pages are numbers."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


@contextlib.contextmanager
def _memory_left(percent: int) -> Iterator[None]:
    """Huge pages, which are never swapped, take the host's memory but for so much of it."""
    pages, found = Path("/proc/sys/vm/nr_hugepages"), _of_the_host()
    taken = found["MemAvailable"] - found["MemTotal"] * percent // 100
    pages.write_text(str(max(taken, 0) // found["Hugepagesize"]))
    try:
        yield
    finally:
        pages.write_text("0")


class _Fullness(threading.Thread):
    """Looks for the moments from which on less than a tenth of memory and of swap is left."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.since: list[float] = []
        self.is_over = False

    def run(self) -> None:
        was_full = False
        while not self.is_over:
            found = _of_the_host()
            left = found["MemAvailable"] / found["MemTotal"], found["SwapFree"] / found["SwapTotal"]
            is_full = max(left) < _LITTLE
            if is_full and not was_full:
                self.since.append(time.monotonic())
            was_full = is_full
            time.sleep(0.05)


def _play(agent: Agent, root: Path, scenario: Scenario, killer: str) -> None:
    trouble = _Trouble(agent, scenario)
    victims: dict[str, float] = {}
    highest, until_s = 0.0, _LONGEST_S
    fullness = _Fullness()
    with _memory_left(scenario.free), _KILLERS[killer](root, agent):
        trouble.begin()
        began = time.monotonic()
        fullness.start()
        while (passed_s := time.monotonic() - began) < until_s:
            highest = max(highest, trouble.pressure())
            for name in trouble.ended():
                if name not in victims:
                    victims[name] = time.monotonic() - began
                    until_s = passed_s + _AFTER_S
            time.sleep(0.2)
    fullness.is_over = True
    trouble.end()
    told = ", ".join(f"{name} {at_s:.1f} s" for name, at_s in victims.items()) or "nobody"
    full = ", ".join(f"{at_s - began:.1f}" for at_s in fullness.since)
    print(
        f"{scenario.name:42} {killer:18} {told:28} pressure {highest:3.0f} %"
        + f"   memory and swap full after {full} s" * bool(full),
        flush=True,
    )
    if not victims and killer in {"oomd", "systemd-oomd"}:
        print((root / "tmp/killer.log").read_text()[-1000:], flush=True)


def _inside(base: Path, only: str) -> None:
    folder = Path(tempfile.mkdtemp(dir=guest.STATE_FOLDER))  # it ends with the guest
    for name in ("upper", "work", "root", "agent"):
        (folder / name).mkdir()
    root = folder / "root"
    layers = f"lowerdir={base},upperdir={folder}/upper,workdir={folder}/work"
    subprocess.run(["mount", "-t", "overlay", "-o", layers, "root", root], check=True)
    for name in ("proc", "sys", "dev"):
        subprocess.run(["mount", "--rbind", f"/{name}", root / name], check=True)
    for name in _PACKAGES:
        found = subprocess.run(
            ["chroot", root, "dpkg-query", "-W", name],
            check=True,
            capture_output=True,
            text=True,
        )
        print("Debian 13's", found.stdout.strip().replace("\t", " "), flush=True)
    with Agent(folder / "agent") as agent:
        for scenario in (one for one in _SCENARIOS if only in one.name):
            for killer in scenario.killers:
                _play(agent, root, scenario, killer)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.victims")
    parser.add_argument("--only", default="", metavar="TEXT", help="scenarios whose name has it")
    parser.add_argument("--root", type=Path, help="in the guest: where Debian 13 is")
    options = parser.parse_args()
    if options.root:
        _inside(options.root, options.only)
        return 0
    root = cache.build("debian-13-oomd", lambda d: debian.bootstrap(d, "trixie", *_PACKAGES))
    words = ("--root", root, "--only", options.only)
    return guest.run_module("v2", "benchmarks.victims", *words)


if __name__ == "__main__":
    sys.exit(main())
