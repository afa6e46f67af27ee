"""Automatic sizes: up at once, down in steps, back where somebody waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.policy.autosize import Sight, Sized, parse

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("memory=128m..1g,cpu=0.1..2", "memory=134217728..1073741824,cpu=0.1..2"),
        ("cpu=1..1:dry-run", "cpu=1..1:dry-run"),
        ("memory=1g..1000000000000", "memory=1073741824..1000000000000"),
    ],
)
def test_it_is_kept_in_one_spelling(text, shown):
    assert str(parse(text)) == shown
    assert parse(shown) == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        *("memory=128m", "memory=1g..128m", "memory=1m..1g", "cpu=a..b", "cpu=0..1", "pids=1..2"),
        *("cpu=1..2:wet-run", "memory=..", "auto"),
    ],
)
def test_mistakes(text):
    with pytest.raises(InvalidInputError, match="auto-size"):
        parse(text)


def sized(**changes):
    return Sized(**{"name": "memory", "low": 100.0 * MIB, "high": 1000.0 * MIB, **changes})


def sight(now_s=10_000.0, limit=500, advised=None, used=0, strain=""):
    return Sight(
        now_s=now_s,
        limit=limit * MIB,
        advised=None if advised is None else advised * MIB,
        why="because",
        used=used * MIB,
        strain=strain,
    )


def mib(step):
    return None if step is None else round(step.size / MIB)


@pytest.mark.parametrize(("limit", "first"), [(None, 1000), (500, 500), (2000, 1000), (50, 100)])
def test_it_begins_with_what_there_is(limit, first):
    one = sized()
    there = Sight(now_s=1.0, limit=None if limit is None else limit * float(MIB))
    assert mib(one.look(there)) == first


def test_up_at_once_and_down_in_steps():
    one = sized(size=500.0 * MIB)
    assert mib(one.look(sight(advised=700))) == 700
    assert mib(one.look(sight(advised=200))) == 630
    assert mib(one.look(sight(advised=620))) is None, "not worth it"
    assert mib(one.look(sight(advised=200, used=600))) is None, "what is in use is in the way"
    assert mib(one.look(sight(advised=50))) == 567
    assert mib(one.look(sight(advised=5000))) == 1000
    step = sized(size=110.0 * MIB).look(sight(limit=110, advised=50))
    assert (mib(step), step.reason) == (100, "110MiB to 100MiB: because")


def test_a_step_down_that_hurts_is_undone_and_the_next_one_waits():
    one = sized(size=500.0 * MIB)
    one.look(sight(advised=200))
    step = one.look(sight(now_s=10_001.0, advised=200, strain="it waits"))
    assert mib(step) == 500
    assert "undone" in step.reason
    assert one.look(sight(now_s=10_200.0, advised=200)) is None
    assert mib(one.look(sight(now_s=10_302.0, advised=200))) == 450
    one.look(sight(now_s=10_303.0, advised=200, strain="it waits"))
    assert one.look(sight(now_s=10_802.0, advised=200)) is None, "twice as long"
    assert one.look(sight(now_s=10_310.0, strain="it waits")) is None, "see first what comes of it"
    assert mib(one.look(sight(now_s=10_340.0, strain="it waits"))) == 600


def test_after_an_oom_kill_as_the_vertical_autoscaler_within_the_ceiling():
    one = sized(size=200.0 * MIB)
    assert mib(one.oom(200.0 * MIB, 5.0)) == 296
    assert one.oom(200.0 * MIB, 5.0) is None, "the same one"
    assert mib(one.oom(900.0 * MIB, 6.0)) == 1000
    step = one.oom(1000.0 * MIB, 7.0)
    assert (mib(step), "the most" in step.reason) == (1000, True)
    assert mib(sized().oom(200.0 * MIB, 5.0)) == 296, "before the first step of all"
    assert sized(size=1.0, is_given_up=True).oom(200.0 * MIB, 5.0) is None


def test_it_goes_on_when_the_clock_is_set_back():
    one = sized(size=500.0 * MIB, changed_s=90_000.0, paused_until_s=90_300.0)
    assert one.oom(500.0 * MIB, 95_000.0)
    assert one.look(sight(now_s=1000.0)) is None
    assert one.oom(600.0 * MIB, 95_000.0) is None, "it is made up for, though it is to come"
    assert one.oom(600.0 * MIB, 1001.0)
    one.look(sight(now_s=1002.0))
    assert one.look(sight(now_s=3000.0, advised=200))


def test_another_range_counts_at_once():
    one = sized(size=2000.0 * MIB)
    assert mib(one.look(sight())) == 1000


def test_a_step_that_cannot_be_made():
    one = sized(size=500.0 * MIB)
    one.look(sight(advised=200))
    one.failed(10_000.0)
    assert one.size == 500 * MIB
    assert one.look(sight(now_s=10_200.0, advised=200)) is None
    one.look(sight(advised=700))
    one.failed(10_000.0)
    assert one.size is None, "a step up that could not be made is begun again"
    assert one.look(sight(now_s=10_200.0)) is None
    assert mib(one.look(sight(now_s=11_000.0))) == 500


@given(
    st.lists(
        st.tuples(st.floats(0, 3000), st.floats(0, 3000), st.booleans(), st.booleans()), max_size=40
    )
)
def test_it_never_leaves_the_range(steps):
    one = sized()
    for number, (advised, used, is_strained, is_killed) in enumerate(steps):
        now_s = 1000.0 * number
        one.look(sight(now_s, advised=advised, used=used, strain="x" if is_strained else ""))
        if is_killed:
            one.oom(one.size, now_s + 1)
        assert one.low <= one.size <= one.high
