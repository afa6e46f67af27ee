"""What is merely rounded is not drift; what somebody else wrote is."""

import dataclasses
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.cgroups import (
    UNLIMITED,
    Drift,
    IoLatency,
    IoMax,
    IoWeight,
    Limits,
    blkio_weight_to_io_weight,
    io_weight_to_blkio_weight,
    shares_to_weight,
    weight_to_shares,
)

PAGE = os.sysconf("SC_PAGE_SIZE")
MEMORY = [f.name for f in dataclasses.fields(Limits) if f.name.startswith("memory_m")]
V2 = {"memory_min_bytes": 0}  # a host with memory.min is one with cgroup v2's memory


@given(st.sampled_from(MEMORY), st.integers(0, 2**60))
def test_memory_is_held_in_pages(name, size):
    asked = Limits(**{name: size})
    assert asked.diff(Limits(**{name: size - size % PAGE})) == ()
    (drift,) = asked.diff(Limits(**{name: size + PAGE}))
    assert drift == Drift(name, size, size + PAGE)


def test_more_than_the_kernel_counts_is_no_limit():
    assert Limits(memory_max_bytes=2**63 - 1).diff(Limits(memory_max_bytes=UNLIMITED)) == ()
    assert Limits(memory_max_bytes=2**40).diff(Limits(memory_max_bytes=UNLIMITED)) != ()


def test_a_limit_without_a_file_is_drift():
    assert Limits(memory_high_bytes=5).diff(Limits()) == (Drift("memory_high_bytes", 5, None),)


def test_nothing_asked_never_drifts():
    assert Limits().diff(Limits(pids_max=7, memory_max_bytes=1)) == ()


def test_protection_on_v1():
    held = Limits(memory_low_bytes=0)
    assert Limits(memory_low_bytes=UNLIMITED).diff(held) == ()
    assert Limits(memory_low_bytes=UNLIMITED).diff(dataclasses.replace(held, **V2)) != ()


@given(st.integers(2, 262_144), st.integers(2, 262_144))
def test_cpu_weights_in_the_other_unit(shares, other):
    asked = Limits(cpu_shares=shares)
    assert asked.diff(Limits(cpu_weight=shares_to_weight(shares))) == ()
    assert bool(asked.diff(Limits(cpu_shares=other))) == (shares != other)
    changed = Limits(cpu_weight=shares_to_weight(other))
    assert bool(asked.diff(changed)) == (shares_to_weight(shares) != shares_to_weight(other))


@given(st.integers(1, 10_000))
def test_cpu_weights_held_as_shares(weight):
    assert Limits(cpu_weight=weight).diff(Limits(cpu_shares=weight_to_shares(weight))) == ()


def test_an_idle_group_shows_no_weight():
    assert Limits(cpu_weight=50, cpu_idle=True).diff(Limits(cpu_idle=True)) == ()
    drifts = Limits(cpu_weight=50).diff(Limits(cpu_idle=True))
    assert drifts == (Drift("cpu_weight", 50, None),)


@given(st.integers(10, 1000), st.integers(1, 10_000))
def test_io_weights_in_the_other_unit(blkio, io):
    assert Limits(blkio_weight=blkio).diff(Limits(io_weight=blkio_weight_to_io_weight(blkio))) == ()
    assert Limits(io_weight=io).diff(Limits(blkio_weight=io_weight_to_blkio_weight(io))) == ()
    device = IoWeight(major=8, minor=0, weight=io)
    held = IoWeight(major=8, minor=0, weight=io_weight_to_blkio_weight(io))
    assert Limits(io_weight_device=(device,)).diff(Limits(blkio_weight_device=(held,))) == ()


@pytest.mark.parametrize(
    ("asked", "held", "same"),
    [("0-2", "0,1,2", True), ("0,2", "0-2", False), ("", "0-7", True), (" 1 ", "1", True)],
)
def test_cpusets_are_sets(asked, held, same):
    assert (Limits(cpuset_cpus=asked).diff(Limits(cpuset_cpus=held)) == ()) is same


def test_io_caps_by_device():
    mine = IoMax(major=8, minor=0, rbps=5, wiops=2**32 - 1)
    held = IoMax(major=8, minor=0, rbps=5, wbps=7, riops=UNLIMITED, wiops=UNLIMITED)
    other = IoMax(major=8, minor=16, rbps=1)
    assert Limits(io_max=(mine,)).diff(Limits(io_max=(other, held))) == ()
    assert Limits(io_max=(IoMax(major=8, minor=0, rbps=UNLIMITED),)).diff(Limits(io_max=())) == ()
    drift = Drift("io_max", (other,), ())
    assert Limits(io_max=(mine, other)).diff(Limits(io_max=(held,))) == (drift,)


def test_latency_and_weights_taken_back_are_absent():
    target = IoLatency(major=8, minor=0, target_us=UNLIMITED)
    weight = IoWeight(major=8, minor=0)
    asked = Limits(io_latency=(target,), blkio_weight_device=(weight,))
    assert asked.diff(Limits(io_latency=(), blkio_weight_device=())) == ()
    late = IoLatency(major=8, minor=0, target_us=5)
    assert asked.diff(Limits(io_latency=(late,), blkio_weight_device=())) == (
        Drift("io_latency", (target,), (late,)),
    )


def test_huge_pages_are_held_in_their_size():
    asked = Limits(hugetlb_max_bytes=(("2MB", (5 << 20) + 1), ("1GB", UNLIMITED)))
    assert asked.diff(Limits(hugetlb_max_bytes=(("1GB", UNLIMITED), ("2MB", 4 << 20)))) == ()
    assert asked.diff(Limits(hugetlb_max_bytes=(("1GB", UNLIMITED), ("2MB", 2 << 20)))) != ()


def test_settings_by_file():
    asked = Limits(conf=(("misc.max", "sev 5"), ("pids.max", "7")))
    held = Limits(conf=(("misc.max", "sev_es 9\nsev 5"), ("pids.max", "7")))
    assert asked.diff(held) == ()
    assert asked.diff(Limits(conf=(("misc.max", "sev 6"), ("pids.max", "7")))) != ()
    partial = Limits(conf=(("rdma.max", "mlx4_0 hca_handle=2"),))
    assert partial.diff(Limits(conf=(("rdma.max", "mlx4_0 hca_handle=2 hca_object=max"),))) == ()
    assert partial.diff(Limits()) == (Drift("conf", partial.conf, None),)


@given(st.integers(8_000, 10**12))
def test_rates_are_held_in_whole_bytes(rate):
    asked = Limits(net_rate_in_bits=rate)
    assert asked.diff(Limits(net_rate_in_bits=rate // 8 * 8)) == ()
    assert asked.diff(Limits(net_rate_in_bits=UNLIMITED)) != ()
    (drift,) = asked.diff(Limits())
    assert drift == Drift("net_rate_in_bits", rate, None)
