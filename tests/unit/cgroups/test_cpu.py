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
    for directory, quota in ((tmp_path, -1), (tmp_path / "one", 50_000), (tmp_path / "two", -1)):
        directory.mkdir(exist_ok=True)
        (directory / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (directory / "cpu.cfs_period_us").write_text("100000\n")
    meter = CpuV1(str(tmp_path), "")
    with pytest.raises(InvalidInputError, match="one, has 50000 of each 100000 us, and may not"):
        meter.writes(Limits(cpu_quota_us=20_000, cpu_period_us=100_000))
    assert meter.writes(Limits(cpu_quota_us=50_000, cpu_period_us=100_000))
