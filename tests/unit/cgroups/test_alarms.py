"""Whose limit a kill is put down to, by when alarms rang; and the timer that looks again."""

import os
import select
import time
from dataclasses import dataclass

import pytest

from cgagent.cgroups import alarms
from cgagent.cgroups.alarms import Alarms
from cgagent.cgroups.timer import Timer


@dataclass(frozen=True)
class Named:
    path: str

    def at(self, path):
        return Named(path)


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(alarms.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def rung():
    """Alarms of a group and the one above it, and a function that rings one."""
    made = Alarms()

    def ring(path):
        descriptor = os.eventfd(1)
        made._by_path[path] = descriptor
        made._users[path] = {"/up/one"}
        assert made.ring(descriptor) == {"/up/one"}

    yield made, ring
    made.close()


def test_a_kill_long_after_its_alarm_is_put_down_to_it_once(clock, rung):
    made, ring = rung
    ring("/up/one")
    clock[0] += 4
    assert made.limiting(Named("/up/one")) == Named("/up/one")
    clock[0] += 4
    assert made.limiting(Named("/up/one")) is None


def test_a_new_one_with_the_number_of_one_that_rang_has_not_rung(rung):
    made, _ = rung
    made._by_path["/up/one"] = os.eventfd(0, os.EFD_NONBLOCK)
    made._users["/up/one"] = {"/up/one"}
    assert made.ring(made._by_path["/up/one"]) == set()
    assert made.limiting(Named("/up/one")) is None


def test_several_kills_of_one_shortage_are_put_down_to_one_alarm(clock, rung):
    made, ring = rung
    ring("/up")
    for _ in range(3):
        clock[0] += 0.3
        assert made.limiting(Named("/up/one")) == Named("/up")
    clock[0] += 0.3
    assert made.limiting(Named("/up/one")) is None


def test_an_alarm_of_before_a_minute_means_nothing(clock, rung):
    made, ring = rung
    ring("/up/one")
    clock[0] += 60
    assert made.limiting(Named("/up/one")) is None


def test_a_timer_is_readable_once():
    timer = Timer()
    try:
        assert not select.select([timer.fd], [], [], 0)[0]
        timer.read()
        began = time.monotonic()
        timer.set(0.02)
        assert select.select([timer.fd], [], [], 10)[0]
        assert time.monotonic() - began >= 0.02
        timer.read()
        assert not select.select([timer.fd], [], [], 0.05)[0]
    finally:
        timer.close()
