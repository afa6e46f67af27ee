import pytest

from cgagent.cgroups import UNLIMITED, IoMax, IoWeight, Limits
from cgagent.errors import InvalidInputError


@pytest.mark.parametrize(
    "wrong",
    [
        {"cpu_weight": 0},
        {"cpu_weight": 10_001},
        {"cpu_shares": 1},
        {"io_weight": 0},
        {"blkio_weight": 1001},
        {"pids_max": -1},
        {"memory_max_bytes": -1},
        {"memory_swappiness": 201},
    ],
)
def test_values_out_of_range(wrong):
    with pytest.raises(InvalidInputError, match=f"limit {next(iter(wrong))}"):
        Limits(**wrong)


@pytest.mark.parametrize(
    "both", [{"cpu_weight": 1, "cpu_shares": 2}, {"io_weight": 1, "blkio_weight": 10}]
)
def test_two_units_of_one_limit(both):
    with pytest.raises(InvalidInputError, match="give one"):
        Limits(**both)


def test_either_unit_can_be_read():
    assert Limits(cpu_shares=1024).weight == 100
    assert Limits(cpu_weight=100).shares == 1024
    assert Limits(cpu_shares=500).shares == 500
    assert Limits().weight is None
    assert Limits().shares is None


def test_only_what_is_asked_is_listed():
    limits = Limits(pids_max=UNLIMITED, cpu_idle=False, cpuset_cpus="")
    assert dict(limits) == {"pids_max": UNLIMITED, "cpu_idle": False, "cpuset_cpus": ""}


@pytest.mark.parametrize("text", ["", "0", "0-3,7", "0-3, 7", "0-7:1/2,9", "0-N", "all", "1,\n"])
def test_lists_of_cpus_as_the_kernel_reads_them(text):
    assert Limits(cpuset_cpus=text, cpuset_mems=text).cpuset_cpus == text


def test_merging_prefers_the_later_wish_in_whichever_unit():
    held = Limits(cpu_shares=500, pids_max=5, io_weight=7)
    assert held.merged(Limits(cpu_weight=100)) == Limits(cpu_weight=100, pids_max=5, io_weight=7)
    assert held.merged(Limits(blkio_weight=20, pids_max=6)) == Limits(
        cpu_shares=500, pids_max=6, blkio_weight=20
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"io_weight_device": (IoWeight(major=8, minor=0, weight=10_001),)},
        {"blkio_weight_device": (IoWeight(major=8, minor=0, weight=0),)},
        {"cpu_rt_period_us": -1},
        {"cpuset_cpus": "x-y"},
        {"cpuset_cpus": "3-1"},
        {"cpuset_cpus": "0-"},
        {"cpuset_mems": "0;1"},
        {"io_max": (IoMax(major=8, minor=0, rbps=0),)},
        {"io_max": (IoMax(major=8, minor=0, wiops=2**32),)},
    ],
)
def test_values_that_no_kernel_takes(wrong):
    with pytest.raises(InvalidInputError, match=f"limit {next(iter(wrong))}"):
        Limits(**wrong)
