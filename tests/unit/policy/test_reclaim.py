"""Proactive reclaim: how much is taken, and when it stops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.policy.reclaim import (
    INTERVAL_S,
    LEAST_BYTES,
    LEAST_BYTES_V1,
    Figures,
    Reclaimer,
    canonical,
    threshold,
)

MIB = 1 << 20


def figures(current=1000 * MIB, **changes):
    known = {
        "current_bytes": current,
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
        if step.amount_bytes:
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
    found = amounts(Reclaimer(0.1), 12)
    assert found[0] == 0, "the first look has nothing to compare with"
    assert found[1] == int(1000 * MIB * 0.0005)
    assert found[1] < found[2] < found[5]
    assert found[-1] == found[-2] == 10 * MIB, "a hundredth at most"


def test_it_takes_less_the_nearer_a_stall_is():
    one = Reclaimer(0.1)
    one.step(0, figures())
    half = int(0.05 / 100 * INTERVAL_S * 1e9)
    step = one.step(INTERVAL_S, figures(waited_ns=half))
    assert one.waited_percent == pytest.approx(0.05)
    assert step.amount_bytes == int(1000 * MIB * 0.0005 * 0.5)


def test_it_backs_off_at_a_stall_and_for_longer_at_the_next():
    one = Reclaimer(0.1)
    amounts(one, 10)
    waited = int(INTERVAL_S * 1e9)
    step = one.step(10 * INTERVAL_S, figures(waited_ns=waited))
    assert (step.amount_bytes, one.is_backing_off) == (0, True)
    assert step.reason == "tasks waited for memory 100% of the time"
    later = [one.step(n * INTERVAL_S, figures(waited_ns=waited)) for n in range(11, 17)]
    assert [s.amount_bytes > 0 for s in later] == [False] * 4 + [True] * 2
    assert later[4].amount_bytes == int(1000 * MIB * 0.0005)


def test_it_backs_off_when_what_was_taken_comes_back():
    one = Reclaimer(0.1)
    amounts(one, 10)
    step = one.step(10 * INTERVAL_S, figures(refaults=20 * 256))
    assert step.amount_bytes, "20 of 1,000 MiB in a minute are nothing to notice"
    one.taken(step.amount_bytes)
    step = one.step(11 * INTERVAL_S, figures(refaults=70 * 256))
    assert (step.amount_bytes, one.is_backing_off) == (0, True)
    assert f"{70 * MIB} bytes came back while" in step.reason


def test_what_comes_back_although_nothing_was_taken_is_not_its_own():
    one = Reclaimer(0.1)
    one.step(0, figures())
    assert one.step(INTERVAL_S, figures(refaults=10**6)).amount_bytes


def test_half_of_what_is_taken_may_come_back():
    """What is wanted once in ten minutes does: it need not be there for the other nine."""
    one = Reclaimer(0.1)
    amounts(one, 20)
    for number in range(20, 60):
        step = one.step(number * INTERVAL_S, figures(refaults=(number - 19) * 4 * 256))
        assert step.amount_bytes == 10 * MIB
        one.taken(step.amount_bytes)


def test_without_swap_only_files_are_taken():
    one = Reclaimer(0.1)
    one.step(0, figures())
    step = one.step(INTERVAL_S, figures(swap_free=0.05, file_bytes=400 * MIB))
    assert (step.amount_bytes, step.may_swap) == (int(400 * MIB * 0.0005), False)
    assert one.step(2 * INTERVAL_S, figures(swap_free=0.0, file_bytes=0)).amount_bytes == 0


def test_what_is_protected_is_left():
    one = Reclaimer(0.1)
    assert set(amounts(one, 5, protected_bytes=1000 * MIB)) == {0}
    assert set(amounts(Reclaimer(0.1), 5, current=4 * MIB)) == {0}


def test_small_steps_are_saved_up_and_what_was_too_much_is_waited_out():
    one = Reclaimer(0.1, least_bytes=LEAST_BYTES_V1)
    found = amounts(one, 20, current=200 * MIB)
    steps = [n for n in found if n]
    assert len(steps) > 3
    assert all(LEAST_BYTES_V1 <= n < LEAST_BYTES_V1 + 2 * MIB for n in steps)
    one.taken(12 * MIB)
    later = [one.step(n * INTERVAL_S, figures(200 * MIB)).amount_bytes for n in range(20, 30)]
    assert not any(later[:6])
    assert all(later[8:])


def test_where_swap_is_full_and_would_be_used_nothing_is_taken():
    one = Reclaimer(0.1)
    assert set(amounts(one, 5, swap_free=0.05, files_alone=False)) == {0}
    assert "cgroup v1 would use it" in one.step(40, figures(swap_free=0, files_alone=False)).reason
    assert any(amounts(Reclaimer(0.1), 5, files_alone=False))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**34), st.integers(0, 10**10), st.integers(0, 10**6), st.floats(0, 1)
        ),
        max_size=60,
    ),
    st.sampled_from([LEAST_BYTES, LEAST_BYTES_V1]),
)
def test_whatever_the_figures_are(rows, least_bytes):
    """Little more than a hundredth, nothing that is protected, and nothing while tasks wait."""
    one = Reclaimer(0.1, least_bytes=least_bytes)
    waited = refaults = 0
    for number, (current, more_waited, more_refaults, swap) in enumerate(rows):
        waited, refaults = waited + more_waited, refaults + more_refaults
        known = figures(
            current, waited_ns=waited, refaults=refaults, swap_free=swap, protected_bytes=MIB
        )
        step = one.step(number * INTERVAL_S, known)
        if step.amount_bytes:
            one.taken(step.amount_bytes)
        assert step.amount_bytes <= current // 100 + least_bytes
        assert not step.amount_bytes or current - step.amount_bytes >= 4 * MIB
        if number and one.waited_percent >= 0.1:
            assert step.amount_bytes == 0
