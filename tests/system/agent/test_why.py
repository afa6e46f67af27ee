"""Staged situations, and the cause that each is told by: real limits, real neighbours.

Containers of one batch run side by side. What takes CPU is below a group of this test's with ten
times the usual weight, so that other tests on the machine do not take it first.

In the guest, whose CPUs are slow, those are staged for which the version of cgroup makes a
difference; CGAGENT_TEST_WHY has the names of others, or "all".
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field

import pytest

from cgagent.cgroups import Host, Limits
from cgagent.client import connect
from cgagent.client.http import Client, query
from tests.world import disks
from tests.world.agent import SLOWNESS, eventually, has_v1

pytestmark = pytest.mark.system

MIB = 1 << 20
WINDOW_S = 1.0 if SLOWNESS == 1 else 2.0
BURN = "while :; do :; done"
IDLE = "sleep 1000"
EAT = "while :; do dd if=/dev/zero of=/dev/null bs=64M count=1; done"
FILL = "sleep 1000 & sleep 1000 & sleep 1000 & sleep 1000 & wait"
THRASH = "while :; do cat /file >/dev/null; done"
SWAP = "while :; do dd if=/dev/zero of=/dev/null bs=24M count=1000; done"
HEAVY = {"cpu_shares": 4096}
LIGHT = {"cpu_shares": 128}
SMALL = {"memory_max_bytes": 16 * MIB, "memory_swap_max_bytes": 0}


@dataclass
class Staged:
    """A container that is asked about, and what is to be told of it."""

    name: str
    script: str
    kind: str | None
    limits: dict = field(default_factory=dict)
    above: dict = field(default_factory=dict)
    """Limits of the group above it, which is then its own."""
    blamed: str = "own"
    """Whose limit it is: its own, that of the group above it, the host, or a container's name."""
    beside: dict = field(default_factory=dict)
    """Further containers: scripts and limits by name."""
    frozen: str = ""


LIGHT_ONES = [
    Staged("nothing", IDLE, None),
    Staged("modest", "while :; do sleep 0.1; done", None, {"memory_max_bytes": 64 * MIB}),
    Staged("quota", BURN, "cpu-quota", {"cpus": 0.1}),
    Staged("quota-above", BURN, "cpu-quota", above={"cpus": 0.1}, blamed="above"),
    Staged("frozen", IDLE, "frozen", frozen="own"),
    Staged("frozen-above", IDLE, "frozen", above={"pids_max": 50}, frozen="above", blamed="above"),
    Staged("pids", FILL, "pids-limit", {"pids_max": 5}),
    Staged("pids-above", FILL, "pids-limit", above={"pids_max": 5}, blamed="above"),
    Staged("oom", EAT, "oom", {**SMALL, "cpus": 0.3}),
    Staged("oom-above", EAT, "oom", {"cpus": 0.3}, above=SMALL, blamed="above"),
]
MEMORY_ONES = [
    Staged("thrash", THRASH, "memory-max", SMALL),
    Staged("thrash-above", THRASH, "memory-max", above=SMALL, blamed="above"),
]
V2_ONES = [
    Staged("high", THRASH, "memory-high", {"memory_high_bytes": 16 * MIB}),
    Staged(
        "high-above", THRASH, "memory-high", above={"memory_high_bytes": 16 * MIB}, blamed="above"
    ),
    Staged(
        "swap", SWAP, "swap", {"memory_max_bytes": 16 * MIB, "memory_swap_max_bytes": 100 * MIB}
    ),
]
PINNED = {"cpuset_cpus": "0"}
CPU_ONES = [
    Staged("cpuset", f"({BURN}) & {BURN}", "cpuset", {**PINNED, **HEAVY}),
    Staged(
        "cpuset-above", f"({BURN}) & {BURN}", "cpuset", above={**PINNED, **HEAVY}, blamed="above"
    ),
    Staged("weight", BURN, "cpu-weight", LIGHT, beside={"noisy": (f"({BURN}) & {BURN}", HEAVY)}),
    Staged(
        "weight-above",
        BURN,
        "cpu-weight",
        above=LIGHT,
        blamed="above",
        beside={"noisy": (f"({BURN}) & {BURN}", HEAVY)},
    ),
    Staged(
        "idle",
        BURN,
        "cpu-weight",
        {"cpu_idle": True},
        beside={"noisy": (f"({BURN}) & {BURN}", HEAVY)},
    ),
    Staged(
        "neighbour",
        BURN,
        "cpu-neighbour",
        HEAVY,
        blamed="noisy",
        beside={"noisy": (f"({BURN}) & ({BURN}) & ({BURN}) & {BURN}", HEAVY)},
    ),
    Staged("demand", f"({BURN}) & ({BURN}) & ({BURN}) & {BURN}", "cpu-own", HEAVY),
    Staged(
        "host",
        BURN,
        "cpu-host",
        HEAVY,
        blamed="host",
        beside={f"n{n}": (BURN, HEAVY) for n in range(7)},
    ),
]
READ = "while :; do dd if=$D of=/dev/null bs=64k count=512 iflag=direct; done"
WRITE = "while :; do dd if=/dev/zero of=$D bs=64k count=512 oflag=direct conv=notrunc; done"
CALM = "while :; do dd if=$D of=/dev/null bs=4k count=200 iflag=direct; done"


def io_ones(device):
    def cap(**values):
        major, minor = os.major(device.rdev), os.minor(device.rdev)
        return {"io_max": [{"major": major, "minor": minor, **values}]}

    return [
        Staged("read-cap", READ, "io-max", cap(rbps=MIB)),
        Staged("write-cap", WRITE, "io-max", cap(wbps=MIB)),
        Staged("iops-cap", READ, "io-max", cap(riops=20)),
        *(
            # in v1 a cap does not hold for the groups below
            []
            if has_v1("io")
            else [Staged("cap-above", READ, "io-max", above=cap(rbps=MIB), blamed="above")]
        ),
    ]


DISK_ONES = [
    Staged("disk", f"({READ}) & ({READ}) & {READ}", "io-own"),
    Staged(
        "io-neighbour",
        CALM,
        "io-neighbour",
        blamed="noisy",
        beside={"noisy": (f"({WRITE}) & ({WRITE}) & ({READ}) & {READ}", {})},
    ),
]


class Stage:
    """Situations side by side, each in the group `top` or in one of its own below it."""

    def __init__(self, agent, top, device, folder, ones):
        self.agent, self.top, self.device = agent, top, device
        self.folder, self.ones = folder, ones
        self.host = Host.detect()
        self.asked = {}
        """The containers that are asked about, by the names of their situations."""
        self._made, self._files = [], []

    def parent(self, one):
        return f"{self.top}/{one.name}" if one.above else self.top

    def __enter__(self):
        try:
            for one in self.ones:
                self._set_up(one)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _set_up(self, one):
        group = self.host.group(self.parent(one))
        if one.above:
            group.create()
            body = {"action": "set", "limits": one.above, "force": True}
            self.agent.client.request("POST", f"/v1/cgroups{group.path}", body)
        self.asked[one.name] = self._launch(one, one.name, one.script, one.limits)
        for name, (script, limits) in one.beside.items():
            self._launch(one, name, script, limits, self.top)
        if one.frozen == "own":
            self.agent.post(self.asked[one.name], "freeze")
        elif one.frozen:
            group.freeze(10 * SLOWNESS)

    def _launch(self, one, name, script, limits, parent=None):
        options = {"name": name, "limits": limits, "cgroup_parent": parent or self.parent(one)}
        if "$D" in script:
            path = self.device.path
            options |= {
                "devices": [{"path_on_host": path, "path_in_container": path}],
                "env": [f"D={path}"],
            }
        if "/file" in script:
            options["mounts"] = [{"type": "bind", "source": self._file(), "destination": "/file"}]
        command = ("sh", "-c", f"exec 2>/dev/null; {script}")
        self._made.append(self.agent.launch(*command, networks=[], **options))
        return self._made[-1]

    def _file(self):
        """Its blocks are on disk, and nobody has them in memory."""
        self._files.append(f"{self.folder}/why-{len(self._files)}")
        with open(self._files[-1], "wb") as file:
            file.write(bytes(32 * MIB))
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return self._files[-1]

    def __exit__(self, *_):
        for one in self.ones:
            if one.frozen == "above":
                self.host.group(self.parent(one)).thaw(10 * SLOWNESS)
        for container in reversed(self._made):  # first those beside, which take the CPU
            self.agent.remove(container)
        for file in self._files:
            os.unlink(file)
        for one in self.ones:
            if one.above:
                self.host.group(self.parent(one)).remove(10 * SLOWNESS)

    def is_right(self, one, found):
        first = found["causes"][0] if found["causes"] else None
        if one.kind is None or first is None:
            return one.kind is first is None
        parent = self.parent(one)
        places = {"own": f"{parent}/{self.asked[one.name]}", "above": parent, "host": "/"}
        if one.blamed not in places:
            return (first["kind"], first["container"]) == (one.kind, one.blamed)
        return (first["kind"], first["group"]) == (one.kind, places[one.blamed])


def explained(agent, asked):
    """What is told of each, all asked at the same time."""
    found = {}

    def ask(name, container):
        client = Client(str(agent.socket))
        path = f"/v1/containers/{container}/why" + query(window_s=WINDOW_S)
        found[name] = client.request("GET", path)
        client.close()

    threads = [threading.Thread(target=ask, args=pair) for pair in asked.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def tell(stage, wrong):
    """Ask, and up to twice again about those of which something else was told."""
    with stage:
        time.sleep(0.3 * min(SLOWNESS, 4))
        left = list(stage.ones)
        for _ in range(3):
            found = explained(stage.agent, {one.name: stage.asked[one.name] for one in left})
            left = [one for one in left if not stage.is_right(one, found[one.name])]
            for one in left:
                told = [(c["kind"], c["group"], c["share"]) for c in found[one.name]["causes"]]
                print("not", one.name, told, found[one.name]["lost"])
            if not left:
                return
        wrong += [(one.name, one.kind, found[one.name]["verdict"]) for one in left]


@pytest.fixture
def top(agent):
    """A group at the root for containers' groups, with a weight that few others have."""
    group = Host.detect().group(f"{agent.cgroup_parent}-why")
    group.create()
    group.apply(Limits(cpu_weight=1_000))
    yield group.path
    eventually(lambda: not group.children(), f"{group.path} is not empty")
    group.remove(10 * SLOWNESS)


@pytest.fixture
def device(state_root):
    with disks.loop_device(f"{state_root}/why-disk") as made:
        yield made


IN_GUEST = (
    *("nothing", "quota-above", "frozen-above", "pids-above", "oom-above"),
    *("high-above", "swap", "read-cap", "cap-above"),
)


def batches(device):
    found = [LIGHT_ONES, MEMORY_ONES, io_ones(device), *([one] for one in DISK_ONES + CPU_ONES)]
    if not has_v1("memory"):
        found.insert(2, V2_ONES)
    asked = os.environ.get("CGAGENT_TEST_WHY", " ".join(IN_GUEST) if SLOWNESS > 1 else "all")
    names = asked.split()
    chosen = [[one for one in batch if "all" in names or one.name in names] for batch in found]
    if SLOWNESS == 1:
        return [batch for batch in chosen if batch]
    # What reads and reclaims all the time fills a CPU there: one after the other.
    busy = (*MEMORY_ONES, *V2_ONES)
    apart = [[one] for batch in chosen for one in batch if one in busy]
    return [*apart, *(batch for batch in chosen if batch and batch[0] not in busy)]


@pytest.mark.timeout(900 * SLOWNESS)
def test_the_first_cause(agent, top, device, state_root):
    """One of two dozen may be told wrong: others on the machine may be the cause just then."""
    wrong, staged = [], batches(device)
    for batch in staged:
        tell(Stage(agent, top, device, state_root, batch), wrong)
    count = sum(map(len, staged))
    print(f"{count - len(wrong)} of {count} right")
    assert len(wrong) <= count // 24, wrong


@pytest.mark.native
def test_it_is_shown_and_its_commands_help(agent, container):
    one = container("sh", "-c", BURN, name="slow", limits={"cpus": 0.1})
    eventually(lambda: agent.client.request("GET", f"/v1/containers/{one}/stats?since=0")["rows"])
    text = agent.cli("why", "slow")
    assert text.returncode == 0, text.stderr
    assert "cpu-quota: its own CPU quota of 0.1 CPUs is used up" in text.stdout
    assert "   $ cgagent update --cpus " in text.stdout
    line = agent.cli("why", "--format", "{{.Kind}}|{{.Of}}|{{.Command}}", "slow").stdout
    kind, of, command = line.split("\n")[0].split("|")
    assert (kind, of) == ("cpu-quota", "slow")
    assert agent.cli(*command.split()[1:]).returncode == 0
    assert agent.detail(one)["limits_held"]["cpu_quota_us"] > 10_000
    told = agent.cli("why", "--since", "10m", "slow")
    assert "cpu-quota" in told.stdout, told
    path = agent.detail(one)["cgroup_path"]
    assert path in agent.cli("cgroup", "why", "--window", "0.2", path).stdout
    with connect(f"unix://{agent.socket}") as client:
        found = client.containers.why("slow", window_s=0.2)
    assert (found.container, found.status, found.cgroup) == ("slow", "running", path)
    agent.post(one, "kill")
    agent.wait(one)
    assert "it ended" in agent.cli("why", "slow").stdout
    for args, said in (
        (("why", "nobody"), "does not exist"),
        (("why", "--window", "1h", "slow"), "window_s"),
        (("cgroup", "why", "/none/such"), "does not exist"),
    ):
        done = agent.cli(*args)
        assert done.returncode == 1, done
        assert said in done.stderr
