"""How a v1 group's CPU time is divided, by files of several hierarchies."""

import pytest

from cgagent.cgroups.cpu import CpuV1


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
