"""Many containers one after the other, and what they leave: ``python -m tests.soak --rounds 500``.

Runs and removes containers on an agent of its own and prints, before and after: cgroups, mounts,
network namespaces, processes, files, and the descriptors and memory of agent and supervisor. Exit
status 1 when there is more of something. With ``--deaths N`` our processes are killed
first, amid N random operations, and with ``--image-kills N`` the agent is amid N pulls, loads and
removals of images. ``--image-fuzz N`` loads N archives that hypothesis makes, ``--power-cuts N``
cuts the power amid pulls. Not part of the test suite: it takes minutes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tests.world import disks, guest, hosts, imagekills, images, naming, powercuts
from tests.world.agent import Agent, eventually
from tests.world.audit import Snapshot
from tests.world.chaos import Chaos
from tests.world.imagefuzz import Fuzz
from tests.world.registry import Registry

_WARM_UP = 20
_WARM_PART = 4
"""As many rounds again are not counted: until all that has a bound, the events for one, is full."""
_GROWTH_KB = 4096  # allocators and caches settle; a leak per container would pass this


def _memory_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid} has no memory")


def _counts(agent: Agent) -> dict[str, int]:
    """Whatever may not grow, by name."""
    eventually(agent.pool_is_full)
    seen = Snapshot.take((agent.data_root,))
    ours = agent.cgroup_parent
    processes = {
        "agent": agent.pid,
        "supervisor": agent.supervisor_pid,
        "keeper": agent.keeper_pid,
    }
    children = Path(f"/proc/{processes['supervisor']}/task/{processes['supervisor']}/children")
    return {
        "containers": len(agent.containers()),
        "cgroups": len([group for group in seen.cgroups if ours in group]),
        "mounts": len(seen.mounts),
        "network namespaces": len(
            {os.readlink(f"/proc/{child}/ns/net") for child in children.read_text().split()}
        ),
        "processes": len(children.read_text().split()),
        "database, kB": sum(f.stat().st_size // 1024 for f in agent.data_root.glob("cgagent.db*")),
        "files": sum(1 for _ in agent.data_root.rglob("*")),
        **{f"descriptors of {n}": len(os.listdir(f"/proc/{p}/fd")) for n, p in processes.items()},
        **{f"memory of {n}, kB": _memory_kb(p) for n, p in processes.items()},
    }


def _round(agent: Agent, number: int) -> None:
    """One container, in one of the ways it can go."""
    if number % 10 == 0:
        one = agent.launch("sleep", "1000")
        agent.exec(one, "true")
        agent.remove(one)
    elif agent.run("sh", "-c", "echo x >/file; echo out; exit 3").exit_code != 3:
        raise RuntimeError(f"round {number}: the wrong exit code")


def soak(agent: Agent, rounds: int) -> bool:
    """Whether nothing grew."""
    for number in range(_WARM_UP + rounds // _WARM_PART):
        _round(agent, number)
    before, begin = _counts(agent), time.monotonic()
    for number in range(rounds):
        _round(agent, number)
    seconds = time.monotonic() - begin
    after = _counts(agent)
    clean = True
    print(f"{'':24}{'before':>10}{'after':>10}")
    for name, count in before.items():
        allowed = _GROWTH_KB if name.endswith("kB") else 0
        grew = after[name] - count > allowed
        clean = clean and not grew
        print(f"{name:24}{count:>10}{after[name]:>10}{'  grew' if grew else ''}")
    print(f"{rounds} rounds in {seconds:.1f} s, {1000 * seconds / rounds:.1f} ms each")
    return clean


def _kill_amid(agent: Agent, operations: int) -> None:
    seed = time.time_ns()
    print(f"seed {seed}")
    chaos = Chaos(agent, seed)
    for number in range(operations):
        chaos.step()
        if number % 100 == 0:
            chaos.check()
    chaos.finish()
    print(f"{operations} operations, killed: {chaos.deaths}")


def _kill_amid_images(agent: Agent, count: int) -> None:
    seed = time.time_ns()
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix=naming.FOLDER_PREFIX) as folder:
        print(f"killed amid {imagekills.kill(agent, Path(folder), count, seed)}")


def _fuzz_images(rounds: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix=naming.FOLDER_PREFIX) as folder,
        disks.tmpfs(Path(folder) / "fuzz") as place,
        closing(Fuzz(place)) as fuzz,
    ):
        fuzz.layers(rounds // 2)
        fuzz.documents(rounds // 2)
        print(f"archives: {fuzz.outcomes}")


def _cut_the_power(count: int) -> None:
    seed = time.time_ns()
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix=naming.FOLDER_PREFIX) as folder, Registry() as registry:
        print(f"power cuts: {powercuts.cut(Path(folder), registry, count, seed)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--deaths", type=int, default=0, metavar="OPERATIONS")
    parser.add_argument("--image-kills", type=int, default=0, metavar="N")
    parser.add_argument("--image-fuzz", type=int, default=0, metavar="N")
    parser.add_argument("--power-cuts", type=int, default=0, metavar="N")
    args = parser.parse_args()
    hosts.leave_the_machines_network()
    if args.image_fuzz:
        _fuzz_images(args.image_fuzz)
    if args.power_cuts:
        _cut_the_power(args.power_cuts)
    os.makedirs(guest.STATE_FOLDER, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=naming.FOLDER_PREFIX, dir=guest.STATE_FOLDER) as folder,
        Agent(Path(folder)) as agent,
    ):
        agent.load(images.alpine_docker_archive())
        if args.deaths:
            _kill_amid(agent, args.deaths)
        if args.image_kills:
            _kill_amid_images(agent, args.image_kills)
        clean = soak(agent, args.rounds)
    sys.exit(0 if clean else 1)


if __name__ == "__main__":
    main()
