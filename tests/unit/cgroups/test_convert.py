from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.cgroups import (
    UNLIMITED,
    blkio_weight_to_io_weight,
    convert,
    cpus_to_quota,
    io_weight_to_blkio_weight,
    shares_to_weight,
    swap_from_memory_swap,
    weight_to_shares,
)
from cgagent.errors import InvalidInputError

SHARES = st.integers(2, 262_144)
WEIGHTS = st.integers(1, 10_000)


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(0, 1), (2, 1), (128, 21), (256, 35), (512, 59), (1024, 100), (2048, 174), (4096, 303),
     (262_144, 10_000), (10**9, 10_000)],
)  # fmt: skip
def test_shares_of_other_runtimes(shares, weight):
    assert shares_to_weight(shares) == weight


@given(SHARES, SHARES)
def test_more_shares_are_no_less_weight(one, other):
    small, large = sorted((one, other))
    assert 1 <= shares_to_weight(small) <= shares_to_weight(large) <= 10_000


@given(WEIGHTS)
def test_a_weight_survives_the_way_to_shares_and_back(weight):
    shares = weight_to_shares(weight)
    assert 2 <= shares <= 262_144
    assert shares_to_weight(shares) == weight


def test_the_default_weight_is_the_default_of_shares():
    assert weight_to_shares(100) == 1024


@given(st.integers(10, 1000))
def test_a_block_io_weight_survives_the_way_to_v2_and_back(weight):
    io_weight = blkio_weight_to_io_weight(weight)
    assert 1 <= io_weight <= 10_000
    assert io_weight_to_blkio_weight(io_weight) == weight


@given(WEIGHTS)
def test_every_io_weight_has_a_block_io_weight(weight):
    assert 10 <= io_weight_to_blkio_weight(weight) <= 1000


def test_ends_of_the_io_weights():
    assert [blkio_weight_to_io_weight(w) for w in (1, 10, 1000)] == [1, 1, 10_000]


MEMORY = st.integers(1, 2**62)


@given(MEMORY, st.integers(0, 2**62))
def test_memory_swap_includes_memory(memory, swap):
    assert swap_from_memory_swap(memory, memory + swap) == swap


@given(MEMORY)
def test_memory_alone_doubles_itself(memory):
    assert swap_from_memory_swap(memory, None) == memory
    assert swap_from_memory_swap(memory, 0) == memory


@pytest.mark.parametrize("memory", [None, UNLIMITED, 4096])
def test_minus_one_is_no_limit(memory):
    assert swap_from_memory_swap(memory, -1) is UNLIMITED


def test_nothing_asked_is_nothing():
    assert swap_from_memory_swap(None, None) is None
    assert swap_from_memory_swap(UNLIMITED, None) is UNLIMITED


@pytest.mark.parametrize(("memory", "memory_swap"), [(4096, 4095), (None, 4096), (UNLIMITED, 1)])
def test_memory_swap_that_cannot_be(memory, memory_swap):
    with pytest.raises(InvalidInputError, match="memory-swap"):
        swap_from_memory_swap(memory, memory_swap)


@pytest.mark.parametrize(
    ("cpus", "quota"),
    [
        (1, 100_000),
        (Decimal("0.01"), 1000),
        (0.29, 29_000),
        (Decimal("1.5"), 150_000),
        (64, 6_400_000),
    ],
)
def test_cpus(cpus, quota):
    assert cpus_to_quota(cpus) == (quota, 100_000)


@pytest.mark.parametrize("cpus", [0, 0.009, -1, float("nan"), float("inf")])
def test_cpus_that_the_kernel_cannot_hold(cpus):
    with pytest.raises(InvalidInputError, match="cpus"):
        cpus_to_quota(cpus)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", set()), ("0-2,5\n", {0, 1, 2, 5}), ("7", {7}), ("0-9:2/4,12", {0, 1, 4, 5, 8, 9, 12}),
     ("3-1", set()), ("all,x,-2,1-2:1/0", set())],
)  # fmt: skip
def test_lists_of_cpus(text, numbers):
    assert convert.numbers_in_list(text) == numbers


@given(st.sets(st.integers(0, 300)))
def test_numbers_survive_the_way_to_a_list_and_back(numbers):
    text = convert.list_of_numbers(numbers)
    assert convert.numbers_in_list(text) == numbers
    assert text.count(",") < max(len(numbers), 1)
