"""Proactive reclaim: how much is taken, and when it stops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.policy.reclaim import INTERVAL_S, Figures, Reclaimer, canonical, threshold

MIB = 1 << 20


def figures(current=1000 * MIB, **changes):
    known = {
        "current_bytes": current,
        "inactive_file_bytes": current // 4,
        "file_bytes": current // 2,
        "waited_ns": 0,
        "refaults": 0,
        "swap_free": 1.0,
    }
    return Figures(**{**known, **changes})


def amounts(reclaimer, steps, **changes):
    """Of so many steps; all that is asked for is taken."""
    found = []
    for number in range(steps):
        step = reclaimer.step(number * INTERVAL_S, figures(**changes))
        reclaimer.taken(step.amount_bytes)
        found.append(step.amount_bytes)
    return found


@pytest.mark.parametrize(
    ("text", "percent", "kept"),
    [
        ("", None, ""),
        ("off", None, ""),
        ("auto", 0.1, "auto:psi=0.1%"),
        ("auto:psi=0.25%", 0.25, "auto:psi=0.25%"),
        ("auto:psi=2", 2.0, "auto:psi=2%"),
    ],
)
def test_what_is_asked_for(text, percent, kept):
    assert threshold(text) == percent
    assert canonical(text) == kept
    assert canonical(kept) == kept


@pytest.mark.parametrize("text", ["on", "auto:", "auto:psi=", "auto:psi=0", "auto:psi=-1%", "AUTO"])
def test_what_is_none(text):
    with pytest.raises(InvalidInputError, match="is neither off nor auto"):
        threshold(text)


def test_it_begins_small_and_grows_while_nobody_notices():
    found = amounts(Reclaimer(0.1, takes_amounts=True), 12)
    assert found[0] == 0, "the first look has nothing to compare with"
    assert found[1] == int(1000 * MIB * 0.0005)
    assert found[1] < found[2] < found[5]
    assert found[-1] == found[-2] == 10 * MIB, "a hundredth at most"


def test_it_takes_less_the_nearer_a_stall_is():
    one = Reclaimer(0.1, takes_amounts=True)
    one.step(0, figures())
    half = int(0.05 / 100 * INTERVAL_S * 1e9)
    step = one.step(INTERVAL_S, figures(waited_ns=half))
    assert one.waited_percent == pytest.approx(0.05)
    assert step.amount_bytes == int(1000 * MIB * 0.0005 * 0.5)


def test_it_backs_off_at_a_stall_and_for_longer_at_the_next():
    one = Reclaimer(0.1, takes_amounts=True)
    amounts(one, 10)
    waited = int(INTERVAL_S * 1e9)
    step = one.step(10 * INTERVAL_S, figures(waited_ns=waited))
    assert (step.amount_bytes, one.is_backing_off) == (0, True)
    assert step.reason == "tasks waited for memory 100% of the time"
    later = [one.step(n * INTERVAL_S, figures(waited_ns=waited)) for n in range(11, 17)]
    assert [s.amount_bytes > 0 for s in later] == [False] * 4 + [True] * 2
    assert later[4].amount_bytes == int(1000 * MIB * 0.0005)


def test_it_backs_off_when_what_was_taken_comes_back():
    one = Reclaimer(0.1, takes_amounts=True)
    amounts(one, 5)
    step = one.step(5 * INTERVAL_S, figures(refaults=1000))
    assert step.amount_bytes == 0
    assert "came back" in step.reason
    other = Reclaimer(0.1, takes_amounts=True)
    other.step(0, figures())
    assert other.step(INTERVAL_S, figures(refaults=10**6)).amount_bytes, "nothing was taken before"


def test_without_swap_only_files_are_taken():
    one = Reclaimer(0.1, takes_amounts=True)
    one.step(0, figures())
    step = one.step(INTERVAL_S, figures(swap_free=0.05, file_bytes=400 * MIB))
    assert (step.amount_bytes, step.may_swap) == (int(400 * MIB * 0.0005), False)
    assert one.step(2 * INTERVAL_S, figures(swap_free=0.0, file_bytes=0)).amount_bytes == 0


def test_what_is_protected_is_left():
    one = Reclaimer(0.1, takes_amounts=True)
    assert set(amounts(one, 5, protected_bytes=1000 * MIB)) == {0}
    assert set(amounts(Reclaimer(0.1, takes_amounts=True), 5, current=4 * MIB)) == {0}


def test_on_v1_the_cache_goes_as_a_whole_where_there_is_enough_of_it():
    one = Reclaimer(0.1, takes_amounts=False)
    assert one.interval_s == 60
    one.step(0, figures())
    assert one.step(60, figures()).amount_bytes == 250 * MIB
    assert one.step(120, figures(inactive_file_bytes=50 * MIB)).amount_bytes == 0
    one.taken(250 * MIB)
    assert one.step(180, figures(refaults=100 * 256)).amount_bytes == 0
    assert one.is_backing_off


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**34), st.integers(0, 10**10), st.integers(0, 10**6), st.floats(0, 1)
        ),
        max_size=60,
    ),
    st.booleans(),
)
def test_whatever_the_figures_are(rows, takes_amounts):
    """Never more than a hundredth, nothing that is protected, and nothing while tasks wait."""
    one = Reclaimer(0.1, takes_amounts=takes_amounts)
    waited = refaults = 0
    for number, (current, more_waited, more_refaults, swap) in enumerate(rows):
        waited, refaults = waited + more_waited, refaults + more_refaults
        known = figures(
            current, waited_ns=waited, refaults=refaults, swap_free=swap, protected_bytes=MIB
        )
        step = one.step(number * one.interval_s, known)
        one.taken(step.amount_bytes)
        if takes_amounts:
            assert step.amount_bytes <= max(current // 100, 128 << 10)
            assert not step.amount_bytes or current - step.amount_bytes >= 4 * MIB
        if number and one.waited_percent >= 0.1:
            assert step.amount_bytes == 0
