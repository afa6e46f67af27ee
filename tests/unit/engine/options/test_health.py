import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.engine.options.health import (
    Health,
    Result,
    after_probe,
    arguments,
    combined,
    next_due_ns,
)
from cgagent.errors import InvalidInputError
from cgagent.images.image import HealthCheck

S = 10**9
CMD = ("CMD-SHELL", "true")


def check(**values):
    return combined(HealthCheck(CMD, **values), None)


def run(check, codes, health=None, step_ns=S):
    """The states after probes with these exit codes, one a second after the start at 0."""
    health = health or Health()
    seen = []
    for number, code in enumerate(codes, 1):
        at = number * step_ns
        health = after_probe(check, health, Result(at, at + 1, code, ""), 0)
        seen.append((health.status, health.failing_streak))
    return seen


def test_what_is_not_said_comes_from_the_image_then_from_docker():
    image = HealthCheck(("CMD", "probe", "-x"), interval_ns=7 * S, retries=9)
    found = combined(HealthCheck(timeout_ns=2 * S, retries=1), image)
    assert found == HealthCheck(("CMD", "probe", "-x"), 7 * S, 2 * S, 0, 5 * S, 1)
    assert arguments(found) == ("probe", "-x")
    assert arguments(check()) == ("/bin/sh", "-c", "true")
    assert combined(None, image).interval_ns == 7 * S
    assert combined(None, None) is None
    assert combined(HealthCheck(interval_ns=S), None) is None
    assert combined(HealthCheck(("NONE",)), image) is None
    assert combined(None, HealthCheck(("NONE",))) is None


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (HealthCheck(("NONE",), interval_ns=S), "conflicting options"),
        (HealthCheck(("RUN", "x")), "neither CMD, CMD-SHELL nor NONE"),
        (HealthCheck(("CMD",)), "neither CMD, CMD-SHELL nor NONE"),
        (HealthCheck(CMD, interval_ns=999_999), "interval cannot be less than 1 ms"),
        (HealthCheck(CMD, start_period_ns=-1), "start period cannot be less"),
        (HealthCheck(CMD, retries=-1), "at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(asked, told):
    with pytest.raises(InvalidInputError, match=told):
        combined(asked, None)


def test_failures_in_a_row_make_it_unhealthy_and_one_success_heals():
    assert run(check(retries=2), [1, 0, 1, 1, 1, 0]) == [
        ("starting", 1),
        ("healthy", 0),
        ("healthy", 1),
        ("unhealthy", 2),
        ("unhealthy", 3),
        ("healthy", 0),
    ]


def test_in_the_start_period_failures_do_not_count_until_it_was_healthy():
    within = check(retries=1, start_period_ns=4 * S)
    assert run(within, [1, 1, 1, 1])[2:] == [("starting", 0), ("unhealthy", 1)]
    assert run(within, [1, 0, 1])[1:] == [("healthy", 0), ("unhealthy", 1)]


def test_the_next_is_due_an_interval_after_the_end_of_the_last():
    plain = check(interval_ns=10 * S)
    assert next_due_ns(plain, Health(), 5 * S) == 15 * S
    after = Health("healthy", 0, (Result(20 * S, 23 * S, 0, ""),))
    assert next_due_ns(plain, after, 5 * S) == 33 * S
    starting = check(interval_ns=10 * S, start_period_ns=8 * S, start_interval_ns=S)
    assert next_due_ns(starting, Health(), 0) == S
    late = Health("starting", 0, (Result(8 * S, 9 * S, 1, ""),))
    assert next_due_ns(starting, late, 0) == 19 * S
    assert next_due_ns(starting, Health("healthy", 0, late.log[:0]), 0) == 10 * S


@given(codes=st.lists(st.integers(-1, 255), max_size=20))
def test_the_last_five_results_are_kept_and_survive_the_database(codes):
    health = Health()
    for number, code in enumerate(codes):
        health = after_probe(check(), health, Result(number, number, code, "out\0"), 0)
    assert [r.exit_code for r in health.log] == codes[-5:]
    assert Health.from_json(json.loads(json.dumps(asdict(health)))) == health


def test_a_check_runs_in_the_images_shell():
    check = combined(HealthCheck(("CMD-SHELL", "a b")), None, ("/bin/ash", "-ec"))
    assert arguments(check) == ("/bin/ash", "-ec", "a b")
    plain = combined(HealthCheck(("CMD", "a", "b")), None, ("/bin/ash", "-ec"))
    assert arguments(plain) == ("a", "b")


def test_an_images_check_of_an_unknown_kind_is_none():
    """The image can be run all the same, as with docker."""
    for test in (("WHATEVER", "x"), ("CMD",)):
        assert combined(None, HealthCheck(test)) is None
        with pytest.raises(InvalidInputError, match="neither CMD, CMD-SHELL nor NONE"):
            combined(HealthCheck(test), None)
