"""A session's signals while it waits, and what the status at its end says."""

import os
import signal
import socket
import threading

import pytest

from cgagent.cli.stream import pump
from cgagent.client.http import exit_code
from cgagent.errors import CommandNotFoundError, InternalError


def test_an_exit_code():
    assert exit_code({"exit_code": 3}) == 3


def test_an_error():
    with pytest.raises(CommandNotFoundError, match="not there"):
        exit_code({"error": {"kind": "command_not_found", "message": "not there"}})


@pytest.mark.parametrize("status", [{}, {"detached": True}])
def test_neither_is_an_error_and_no_silent_125(status):
    with pytest.raises(InternalError, match="without an exit code"):
        exit_code(status)


class CameError(Exception):
    """The signal of these tests has been handled."""


class Connected:
    """In place of a connection: nothing has come yet."""

    def __init__(self, sock):
        self.socket = sock

    def rest(self):
        return b""


@pytest.fixture
def another_thread_gets_it():
    """SIGUSR1 never interrupts the main thread's `poll`, as one that comes just before it."""

    def handle(_number, _frame):
        raise CameError

    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    before = signal.signal(signal.SIGUSR1, handle)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    yield
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    signal.signal(signal.SIGUSR1, before)
    over.set()
    thread.join()


@pytest.mark.usefixtures("another_thread_gets_it")
def test_a_signal_that_does_not_interrupt_the_wait_is_handled_at_once():
    ours, theirs = socket.socketpair()
    descriptors = len(os.listdir("/proc/self/fd"))
    kill = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
    give_up = threading.Timer(10, theirs.shutdown, (socket.SHUT_RDWR,))
    kill.start()
    give_up.start()
    try:
        with pytest.raises(CameError):
            pump(Connected(ours), stdin=False)
        assert not give_up.finished.is_set()
    finally:
        give_up.cancel()
        give_up.join()
    assert signal.set_wakeup_fd(-1) == -1
    assert len(os.listdir("/proc/self/fd")) == descriptors
    ours.close()
    theirs.close()
