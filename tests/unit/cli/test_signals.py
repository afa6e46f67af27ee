"""Signals of a foreground run go to its container, those from before it was known as well."""

import os
import signal

import pytest

from cgagent.cli.stream import Signals


class Agent:
    """In place of a client; remembers what was asked."""

    asked: list[tuple[str, str]]

    def __init__(self, path):
        self.path = path

    def another(self):
        return Agent(self.path)

    def request(self, method, path):
        self.asked.append((method, path))


@pytest.fixture
def signals(monkeypatch):
    monkeypatch.setattr(Agent, "asked", [], raising=False)
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    made = Signals(Agent("/socket"))
    yield made
    made.undo()
    assert {n: signal.getsignal(n) for n in before} == before


def send(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)


def kills(*numbers):
    return [("POST", f"/v1/containers/abc/kill?signal={int(n)}") for n in numbers]


def test_they_are_passed_on(signals):
    signals.reach("/v1/containers/abc")
    send(signal.SIGUSR1, signal.SIGTERM)
    assert Agent.asked == kills(signal.SIGUSR1, signal.SIGTERM)


def test_those_from_before_are_passed_on_when_the_container_is_known(signals):
    send(signal.SIGTERM, signal.SIGUSR1)
    assert Agent.asked == []
    signals.reach("/v1/containers/abc")
    assert Agent.asked == kills(signal.SIGTERM, signal.SIGUSR1)


def test_however_many_interrupts_come_they_are_passed_on_as_they_are(signals):
    send(signal.SIGINT)
    signals.reach("/v1/containers/abc")
    send(*4 * [signal.SIGINT], *3 * [signal.SIGTERM])
    assert Agent.asked == kills(*5 * [signal.SIGINT], *3 * [signal.SIGTERM])


def test_or_ends_us_while_there_is_none(signals):
    send(signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)
