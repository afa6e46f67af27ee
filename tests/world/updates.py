"""Random limits, and how many updates with them a test makes."""

import os
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from cgagent.cgroups import UNLIMITED, IoMax, Limits

MIB = 2**20
COUNT = int(
    os.environ.get("CGAGENT_TEST_UPDATES", "100" if "CGAGENT_TEST_MODE" in os.environ else "1000")
)
"""A guest takes fifteen times as long for each."""
STEPS = 25
RUNS = COUNT // STEPS

BYTES = st.one_of(st.integers(MIB, 2**34), st.just(UNLIMITED))
RATES = st.one_of(st.integers(4096, 2**40), st.just(UNLIMITED))
OPERATIONS = st.one_of(st.integers(1, 2**32 - 1), st.just(UNLIMITED))
QUOTAS = st.one_of(st.integers(0, 200_000), st.just(UNLIMITED))
CPUSETS = st.sampled_from(["0", "0-1", "1", "", "999", "4000", "0,0", "0-999"])


def disk() -> tuple[int, int]:
    for name in ("vda", "sda", "nvme0n1"):
        if os.path.exists(f"/sys/block/{name}/dev"):
            with open(f"/sys/block/{name}/dev") as file:
                major, _, minor = file.read().partition(":")
                return int(major), int(minor)
    return (999, 999)


MAJOR, MINOR = disk()
CAPS = st.builds(
    IoMax,
    major=st.just(MAJOR),
    minor=st.sampled_from([MINOR, MINOR, MINOR, 250]),
    rbps=RATES,
    wbps=RATES,
    riops=OPERATIONS,
    wiops=OPERATIONS,
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "memory_max_bytes": BYTES,
    "memory_swap_max_bytes": BYTES,
    "memory_low_bytes": BYTES,
    "memory_high_bytes": BYTES,
    "memory_swappiness": st.integers(0, 100),
    "oom_group": st.booleans(),
    "oom_kill_disable": st.booleans(),
    "cpu_weight": st.integers(1, 10_000),
    "cpu_quota_us": QUOTAS,
    "cpu_period_us": st.integers(500, 1_200_000),
    "cpu_burst_us": st.integers(0, 100_000),
    "cpuset_cpus": CPUSETS,
    "cpuset_mems": CPUSETS,
    "pids_max": st.one_of(st.integers(0, 5_000_000), st.just(UNLIMITED)),
    "blkio_weight": st.integers(1, 1000),
    "io_max": st.tuples(CAPS),
}
# Mostly what belongs together, so that orders and roll-backs are tried, and some of all.
SETS = [
    ("memory_max_bytes", "memory_swap_max_bytes"),
    ("memory_max_bytes", "memory_low_bytes", "pids_max"),
    ("cpu_quota_us", "cpu_period_us", "cpu_burst_us"),
    ("cpu_quota_us", "cpu_period_us", "cpuset_cpus"),
    ("pids_max", "cpu_weight", "io_max"),
    ("memory_max_bytes", "memory_swap_max_bytes", "cpuset_cpus", "cpuset_mems"),
    tuple(FIELDS),
]


@st.composite
def updates(draw: st.DrawFn) -> Limits:
    names = draw(st.sampled_from(SETS))
    chosen = draw(st.sets(st.sampled_from(names), min_size=1, max_size=4))
    return Limits(**{name: draw(FIELDS[name]) for name in sorted(chosen)})


SETTINGS = settings(
    max_examples=RUNS,
    stateful_step_count=STEPS,
    deadline=None,
    phases=[Phase.generate],  # shrinking would take longer than all the rest
    database=None,
    suppress_health_check=list(HealthCheck),
)
