"""``python -m benchmarks.victims`` shows who is ended under overload, and after how long.

The same containers in the same trouble are watched by Debian 13's oomd, by its systemd-oomd, and by
the rulesets in deploy/policies that say the same, one after the other, in a guest with cgroup v2
and swap. Printed are the victim and the seconds from the beginning of the trouble. systemd-oomd is
told what to watch on a socket in the place of systemd's, which does not run in the guest.
"""

from __future__ import annotations

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
    avoid: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    name: str
    loads: tuple[Load, ...]
    killers: tuple[str, ...]
    high: int = 0
    """The memory.high of all containers together, in MiB."""


_BLOAT: Final = Load(name="bloat", start=40, churn=40, high=48)
_CHILL: Final = Load(name="chill", start=10)
_BOTH: Final = ("oomd", "oomd.toml", "systemd-oomd", "systemd-oomd.toml")
_SCENARIOS: Final = (
    Scenario(name="one bloats, one is calm", loads=(_BLOAT, _CHILL), killers=_BOTH),
    Scenario(
        name="the larger one is to be avoided",
        loads=(
            Load(name="precious", start=60, churn=60, high=68, avoid=True),
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
    """Its systemd-oomd is at work by its defaults; the parent has ManagedOOMMemoryPressure=kill."""
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


_WATCHED: Final = ("ManagedOOMMemoryPressure",)


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
                labels={"cgagent.policy": "avoid"} if load.avoid else {},
                limits=limits,
            )
            self.ids[load.name] = id_
            if load.avoid:
                for name in ("user.oomd_avoid", "trusted.oomd_avoid"):
                    os.setxattr(parent / id_, name, b"1")

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


def _play(agent: Agent, root: Path, scenario: Scenario, killer: str) -> None:
    trouble = _Trouble(agent, scenario)
    with _KILLERS[killer](root, agent):
        trouble.begin()
        began, highest = time.monotonic(), 0.0
        while not (first := trouble.ended()) and time.monotonic() < began + _LONGEST_S:
            time.sleep(0.5)
            highest = max(highest, trouble.pressure())
        took_s = time.monotonic() - began
        time.sleep(_AFTER_S if first else 0)
        victims = ", ".join(first + [n for n in trouble.ended() if n not in first]) or "nobody"
    trouble.end()
    print(
        f"{scenario.name:36} {killer:18} {victims:12} {took_s:6.0f} s   full {highest:3.0f} %",
        flush=True,
    )
    if not first and killer in {"oomd", "systemd-oomd"}:
        print((root / "tmp/killer.log").read_text()[-1000:], flush=True)


def _inside(base: Path) -> None:
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
        for scenario in _SCENARIOS:
            for killer in scenario.killers:
                _play(agent, root, scenario, killer)


def main() -> int:
    if len(sys.argv) > 1:
        _inside(Path(sys.argv[1]))
        return 0
    root = cache.build("debian-13-oomd", lambda d: debian.bootstrap(d, "trixie", *_PACKAGES))
    job = guest.Job(
        command=(sys.executable, "-m", "benchmarks.victims", str(root)),
        environment={"CGAGENT_TEST_MODE": "v2", "CGAGENT_TEST_SLOWNESS": guest.SLOWNESS},
        timeout_s=3600,
    )
    return guest.run("v2", job)


if __name__ == "__main__":
    sys.exit(main())
