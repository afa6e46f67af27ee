"""A task's streams let go of clients that have gone."""

from __future__ import annotations

import socket

import pytest

from cgagent.runtime.client import Client
from cgagent.runtime.loop import Loop
from cgagent.runtime.protocol import STDERR, STDIN, STDOUT
from cgagent.runtime.stdio import Stdio


@pytest.mark.parametrize("half_closed_first", [False, True])
@pytest.mark.parametrize("streams", [{STDOUT, STDERR}, {STDIN, STDOUT, STDERR}])
def test_a_client_that_hangs_up_is_dropped_while_the_task_is_silent(half_closed_first, streams):
    loop = Loop()
    stdio = Stdio(loop)
    ours, theirs = socket.socketpair()
    stdio.attach(Client(ours.detach(), streams=streams, raw=False, status=True, tail=b""))
    stdio.run()
    if half_closed_first:
        theirs.shutdown(socket.SHUT_WR)
        loop.run_once(0)
        assert loop.watched == 1, "it still reads"
    theirs.close()
    for _ in range(3):
        loop.run_once(0)
    assert loop.watched == 0
    stdio.close({})
