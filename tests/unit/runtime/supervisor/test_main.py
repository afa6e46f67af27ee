"""Clients of a zygote that is given up for another one, in a supervisor without an agent."""

from __future__ import annotations

import socket

import pytest

from cgagent.errors import NoSpaceError
from cgagent.messages.record import decode
from cgagent.runtime.messages.agent import Forget
from cgagent.runtime.messages.held import HeldClient
from cgagent.runtime.messages.outcomes import Status
from cgagent.runtime.protocol import STATUS
from cgagent.runtime.supervisor.attached import hold, read_frame
from cgagent.runtime.supervisor.main import Supervisor


@pytest.fixture
def supervisor(kept, tmp_path):
    """A successor that finds a client of the task ``one``, which is not there."""
    ours, theirs = socket.socketpair()
    hold(kept.client(), theirs.detach(), HeldClient(key="one", streams=(1, 2)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener, ours:
        ours.settimeout(5)
        yield Supervisor(listener, kept.holdings), ours


def status_on(client):
    stream, payload, _ = read_frame(client.recv(4096))
    assert stream == STATUS
    return decode(payload, Status)


def test_a_client_waits_for_the_next_zygote_after_a_takeover_too(supervisor):
    successor, client = supervisor
    successor._resume()
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    successor._forget(Forget(key="one", keep_clients=True))  # asked again
    with pytest.raises(BlockingIOError):
        client.recv(1)


def test_it_is_told_why_there_is_none(supervisor):
    successor, client = supervisor
    successor._resume()
    status = Status.of_failure(NoSpaceError("the disk is full"))
    successor._forget(Forget(key="one", status=status))
    assert status_on(client) == status


def test_it_is_told_an_error_when_nobody_says_why(supervisor):
    successor, client = supervisor
    successor._resume()
    successor._forget(Forget(key="one"))
    assert "was given up" in status_on(client).error.message


def test_it_is_told_that_the_agent_is_gone(supervisor):
    successor, client = supervisor
    successor._resume()
    successor._give_up_zygotes()
    assert status_on(client).error.kind == "unavailable"
