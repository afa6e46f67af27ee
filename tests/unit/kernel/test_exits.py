"""The process connector, on the kernel."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import threading
import time

import pytest

from cgagent.kernel.exits import Exits

SYS_EXIT = 60 if os.uname().machine == "x86_64" else 93


@pytest.fixture
def exits():
    listening = Exits()
    yield listening
    listening.close()


def child(end):
    """That waits until it is let go, and ends as `end` does."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(write)
            os.read(read, 1)
            end()
        finally:
            os._exit(99)
    os.close(read)
    return pid, write


def hear(exits, is_enough):
    """By pid, until it is enough: a parent may be told of an end before us."""
    heard = {}
    while not is_enough(heard):
        assert select.select([exits], [], [], 10)[0], heard
        heard |= exits.read()
    return heard


def end_of_the_last_thread():
    """The first thread ends before it, by itself."""
    threading.Thread(target=lambda: (time.sleep(0.1), os._exit(9))).start()
    ctypes.CDLL(None).syscall(SYS_EXIT, 1)


@pytest.mark.parametrize(
    "end",
    [
        lambda: os._exit(3),
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        end_of_the_last_thread,
    ],
    ids=["exit", "signal", "threads"],
)
def test_what_is_heard_is_what_the_parent_is_told(exits, end):
    pid, let_go = child(end)
    exits.follow([pid])
    os.close(let_go)
    _, status = os.waitpid(pid, 0)
    hear(exits, lambda heard: heard == {pid: status})
    assert exits.read() == {}


def test_only_those_that_are_followed_are_heard(exits):
    for follow in (False, True):
        pid, let_go = child(lambda: os._exit(3))
        exits.follow([pid] if follow else [])
        os.close(let_go)
        os.waitpid(pid, 0)
    assert hear(exits, bool) == {pid: 3 << 8}


def test_more_than_a_filter_holds(exits):
    pid, let_go = child(lambda: os._exit(3))
    exits.follow([pid, *range(1 << 22, (1 << 22) + 5000)])
    os.close(let_go)
    os.waitpid(pid, 0)
    assert hear(exits, lambda heard: pid in heard)[pid] == 3 << 8
