import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.cgroups import UNLIMITED, IoMax, Limits
from cgagent.engine.options import limits
from cgagent.engine.options.limits import Conveniences
from cgagent.errors import InvalidInputError

MIB = 1 << 20
RATES = st.one_of(st.none(), st.just(UNLIMITED), st.integers(1, 2**32 - 1))
BYTES = st.one_of(st.none(), st.just(UNLIMITED), st.integers(0, 2**50))
IO = st.builds(
    IoMax,
    major=st.integers(0, 300),
    minor=st.integers(0, 300),
    **dict.fromkeys(("rbps", "wbps", "riops", "wiops"), RATES),
)
LIMITS = st.builds(
    Limits,
    memory_max_bytes=BYTES,
    memory_swap_max_bytes=BYTES,
    memory_low_bytes=BYTES,
    oom_group=st.sampled_from([None, True, False]),
    cpu_weight=st.one_of(st.none(), st.integers(1, 10_000)),
    cpu_quota_us=st.one_of(st.none(), st.just(UNLIMITED), st.integers(1000, 10**7)),
    cpuset_cpus=st.sampled_from([None, "0-3,7", ""]),
    pids_max=BYTES,
    io_max=st.one_of(st.none(), st.lists(IO, max_size=3).map(tuple)),
    hugetlb_max_bytes=st.one_of(st.none(), st.just((("2MB", 4 * MIB), ("1GB", UNLIMITED)))),
)


def test_as_the_kernel_keeps_them():
    page = os.sysconf("SC_PAGE_SIZE")
    asked = Limits(memory_max_bytes=10 * page + 1, net_rate_in_bits=8001, pids_max=7)
    kept = Limits(memory_max_bytes=10 * page, net_rate_in_bits=8000, pids_max=7)
    assert limits.as_kept(asked) == kept
    assert limits.as_kept(Limits(memory_max_bytes=UNLIMITED)).memory_max_bytes is UNLIMITED


@given(LIMITS)
def test_json_and_back(held):
    import json

    assert limits.from_json(json.loads(json.dumps(limits.to_json(held)))) == held


def test_json_has_what_is_set_and_max_for_unlimited():
    shown = limits.to_json(Limits(pids_max=UNLIMITED, memory_max_bytes=64 * MIB))
    assert shown == {"pids_max": "max", "memory_max_bytes": 64 * MIB}


def test_an_unknown_name_is_refused():
    with pytest.raises(InvalidInputError, match="limit 'memroy' is not known; known are"):
        limits.from_json({"memroy": 1})


def resolve(asked=None, current=None, **extra):
    return limits.resolve(asked or Limits(), Conveniences(**extra), current)


def test_cpus_become_quota_and_period():
    found = resolve(cpus=0.5)
    assert found.cpu_quota_us * 2 == found.cpu_period_us
    with pytest.raises(InvalidInputError, match="one limit"):
        resolve(Limits(cpu_quota_us=5000), cpus=0.5)


@pytest.mark.parametrize("cpus", [0.001, len(os.sched_getaffinity(0)) + 0.5, 1e9])
def test_cpus_that_this_host_has_not(cpus):
    with pytest.raises(InvalidInputError, match="this host has"):
        resolve(cpus=cpus)


@pytest.mark.parametrize(
    ("asked", "memory_swap", "swap"),
    [
        (Limits(memory_max_bytes=64 * MIB), None, 64 * MIB),  # docker: as much swap again
        (Limits(memory_max_bytes=64 * MIB), 64 * MIB, 0),
        (Limits(memory_max_bytes=64 * MIB), 100 * MIB, 36 * MIB),
        (Limits(memory_max_bytes=64 * MIB), -1, UNLIMITED),
        (Limits(memory_max_bytes=64 * MIB, memory_swap_max_bytes=5 * MIB), None, 5 * MIB),
        (Limits(memory_max_bytes=UNLIMITED), None, None),
        (Limits(pids_max=5), None, None),
    ],
)
def test_swap(asked, memory_swap, swap):
    assert resolve(asked, memory_swap_bytes=memory_swap).memory_swap_max_bytes == swap


@pytest.mark.parametrize(
    ("asked", "memory_swap"),
    [
        (Limits(memory_max_bytes=64 * MIB), 63 * MIB),
        (Limits(), 64 * MIB),
        (Limits(memory_max_bytes=64 * MIB, memory_swap_max_bytes=1), 64 * MIB),
    ],
)
def test_swap_that_cannot_be(asked, memory_swap):
    with pytest.raises(InvalidInputError):
        resolve(asked, memory_swap_bytes=memory_swap)


def test_an_update_changes_what_it_names():
    current = Limits(memory_max_bytes=64 * MIB, memory_swap_max_bytes=64 * MIB)
    assert resolve(Limits(pids_max=5), current) == Limits(pids_max=5)
    raised = resolve(Limits(memory_max_bytes=96 * MIB), current)
    assert raised.memory_swap_max_bytes is None
    assert resolve(current=current, memory_swap_bytes=80 * MIB).memory_swap_max_bytes == 16 * MIB


@pytest.mark.parametrize(
    ("size", "complaint"),
    [(1024, "no container starts in that"), (1 << 60, "larger than the host's")],
)
def test_memory_that_cannot_be(size, complaint):
    with pytest.raises(InvalidInputError, match=complaint):
        resolve(Limits(memory_max_bytes=size))
