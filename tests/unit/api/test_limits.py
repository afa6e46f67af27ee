"""What a limit of zero is in a body: docker's API has zero for what is not asked for."""

import pytest

from cgagent.api.native.schemas import ChangeBody, GroupBody, LimitsBody, UpdateBody
from cgagent.cgroups import UNLIMITED, IoMax, Limits
from cgagent.engine.options.limits import Conveniences

ZEROS = {
    name: 0
    for name in LimitsBody.model_fields
    if name.startswith(("memory_", "cpu_", "io_weight", "blkio_weight"))
    and not name.endswith(("swap_max_bytes", "swappiness", "idle", "device"))
} | {"cpus": 0, "cpuset_cpus": "", "cpuset_mems": "", "io_max": [], "conf": []}


def test_all_that_is_zero_is_not_asked_for():
    body = LimitsBody(**ZEROS, memory_swappiness=-1)
    assert body.limits() == Limits()
    assert body.conveniences() == Conveniences()
    assert UpdateBody(memory_max_bytes=0, cpu_shares=0).limits() == Limits()


def test_what_docker_has_as_no_limit():
    body = LimitsBody(cpu_quota_us=-1, cpu_rt_runtime_us=-1, pids_max=-1, memory_swap_bytes=-1)
    assert body.limits() == Limits(
        cpu_quota_us=UNLIMITED, cpu_rt_runtime_us=UNLIMITED, pids_max=UNLIMITED
    )
    assert body.conveniences().memory_swap_bytes == -1
    assert LimitsBody(pids_max=0).limits() == Limits(pids_max=UNLIMITED)


def test_devices():
    body = LimitsBody(
        io_max=[{"major": 8, "minor": 0, "rbps": 0, "wiops": 5}],
        blkio_weight_device=[{"major": 8, "minor": 0, "weight": 0}],
    )
    assert body.limits() == Limits(io_max=(IoMax(major=8, minor=0, rbps=UNLIMITED, wiops=5),))


def test_zeros_that_are_limits():
    swap = {"memory_swap_max_bytes": 0, "memory_zswap_max_bytes": 0, "memory_swappiness": 0}
    assert LimitsBody(**swap).limits() == Limits(**swap)
    huge = LimitsBody(hugetlb_max_bytes=[("2MB", 0)]).limits()
    assert huge == Limits(hugetlb_max_bytes=(("2MB", 0),))
    no = {"cpu_idle": False, "oom_group": False, "oom_kill_disable": False}
    assert LimitsBody(**no).limits() == Limits(**no)


@pytest.mark.parametrize(
    "values", [{"memory_min_bytes": 0}, {"cpu_burst_us": 0, "cpuset_cpus": ""}]
)
def test_a_change_can_take_back_what_docker_has_not(values):
    for body in (
        ChangeBody(**values),
        UpdateBody(**values),
        GroupBody(action="set", limits=values).limits,
    ):
        assert body.limits() == Limits(**values)
