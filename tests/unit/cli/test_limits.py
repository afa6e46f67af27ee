import pytest

from cgagent.cli import limits
from cgagent.cli.flags import Flags
from cgagent.errors import InvalidInputError

MIB = 1 << 20


def request(*flags):
    parser = Flags(pytest.fail, prog="x")
    limits.add_flags(parser)
    return limits.request(parser.parse_args(flags))


@pytest.mark.parametrize(
    ("flags", "asked"),
    [
        ("", {}),
        ("-m 256m", {"memory_max_bytes": 256 * MIB}),
        ("--memory max", {"memory_max_bytes": "max"}),
        ("--memory 1g --memory-swap -1", {"memory_max_bytes": 1024 * MIB, "memory_swap_bytes": -1}),
        ("--memory-swap 2g", {"memory_swap_bytes": 2048 * MIB}),
        ("--memory-swap-max 0", {"memory_swap_max_bytes": 0}),
        ("--memory-reservation 8m", {"memory_low_bytes": 8 * MIB}),
        ("--memory-low 8m", {"memory_low_bytes": 8 * MIB}),
        (
            "--memory-high 8m --memory-min 4m",
            {"memory_high_bytes": 8 * MIB, "memory_min_bytes": 4 * MIB},
        ),
        ("--oom-group", {"oom_group": True}),
        ("--no-oom-group --no-cpu-idle", {"oom_group": False, "cpu_idle": False}),
        ("--no-oom-kill-disable", {"oom_kill_disable": False}),
        ("--cpus 0.5", {"cpus": 0.5}),
        ("--cpu-quota 50000 --cpu-period 100000", {"cpu_quota_us": 50000, "cpu_period_us": 100000}),
        ("--cpu-quota -1", {"cpu_quota_us": "max"}),
        ("-c 512", {"cpu_shares": 512}),
        ("--cpu-weight 50 --cpu-idle", {"cpu_weight": 50, "cpu_idle": True}),
        ("--cpuset-cpus 0-2,5 --cpuset-mems 0", {"cpuset_cpus": "0-2,5", "cpuset_mems": "0"}),
        ("--pids-limit 20", {"pids_max": 20}),
        ("--pids-limit -1", {"pids_max": "max"}),
        ("--pids-limit max", {"pids_max": "max"}),
        ("--io-weight 7", {"io_weight": 7}),
    ],
)
def test_flags(flags, asked):
    assert request(*flags.split()) == asked


def test_zero_is_not_given():
    """Docker's, for every limit that docker has; and -1 for the swappiness."""
    zeros = (
        *("--memory", "--memory-swap", "--memory-reservation", "--cpus", "--cpu-quota"),
        *("--cpu-period", "--cpu-shares", "--cpu-rt-period", "--cpu-rt-runtime", "--pids-limit"),
        *("--blkio-weight", "--memory-high", "--memory-min", "--cpu-weight", "--io-weight"),
    )
    for flag in zeros:
        assert request(flag, "0") == {}, flag
    assert request("--memory-swappiness", "-1") == {}
    assert request("--memory-swappiness", "0") == {"memory_swappiness": 0}
    assert request("--memory-swap-max", "0") == {"memory_swap_max_bytes": 0}
    assert request("--no-cpu-idle") == {"cpu_idle": False}


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("--memory lots", "--memory 'lots' is not a size"),
        ("--memory=-5m", "--memory '-5m' is not a size"),
        ("--cpus=-1", "--cpus '-1'"),
        ("--cpus nan", "--cpus 'nan'"),
        ("--cpus inf", "--cpus 'inf'"),
        ("--cpus two", "--cpus 'two'"),
        ("--pids-limit 1.5", "--pids-limit '1.5'"),
        ("--cpu-quota x", "--cpu-quota 'x'"),
        ("--device-read-bps /dev/null", "'/dev/null' must be PATH:RATE"),
        ("--device-read-bps /dev/null:1m", "/dev/null is not a block device"),
        ("--device-read-bps /no/such:1m", "device /no/such: no such file"),
    ],
)
def test_values_that_are_none(flags, complaint):
    with pytest.raises(InvalidInputError, match=complaint):
        request(*flags.split())
