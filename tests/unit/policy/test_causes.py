"""Made situations, and the cause that each is to be told by."""

from dataclasses import replace

import pytest

from cgagent.cgroups import UNLIMITED, Cpu, IoMax, Limits, Memory, Pids, Pressure, Psi, Stall, Usage
from cgagent.policy.causes import (
    DeviceUse,
    Disk,
    Figures,
    Group,
    Machine,
    Neighbour,
    OomReport,
    Situation,
    averaged,
    between,
    causes,
    verdict,
)

MIB = 1 << 20
QUIET = Figures(cpu_cores=0.0, throttled=0.0, cpu_some=0.0, memory_some=0.0, io_some=0.0)
IDLE = Machine(
    cpus={0: 0.05, 1: 0.05}, cores=2, memory_bytes=4096 * MIB, available_bytes=3000 * MIB
)
FULL = replace(IDLE, cpus={0: 1.0, 1: 1.0}, running=6, load=5.5, cpu_some=0.9)
SLOW = replace(IDLE, disks={"8:0": Disk(name="/dev/sda", busy=0.98, latency_ms=12.0)})


def group(path="/cgagent/web", container="web", limits=None, ours=True, **figures):
    return Group(
        path=path,
        container=container,
        ours=ours,
        limits=Limits(**limits or {}),
        figures=replace(QUIET, **figures),
        directories=dict.fromkeys(("cpu", "memory", "pressure", "io"), f"/sys/fs/cgroup{path}"),
    )


def above(limits=None, path="/cgagent", **figures):
    return group(path, None, limits, **figures)


def beside(name="noisy", path="/cgagent/noisy", of="/cgagent/web", limits=None, **figures):
    return Neighbour(group=group(path, name, limits, **figures), beside=of)


def situation(own, *rest, machine=IDLE, neighbours=(), **more):
    return Situation(
        span_s=1.0, chain=(own, *rest), neighbours=tuple(neighbours), machine=machine, **more
    )


HALF = {"cpu_quota_us": 50_000, "cpu_period_us": 100_000}
WAITS = {"cpu_some": 0.7}
STALLS = {"memory_some": 0.4, "memory_full": 0.3}
SMALL = {"memory_max_bytes": 64 * MIB}
FILLED = {"memory_bytes": 64 * MIB}
READS = {"io_some": 0.6, "io": {"8:0": DeviceUse(read_bytes=MIB, reads=16)}}
CAP = {"io_max": (IoMax(major=8, minor=0, rbps=MIB),)}

MADE = {
    "nothing": (situation(group()), None, None, None),
    "busy and alone": (situation(group(cpu_cores=1.0, cpu_some=0.01)), None, None, None),
    "a limit reached without a stall": (
        situation(group(limits=SMALL, **FILLED, max_hits=900, memory_some=0.01)),
        *(None, None, None),
    ),
    "its quota": (
        situation(group(limits=HALF, throttled=0.5, cpu_some=0.5, cpu_cores=0.5)),
        *("cpu-quota", "/cgagent/web", "cgagent update --cpus 1 web"),
    ),
    "its quota, without pressure figures": (
        situation(group(limits=HALF, throttled=0.5, cpu_some=None, cpu_cores=0.5)),
        *("cpu-quota", "/cgagent/web", "cgagent update --cpus 1 web"),
    ),
    "a quota above it": (
        situation(group(**WAITS, cpu_cores=0.3), above(limits=HALF, throttled=0.9)),
        *("cpu-quota", "/cgagent", "cgagent cgroup set --cpus 2 /cgagent"),
    ),
    "a quota above it that it does not notice": (
        situation(group(), above(limits=HALF, throttled=0.9)),
        *(None, None, None),
    ),
    "a quota of somebody else's group above it": (
        situation(group(**WAITS), above(limits=HALF, throttled=0.9, path="/a b", ours=False)),
        *("cpu-quota", "/a b", "cgagent cgroup set --force --cpus 2 '/a b'"),
    ),
    "a quota of a container in the group": (
        situation(
            above(cpu_some=0.7, cpu_cores=0.5),
            below=(group(limits=HALF, throttled=0.5, cpu_cores=0.5),),
        ),
        *("cpu-quota", "/cgagent/web", "cgagent update --cpus 1 web"),
    ),
    "a pinned set that it fills": (
        situation(
            group(limits={"cpuset_cpus": "0"}, **WAITS, cpu_cores=0.95),
            machine=replace(IDLE, cpus={0: 1.0, 1: 0.9}),
        ),
        *("cpuset", "/cgagent/web", "cgagent update --cpuset-cpus 0-1 web"),
    ),
    "a pinned set above it, with others in it": (
        situation(
            group(limits={"cpuset_cpus": "1"}, **WAITS, cpu_cores=0.3),
            above(limits={"cpuset_cpus": "1"}),
            machine=replace(IDLE, cpus={0: 0.1, 1: 1.0}),
            neighbours=[beside(cpu_cores=0.7)],
        ),
        *("cpuset", "/cgagent", "cgagent cgroup set --cpuset-cpus 0-1 /cgagent"),
    ),
    "more threads than CPUs": (
        situation(group(**WAITS, cpu_cores=1.9), machine=FULL),
        *("cpu-own", "/cgagent/web", None),
    ),
    "a low weight": (
        situation(
            group(limits={"cpu_shares": 2}, cpu_some=0.9, cpu_cores=0.1),
            machine=FULL,
            neighbours=[beside(cpu_cores=1.9, limits={"cpu_shares": 1024})],
        ),
        *("cpu-weight", "/cgagent/web", "cgagent update --cpu-weight 100 web"),
    ),
    "idle beside others": (
        situation(
            group(limits={"cpu_idle": True}, cpu_some=0.9),
            machine=FULL,
            neighbours=[beside(cpu_cores=1.9)],
        ),
        *("cpu-weight", "/cgagent/web", "cgagent update --no-cpu-idle --cpu-weight 100 web"),
    ),
    "a low weight of the group above it": (
        situation(
            group(cpu_some=0.9, path="/team/web"),
            above(limits={"cpu_weight": 1}, path="/team"),
            machine=FULL,
            neighbours=[
                beside(None, "/cgagent", "/team", cpu_cores=1.9),
                beside("noisy", "/cgagent/noisy", "/team", cpu_cores=1.9),
            ],
        ),
        *("cpu-weight", "/team", "cgagent cgroup set --cpu-weight 100 /team"),
    ),
    "a neighbour on the CPU": (
        situation(
            group(cpu_some=0.5, cpu_cores=0.5),
            machine=FULL,
            neighbours=[beside(cpu_cores=1.4), beside("calm", "/cgagent/calm", cpu_cores=0.1)],
        ),
        *("cpu-neighbour", "/cgagent/noisy", "cgagent update --cpus 0.7 noisy"),
    ),
    "a neighbour deep in a group of the host": (
        situation(
            group(cpu_some=0.5, cpu_cores=0.5),
            above(),
            machine=FULL,
            neighbours=[
                beside(
                    None,
                    "/system.slice",
                    "/cgagent",
                    cpu_cores=1.4,
                ),
                beside(None, "/system.slice/job", "/cgagent", cpu_cores=1.38),
                beside(None, "/system.slice/job2", "/cgagent", cpu_cores=0.02),
            ],
        ),
        *("cpu-neighbour", "/system.slice/job", "cgagent cgroup set --cpus 0.7 /system.slice/job"),
    ),
    "the host out of CPU": (
        situation(
            group(cpu_some=0.8, cpu_cores=0.3),
            machine=FULL,
            neighbours=[beside(str(n), f"/cgagent/{n}", cpu_cores=0.25) for n in range(6)],
        ),
        *("cpu-host", "/", "cgagent update --cpu-weight 400 web"),
    ),
    "tasks that wait, where there is no pressure": (
        situation(group(cpu_some=None, run_delay=0.5, cpu_cores=0.5), machine=FULL),
        *("cpu-host", "/", None),
    ),
    "memory.high": (
        situation(
            group(
                limits={"memory_high_bytes": 64 * MIB}, **FILLED, **STALLS, high_hits=50, max_hits=0
            )
        ),
        *("memory-high", "/cgagent/web", "cgagent update --memory-high 96m web"),
    ),
    "memory.max": (
        situation(group(limits=SMALL, **FILLED, **STALLS, max_hits=50, refault_file=5000)),
        *("memory-max", "/cgagent/web", "cgagent update --memory 96m web"),
    ),
    "memory.max, and what it took is read again": (
        situation(
            group(
                limits=SMALL,
                **FILLED,
                memory_some=0.02,
                max_hits=50,
                refault_file=5000,
                io_some=0.6,
                io={"8:0": DeviceUse(read_bytes=20 * MIB, reads=100)},
            ),
            machine=SLOW,
        ),
        *("memory-max", "/cgagent/web", "cgagent update --memory 96m web"),
    ),
    "a limit that counts no hits": (
        situation(group(limits=SMALL, **FILLED, **STALLS, max_hits=0)),
        *("memory-max", "/cgagent/web", "cgagent update --memory 96m web"),
    ),
    "memory.max of v1 without pressure": (
        situation(group(limits=SMALL, **FILLED, memory_some=None, max_hits=50)),
        *("memory-max", "/cgagent/web", "cgagent update --memory 96m web"),
    ),
    "memory.max of the group above it, which a neighbour fills": (
        situation(
            group(**STALLS, memory_bytes=8 * MIB),
            above(limits=SMALL, **FILLED, max_hits=70),
            neighbours=[beside(memory_bytes=50 * MIB)],
        ),
        *("memory-max", "/cgagent", "cgagent cgroup set --memory 96m /cgagent"),
    ),
    "swap that is thrashed": (
        situation(
            group(
                limits=SMALL,
                **FILLED,
                **STALLS,
                max_hits=50,
                refault_anon=4000,
                refault_file=20,
                swap_bytes=64 * MIB,
                io_some=0.4,
            )
        ),
        *("swap", "/cgagent/web", "cgagent update --memory 128m web"),
    ),
    "swap of the host": (
        situation(group(**STALLS, refault_anon=4000, memory_bytes=40 * MIB, swap_bytes=20 * MIB)),
        *("swap", "/", "cgagent update --memory-low 60m web"),
    ),
    "a neighbour that has the host's memory": (
        situation(
            group(**STALLS),
            machine=replace(IDLE, available_bytes=100 * MIB),
            neighbours=[beside(memory_bytes=3000 * MIB)],
        ),
        *("memory-neighbour", "/cgagent/noisy", "cgagent update --memory 1500m noisy"),
    ),
    "the host short of memory": (
        situation(group(**STALLS), machine=replace(IDLE, available_bytes=100 * MIB)),
        *("memory-host", "/", None),
    ),
    "its cap of a disk": (
        situation(group(limits=CAP, **READS), machine=SLOW),
        *("io-max", "/cgagent/web", "cgagent update --device-read-bps /dev/sda:2048k web"),
    ),
    "a cap of the group above it": (
        situation(group(**READS), above(limits=CAP, io=READS["io"]), machine=SLOW),
        *("io-max", "/cgagent", "cgagent cgroup set --device-read-bps /dev/sda:2048k /cgagent"),
    ),
    "a cap on another disk": (
        situation(
            group(limits=CAP, io_some=0.5, io={"8:16": DeviceUse(reads=30)}),
            machine=replace(IDLE, disks={"8:16": Disk(name="sdb", busy=0.9)}),
        ),
        *("io-own", "/cgagent/web", None),
    ),
    "a disk that it keeps busy": (
        situation(group(**READS), machine=SLOW),
        *("io-own", "/cgagent/web", None),
    ),
    "a neighbour on the disk": (
        situation(
            group(**READS),
            machine=SLOW,
            neighbours=[beside(io={"8:0": DeviceUse(write_bytes=80 * MIB, writes=400)})],
        ),
        *("io-neighbour", "/cgagent/noisy", "cgagent update --device-write-bps /dev/sda:40m noisy"),
    ),
    "a disk that is slow": (
        situation(
            group(**READS),
            machine=replace(SLOW, disks={"8:0": Disk(name="/dev/sda", busy=0.3, latency_ms=30.0)}),
        ),
        *("io-device", "/", None),
    ),
    "its limit of tasks": (
        situation(group(limits={"pids_max": 10}, pids=10, forks_refused=5)),
        *("pids-limit", "/cgagent/web", "cgagent update --pids-limit 20 web"),
    ),
    "a limit of tasks above it": (
        situation(
            group(limits={"pids_max": UNLIMITED}, pids=8, forks_refused=5),
            above(limits={"pids_max": 10}, pids=10, forks_refused=0),
        ),
        *("pids-limit", "/cgagent", "cgagent cgroup set --pids-limit 20 /cgagent"),
    ),
    "forks that were refused, by whom is counted": (
        situation(
            group(limits={"pids_max": 100}, pids=8, forks_refused=0),
            above(limits={"pids_max": 10}, pids=8, forks_refused=5),
        ),
        *("pids-limit", "/cgagent", "cgagent cgroup set --pids-limit 20 /cgagent"),
    ),
    "the OOM killer": (
        situation(group(limits=SMALL, oom_kills=3, max_hits=50)),
        *("oom", "/cgagent/web", "cgagent update --memory 128m web"),
    ),
    "the OOM killer, by the report": (
        situation(
            group(oom_kills=0),
            above(limits=SMALL),
            oom=OomReport(limiting_group="/cgagent", victims=1, limit_bytes=1, age_s=9),
        ),
        *("oom", "/cgagent", "cgagent cgroup set --memory 128m /cgagent"),
    ),
    "the OOM killer of the host": (
        situation(group(oom_kills=1, memory_bytes=8 * MIB)),
        *("oom", "/", "cgagent update --memory-low 8m web"),
    ),
    "frozen": (
        situation(replace(group(**WAITS), is_frozen=True)),
        *("frozen", "/cgagent/web", "cgagent thaw web"),
    ),
    "frozen above": (
        situation(group(), replace(above(), is_frozen=True)),
        *("frozen", "/cgagent", "cgagent cgroup thaw /cgagent"),
    ),
    "frozen with a group of containers": (
        situation(group(), replace(above(), is_frozen=True, name="team-a")),
        *("frozen", "/cgagent", "cgagent group thaw team-a"),
    ),
    "a limit of a group of containers": (
        situation(
            group(limits={"pids_max": 100}, pids=8, forks_refused=0),
            replace(above(limits={"pids_max": 10}, pids=8, forks_refused=5), name="team-a"),
        ),
        *("pids-limit", "/cgagent", "cgagent group update --pids-limit 20 team-a"),
    ),
    "huge pages": (
        situation(group(limits={"hugetlb_max_bytes": (("2MB", 4 * MIB),)}, hugetlb_refused=2)),
        *("hugetlb-limit", "/cgagent/web", "cgagent update --hugetlb 2MB:8m web"),
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_the_first_cause(name):
    made, kind, path, command = MADE[name]
    found = causes(made)
    first = found[0] if found else None
    assert (first and first.kind) == kind, found
    if first is None:
        assert verdict(found) == "nothing holds it back"
        return
    assert first.group == path
    assert verdict(found) == first.says
    assert all(evidence.what for evidence in first.evidence)
    assert first.share is None or 0 < first.share <= 1
    if command:
        assert first.commands[0] == command


def test_nothing_is_advised_that_would_change_the_root_group():
    of_host = group("/", None, cpu_cores=1.0, **WAITS, **STALLS)
    short = replace(FULL, available_bytes=100 * MIB)
    found = causes(situation(of_host, machine=short))
    assert {cause.kind for cause in found} == {"cpu-host", "memory-host"}
    assert [cause.commands for cause in found] == [(), ()]


def test_what_fails_comes_before_what_waits_and_more_of_the_time_before_less():
    own = group(
        limits={**HALF, **SMALL, "pids_max": 5},
        **{**FILLED, "memory_some": 0.2, "max_hits": 9, "pids": 5, "throttled": 0.6},
        cpu_some=0.7,
        cpu_cores=0.5,
    )
    machine = replace(FULL, cpus={0: 0.5, 1: 0.5})
    found = causes(situation(own, machine=machine))
    assert [c.kind for c in found] == ["pids-limit", "cpu-quota", "memory-max", "cpu-host"]
    assert [c.share for c in found] == [None, 0.6, 0.2, pytest.approx(0.1)]


def test_several_quotas_are_no_more_than_the_time_that_was_waited():
    own = group(limits=HALF, throttled=0.8, cpu_some=0.6, cpu_cores=0.4)
    found = causes(situation(own, above(limits=HALF, throttled=0.4)))
    assert [round(c.share, 2) for c in found] == [0.4, 0.2]
    assert all(
        e.file.startswith("/sys/fs/cgroup/") for c in found for e in c.evidence if "quota" in e.what
    )


def stall(total_s):
    return Stall(avg10=0.0, avg60=0.0, avg300=0.0, total_ns=int(total_s * 1e9))


def usage(**values):
    cpu = Cpu(usage_ns=values.get("cpu"), throttled_ns=values.get("throttled"))
    memory = Memory(
        current_bytes=5, failcnt=values.get("failcnt"), events_local=values.get("events")
    )
    psi = Psi(some=stall(values["psi"])) if "psi" in values else None
    return Usage(
        cpu=cpu,
        memory=memory,
        io=(),
        pids=Pids(current=3, refused=values.get("refused")),
        pressure=Pressure(cpu=psi),
        frozen=False,
    )


def test_figures_of_two_readings():
    found = between(
        usage(cpu=10**9, throttled=0, psi=1, failcnt=4, refused=1),
        usage(cpu=2 * 10**9, throttled=10**9, psi=2.5, failcnt=9, refused=1),
        2.0,
    )
    assert (found.cpu_cores, found.throttled, found.cpu_some) == (0.5, 0.5, 0.75)
    assert (found.max_hits, found.forks_refused, found.pids, found.memory_some) == (5, 0, 3, None)
    restarted = between(usage(cpu=10**9, failcnt=4), usage(cpu=1, failcnt=0), 1.0)
    assert (restarted.cpu_cores, restarted.max_hits) == (None, None)


def test_figures_of_a_history_tell_a_quota_and_a_full_limit():
    kept = {
        "at_s": [1.0, 2.0],
        "cpu_cores": [0.5, 0.5],
        "throttled_ratio": [1.0, None],
        "cpu_stalled_ratio": [0.5, 0.7],
        "memory_bytes": [9.0, 9.0],
    }
    figures = averaged(kept)
    assert (figures.cpu_cores, figures.throttled, figures.cpu_some) == (0.5, 1.0, 0.6)
    full = replace(figures, memory_bytes=64 * MIB, memory_some=0.3)
    own = replace(group(limits={**HALF, **SMALL}), figures=full)
    assert [c.kind for c in causes(situation(own))] == ["cpu-quota", "memory-max"]
