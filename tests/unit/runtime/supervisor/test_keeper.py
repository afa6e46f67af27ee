"""The keeper alone: what it tells a supervisor that it has just forked."""

import os
import signal
import socket

from cgagent.messages import wire
from cgagent.runtime.messages.held import Ended
from cgagent.runtime.supervisor.keeper import Keeper

_PATIENCE_S = 20


def be_keeper(channel, wake, life):
    """Of a supervisor that is there until `life` ends, and of a child that has ended before."""
    ended = os.fork()
    if not ended:
        os._exit(7)
    os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
    supervisor = os.fork()
    if not supervisor:
        os.read(life, 1)
        os._exit(0)
    Keeper({}, (supervisor, channel))._serve(supervisor, channel, wake)


def test_who_ended_before_its_supervisor_was_there_is_told_of_at_once():
    """The signal that said so had come with the death of the supervisor before, and was used up."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    wake, wake_in = os.pipe()
    life, life_in = os.pipe()
    keeper = os.fork()
    if not keeper:
        try:
            os.close(life_in)
            be_keeper(theirs, wake, life)
        finally:
            os._exit(1)
    ours.settimeout(_PATIENCE_S)
    try:
        received = wire.receive(ours, Ended)
    finally:
        os.kill(keeper, signal.SIGKILL)
        os.waitpid(keeper, 0)
        for fd in (wake, wake_in, life, life_in):
            os.close(fd)
        ours.close()
        theirs.close()
    assert received is not None
    told, _ = received
    assert (told.killed, told.status) == (False, 7)
