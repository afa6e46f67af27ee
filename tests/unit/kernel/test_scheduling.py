import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.kernel.scheduling import parse_cpus


@given(st.sets(st.integers(0, 4000), min_size=1))
def test_a_list_of_cpus(cpus):
    assert parse_cpus(",".join(map(str, sorted(cpus)))) == cpus


def test_ranges():
    assert parse_cpus("0-2,5") == {0, 1, 2, 5}


@pytest.mark.parametrize("text", ["", ",", "a", "1-", "-1", "0-99999999", "1;2"])
def test_what_is_no_list(text):
    with pytest.raises(InvalidInputError, match="must be like"):
        parse_cpus(text)
