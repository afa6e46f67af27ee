import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.engine.options.restart import (
    FIRST_DELAY_NS,
    LONG_ENOUGH_NS,
    LONGEST_DELAY_NS,
    RestartPolicy,
    RestartState,
    after_exit,
    at_agent_start,
    checked,
)
from cgagent.errors import ConflictError, InvalidInputError

POLICIES = st.sampled_from(["no", "on-failure", "always", "unless-stopped"]).map(RestartPolicy)


def ends(policy, exit_codes, ran_ns=0, state=None):
    """The states after each of these runs, as long as there is another."""
    state = state or RestartState()
    seen = []
    for code in exit_codes:
        state = after_exit(policy, state, code, ran_ns, now_ns=1000)
        seen.append(state)
        if state.due_ns is None:
            break
    return seen


def test_the_delay_doubles_up_to_a_minute_and_begins_anew_after_a_long_run():
    states = ends(RestartPolicy("always"), [1] * 13)
    delays = [s.delay_ns for s in states]
    assert delays[:3] == [FIRST_DELAY_NS, 2 * FIRST_DELAY_NS, 4 * FIRST_DELAY_NS]
    assert delays[-1] == LONGEST_DELAY_NS
    assert all(s.due_ns == 1000 + s.delay_ns for s in states)
    assert [s.count for s in states] == list(range(1, 14))
    (after_long,) = ends(RestartPolicy("always"), [1], LONG_ENOUGH_NS, states[-1])
    assert (after_long.delay_ns, after_long.count) == (FIRST_DELAY_NS, 14)


def test_on_failure_counts_its_retries_and_ends_with_a_success():
    assert [s.due_ns is None for s in ends(RestartPolicy("on-failure", 2), [1] * 9)] == [
        False,
        False,
        True,
    ]
    assert [s.due_ns is None for s in ends(RestartPolicy("on-failure"), [1, 0, 1])] == [False, True]
    assert ends(RestartPolicy("always"), [0])[0].due_ns is not None
    assert ends(RestartPolicy(), [1])[0].due_ns is None


@given(policy=POLICIES, code=st.integers(0, 255), ran_ns=st.integers(0, 10**12))
def test_what_a_user_stopped_stays_stopped(policy, code, ran_ns):
    held = RestartState(count=3, held=True)
    assert ends(policy, [code], ran_ns, held)[0] == held
    assert at_agent_start(policy, held) == (policy.name == "always")


def test_with_the_agent_start_those_that_a_crash_has_ended():
    names = ("no", "on-failure", "always", "unless-stopped")
    started = [n for n in names if at_agent_start(RestartPolicy(n), RestartState())]
    assert started == ["always", "unless-stopped"]


def test_what_makes_no_sense_is_refused():
    assert checked(RestartPolicy(""), auto_remove=True) == RestartPolicy()
    with pytest.raises(InvalidInputError, match="'sometimes' is not known"):
        checked(RestartPolicy("sometimes"), auto_remove=False)
    with pytest.raises(InvalidInputError, match="only on-failure"):
        checked(RestartPolicy("always", 3), auto_remove=False)
    with pytest.raises(InvalidInputError, match="cannot be negative"):
        checked(RestartPolicy("on-failure", -1), auto_remove=False)
    with pytest.raises(ConflictError, match="both --restart and --rm"):
        checked(RestartPolicy("always"), auto_remove=True)
