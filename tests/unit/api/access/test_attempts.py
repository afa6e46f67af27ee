"""Wrong tokens: how many are listened to."""

import pytest

from cgagent.api.access.attempts import Attempts
from cgagent.errors import UnauthenticatedError


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def find(token, address):
    if token.startswith("right"):
        return f"{token} of {address}"
    raise UnauthenticatedError("the token is not known here")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def attempts(clock):
    return Attempts(find, clock)


def wrong(attempts, count, address="10.0.0.1"):
    for number in range(count):
        with pytest.raises(UnauthenticatedError, match="is not known"):
            attempts.caller(f"wrong {number}", address)


def test_after_many_wrong_ones_nothing_of_an_address_is_looked_at(attempts, clock):
    wrong(attempts, 20)
    with pytest.raises(UnauthenticatedError, match=r"try again in 61 s"):
        attempts.caller("right", "10.0.0.1")
    assert attempts.caller("right", "10.0.0.2")
    clock.now += 61
    assert attempts.caller("right 2", "10.0.0.1")


def test_who_is_in_stays_in(attempts):
    assert attempts.caller("right", "10.0.0.1")
    wrong(attempts, 20)
    assert attempts.caller("right", "10.0.0.1")


def test_a_few_wrong_ones_harm_nobody(attempts, clock):
    for _ in range(5):
        wrong(attempts, 10)
        clock.now += 61
    assert attempts.caller("right", "10.0.0.1")


def test_what_is_remembered_has_a_bound(attempts):
    for number in range(1200):
        wrong(attempts, 1, f"address {number}")
        attempts.caller(f"right {number}", "one")
    assert len(attempts._wrong) == 1000
    assert len(attempts._proved) == 1000
