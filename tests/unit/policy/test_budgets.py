"""Budgets: what is understood, and what counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.policy.budgets import Budget, Meter, canonical, parse

S = 10**9


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cpu=1h/24h", "cpu=3600s/86400s"),
        ("cpu=0.5/1s:throttle=0.1", "cpu=0.5s/1s:throttle=0.1"),
        (
            "net=10g/30d:freeze,io=1k/1d12h:stop",
            "net=10737418240/2592000s:freeze,io=1024/129600s:stop",
        ),
        ("io=1g/1d:throttle=1m", "io=1073741824/86400s:throttle=1048576"),
        ("net=1g/1d:throttle=1mbit", "net=1073741824/86400s:throttle=1000000"),
        ("cpu=1/1m:event", "cpu=1s/60s"),
        ("cpu=10us/1h", "cpu=0.00001s/3600s"),
        ("io=1g/1d:throttle=1000000000000", "io=1073741824/86400s:throttle=1000000000000"),
        ("net=1g/1d:throttle=1t", "net=1073741824/86400s:throttle=1000000000000"),
        *(("off", ""), ("", "")),
    ],
)
def test_it_is_kept_in_one_spelling(text, shown):
    assert canonical(text) == shown
    assert canonical(shown) == shown


@given(st.floats(1e-6, 1e6), st.floats(1, 1e6), st.floats(0.01, 1e4))
def test_it_is_read_as_it_was_kept(amount, window, throttle):
    kept = canonical(f"cpu={amount:f}s/{window:f}s:throttle={throttle:f}")
    assert canonical(kept) == kept
    (budget,) = parse(kept)
    assert parse(str(budget)) == (budget,)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "cpu=1h",
            "cpu=1h/",
            "cpu=/1d",
            "cpu=1h/0.5s",
            "cpu=1h/400d",
            "cpu=0/1d",
            "cpu=1h/1d:kill",
        ),
        *("cpu=1h/1d:throttle", "cpu=1h/1d:freeze=1", "cpu=1h/1d:throttle=much", "memory=1g/1d"),
        *(
            "cpu=1h/1d,cpu=2h/2d",
            "net=1g/1d:throttle=1k",
            "cpu=1h/1d:throttle=0",
            "io=1x/1d",
            "cpu",
        ),
        *("cpu=1h/1dd", "cpu=1md/1d", "cpu=0.1us/1h", f"io={'9' * 40}/1d"),
        *("cpu=1h/1d:throttle=nan", "io=1g/1d:throttle=1e99"),
    ],
)
def test_mistakes(text):
    with pytest.raises(InvalidInputError, match="budget"):
        parse(text)


def meter(**changes):
    budget = Budget(resource="cpu", amount=100, window_s=10.0)
    return Meter(**{"budget": budget, "begins_ns": 1000 * S, **changes})


def test_each_run_begins_with_nothing_and_all_of_it_counts():
    one = meter()
    assert one.add({"": 30}, 5.0, 1001 * S)
    assert not one.add({"": 30}, 5.0, 1002 * S)
    assert one.add({"": 50}, 5.0, 1003 * S)
    assert one.add({"": 20}, 6.0, 1004 * S)
    assert not one.add({"": 55}, 5.0, 1004 * S), "of the run before, told late"
    assert (one.used, one.ratio, one.is_spent) == (70, 0.7, False)
    one.add({"": 50}, 6.0, 1005 * S)
    assert one.is_spent


def test_a_run_after_the_clock_was_set_back_counts():
    one = meter()
    one.add({"": 30}, 1001.0, 1002 * S)
    one.rolled(500 * S)
    assert one.add({"": 20}, 499.0, 500 * S)
    assert one.add({"": 25}, 499.0, 501 * S)
    assert one.used == 55


def test_interfaces_and_devices_come_and_go():
    one = meter()
    one.add({"eth0": 30, "eth1": 5}, 5.0, 1001 * S)
    one.add({"eth0": 40}, 5.0, 1002 * S)
    one.add({"eth0": 41, "eth1": 2}, 5.0, 1003 * S)
    assert one.used == 35 + 10 + 1 + 2


def test_what_was_used_before_it_was_asked_for_does_not_count():
    one = meter(counted=None)
    one.add({"": 30}, 5.0, 1001 * S)
    one.add({"": 35}, 5.0, 1002 * S)
    assert one.used == 5


def test_windows_follow_each_other_from_the_first():
    one = meter(used=100)
    assert not one.rolled(1009 * S)
    assert one.rolled(1010 * S)
    assert (one.begins_ns, one.ends_ns, one.used) == (1010 * S, 1020 * S, 0)
    assert one.rolled(1045 * S)
    assert one.begins_ns == 1040 * S
    assert not one.rolled(900 * S), "the clock was set back"
    assert one.ends_ns == 910 * S


def test_what_one_window_brought_is_undone_before_the_next_one_acts():
    one = meter(used=100, phase="done", acted="freeze")
    assert one.is_wanted
    one.rolled(1010 * S)
    one.add({"": 500}, 5.0, 1010 * S)
    assert (one.is_spent, one.is_acted_on, one.is_wanted) == (True, True, False)
    one.is_undone()
    assert one.is_wanted


def test_use_while_nobody_counted_is_spread_over_that_time():
    one = meter()
    one.add({"": 10}, 5.0, 1005 * S)
    assert one.rolled(1015 * S)
    one.add({"": 30}, 5.0, 1015 * S)
    assert one.used == 10


def test_it_is_kept_and_read_and_changed():
    one = meter(used=7, phase="done", held=("cpu_quota_us",), lease_ns=3)
    one.add({"": 30}, 5.0, 1001 * S)
    again = Meter.from_json(one.budget, one.to_json())
    assert again == one
    more = one.changed(Budget(resource="cpu", amount=1000, window_s=10.0), 1002 * S)
    assert (more.used, more.begins_ns, more.phase) == (37, 1000 * S, "done")
    other = one.changed(Budget(resource="cpu", amount=100, window_s=20.0), 1002 * S)
    assert (other.used, other.begins_ns, other.counted) == (0, 1002 * S, {"": 30})


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans(), st.booleans()), max_size=30))
def test_nothing_is_lost_and_nothing_counted_twice(steps):
    """Whatever of readings, restarts of the container and restarts of the agent comes."""
    one = meter(budget=Budget(resource="cpu", amount=1, window_s=1e6))
    total, counter, run = 0, 0, 1.0
    for number, (used, is_restart, is_crash) in enumerate(steps, 1):
        counter, total = counter + used, total + used
        one.add({"": counter}, run, (1000 + number) * S)
        if is_restart:
            counter, run = 0, run + 1
        if is_crash:
            one = Meter.from_json(one.budget, one.to_json())
    assert one.used == total
