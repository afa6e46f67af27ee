"""Random updates of a live group: the kernel holds what was asked, or what it held before."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cgagent.cgroups import UNLIMITED, Host, IoMax, Limits
from cgagent.errors import CgagentError
from tests.world.naming import cgroup_path

pytestmark = pytest.mark.system

MIB = 2**20
IN_GUEST = "CGAGENT_TEST_MODE" in os.environ
RUNS, STEPS = (4, 25) if IN_GUEST else (20, 50)

BYTES = st.one_of(st.integers(MIB, 2**34), st.just(UNLIMITED))
RATES = st.one_of(st.integers(4096, 2**40), st.just(UNLIMITED))
OPERATIONS = st.one_of(st.integers(1, 2**32 - 1), st.just(UNLIMITED))
QUOTAS = st.one_of(st.integers(0, 200_000), st.just(UNLIMITED))
CPUSETS = st.sampled_from(["0", "0-1", "1", "", "999", "4000", "0,0", "0-999"])


def disk():
    for name in ("vda", "sda", "nvme0n1"):
        if os.path.exists(f"/sys/block/{name}/dev"):
            with open(f"/sys/block/{name}/dev") as file:
                return tuple(map(int, file.read().split(":")))
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
FIELDS = {
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
def updates(draw):
    names = draw(st.sampled_from(SETS))
    chosen = draw(st.sets(st.sampled_from(names), min_size=1, max_size=4))
    return Limits(**{name: draw(FIELDS[name]) for name in sorted(chosen)})


class Updates(RuleBasedStateMachine):
    """The model is what was asked and taken so far."""

    accepted = 0
    refused = 0

    @initialize()
    def create(self):
        self.group = Host.detect().group(cgroup_path())
        self.group.create()
        self.model = Limits()
        self.held = self.group.held()

    @rule(asked=updates())
    def apply(self, asked):
        try:
            self.group.apply(asked)
        except CgagentError as error:
            assert error.message.startswith("limit ")  # noqa: PT017 - either outcome is right
            type(self).refused += 1
            assert self.group.held() == self.held
        else:
            type(self).accepted += 1
            self.model = self.model.merged(asked)
            self.held = self.group.held()
            assert asked.diff(self.held) == ()

    @invariant()
    def the_kernel_holds_the_model(self):
        if hasattr(self, "group"):
            assert self.model.diff(self.group.held()) == ()

    def teardown(self):
        if hasattr(self, "group"):
            self.group.remove()


Updates.TestCase.settings = settings(
    max_examples=RUNS,
    stateful_step_count=STEPS,
    deadline=None,
    phases=[Phase.generate],  # shrinking would take longer than all the rest
    database=None,
    suppress_health_check=list(HealthCheck),
)


class TestUpdates(Updates.TestCase):
    def runTest(self):  # noqa: N802 - unittest's name
        super().runTest()
        # Both outcomes must have been seen, or this shows nothing.
        assert Updates.accepted > RUNS * STEPS / 10
        assert Updates.refused > RUNS * STEPS / 20
