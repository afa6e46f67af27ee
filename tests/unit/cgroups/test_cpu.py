"""How a v1 group's CPU time is divided, by files of several hierarchies."""

import pytest

from cgagent.cgroups import Limits
from cgagent.cgroups.cpu import CpuV1
from cgagent.errors import InvalidInputError


@pytest.mark.parametrize(
    ("total", "ticks", "unified", "expected"),
    [
        # Its tasks came into cgroup2 a millisecond before they came into cpuacct.
        ("8000000", "user 0\nsystem 0\n", "user_usec 6000\nsystem_usec 3000\n", 5_333_333),
        ("8000000000", "user 3\nsystem 1\n", "user_usec 7000\nsystem_usec 0\n", 6_000_000_000),
        ("8000000000", "user 3\nsystem 1\n", None, 6_000_000_000),
        ("8000000", "user 0\nsystem 0\n", "user_usec 0\nsystem_usec 0\n", 8_000_000),
    ],
)
def test_user_and_system_time_are_together_the_usage(total, ticks, unified, expected):
    cpu = CpuV1("", "", "/unified").usage((None, None, total, ticks, unified))
    assert cpu.user_ns == expected
    assert cpu.user_ns + cpu.system_ns == cpu.usage_ns == int(total)


def test_on_v1_a_share_is_no_smaller_than_that_of_a_group_below(tmp_path):
    """One without a quota has that of the group above it, and so has what is below that."""
    for name, quota in ((".", -1), ("one", 50_000), ("two", -1), ("two/deep", 60_000)):
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        (directory / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (directory / "cpu.cfs_period_us").write_text("100000\n")
    meter = CpuV1(str(tmp_path), "")
    for quota, holder in ((20_000, "one, has 50000"), (55_000, "two/deep, has 60000")):
        with pytest.raises(InvalidInputError, match=f"{holder} of each 100000 us, and may not"):
            meter.writes(Limits(cpu_quota_us=quota, cpu_period_us=100_000))
    assert meter.writes(Limits(cpu_quota_us=60_000, cpu_period_us=100_000))
