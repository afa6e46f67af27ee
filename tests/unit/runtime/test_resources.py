import pytest

from cgagent.cgroups import CONTAINER_DEVICES, UNLIMITED, DeviceRule, IoMax, IoWeight, Limits
from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.runtime.spec import resources

FULL = {
    "memory": {"limit": 1000, "swap": 1500, "reservation": 500, "swappiness": 0},
    "cpu": {"shares": 512, "quota": 5000, "period": 10000, "cpus": "0-1", "mems": "0", "idle": 1},
    "pids": {"limit": 0},
    "blockIO": {
        "weight": 100,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 200}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 300}],
    },
    "hugepageLimits": [{"pageSize": "2MB", "limit": 4}],
    "unified": {"io.max": "8:0 rbps=1\n8:16 wbps=2", "memory.high": "5"},
    "rdma": {"mlx": {"hcaHandles": 2, "hcaObjects": 3}},
}


def test_every_section():
    assert resources.limits(FULL) == Limits(
        memory_max_bytes=1000,
        memory_swap_max_bytes=500,
        memory_low_bytes=500,
        memory_swappiness=0,
        cpu_shares=512,
        cpu_quota_us=5000,
        cpu_period_us=10000,
        cpu_idle=True,
        cpuset_cpus="0-1",
        cpuset_mems="0",
        pids_max=0,
        blkio_weight=100,
        blkio_weight_device=(IoWeight(major=8, minor=0, weight=200),),
        io_max=(IoMax(major=8, minor=0, rbps=600, wiops=300),),
        hugetlb_max_bytes=(("2MB", 4),),
        conf=(
            ("rdma.max", "mlx hca_handle=2 hca_object=3"),
            ("io.max", "8:0 rbps=1"),
            ("io.max", "8:16 wbps=2"),
            ("memory.high", "5"),
        ),
    )


@pytest.mark.parametrize("empty", [{}, {"memory": None}, {"cpu": {"shares": 0, "cpus": ""}}])
def test_nothing_asked(empty):
    assert resources.limits(empty) == Limits()


def test_minus_one_is_no_limit():
    asked = {"memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1}}
    assert resources.limits(asked) == Limits(
        memory_max_bytes=UNLIMITED,
        memory_swap_max_bytes=UNLIMITED,
        pids_max=UNLIMITED,
        cpu_quota_us=UNLIMITED,
    )


def test_swap_alone_makes_no_sense():
    with pytest.raises(InvalidInputError, match="needs a limit of memory"):
        resources.limits({"memory": {"swap": 5}})


def test_a_device_without_a_weight_makes_no_sense():
    with pytest.raises(InvalidInputError, match="weightDevice: 8:16 has no weight"):
        resources.limits({"blockIO": {"weightDevice": [{"major": 8, "minor": 16}]}})


@pytest.mark.parametrize(
    "section",
    [
        {"network": {"classID": 1}},
        {"blockIO": {"leafWeight": 9}},
        {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 9, "leafWeight": 9}]}},
    ],
)
def test_what_has_no_place_is_refused(section):
    with pytest.raises(UnsupportedError, match="not supported"):
        resources.limits(section)


def test_devices_end_with_what_every_container_has():
    asked = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": -1, "access": "rw"},
    ]
    first, second, *rest = resources.device_rules({"devices": asked})
    assert first == DeviceRule("a", allow=False)
    assert second == DeviceRule("c", 10, None, "rw")
    assert tuple(rest) == CONTAINER_DEVICES
    with pytest.raises(InvalidInputError, match="not one of"):
        resources.device_rules({"devices": [{"type": "u", "allow": True}]})
