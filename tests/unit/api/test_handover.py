"""Listening sockets that an agent leaves to the next one."""

import json
import os
import signal
import socket

import pytest

from cgagent.api import handover
from cgagent.api.handover import Kept, Restart, wait_with_signals
from cgagent.api.listeners import tcp_listener


@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        ("0.0.0.0", ""),  # noqa: S104 - what is asked for
        ("::1", "[0:0:0:0:0:0:0:1]"),
    ],
)
def test_a_listener_is_found_by_every_spelling_of_its_address(monkeypatch, bound, asked):
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    left = socket.socket(family)
    left.bind((bound, 0))
    port = left.getsockname()[1]
    fd = left.detach()
    monkeypatch.setenv("CGAGENT_LISTENERS", json.dumps([[fd, False]]))
    with Kept() as kept, tcp_listener(f"{asked}:{port}", "--listen", kept) as sock:
        assert sock.fileno() == fd


def test_who_is_to_end_after_all_leaves_nothing(tmp_path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        before = os.listdir("/proc/self/fd")
        restart = Restart()
        restart.ask([sock], [])
        assert len(os.listdir("/proc/self/fd")) == len(before) + 1
        restart.forget()
        assert not restart.is_asked_for
        assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_signal_that_comes_too_early_ends_nobody():
    handlers = {number: signal.getsignal(number) for number in handover.TOLD_LATER}
    try:
        wait_with_signals()
        for number in handover.TOLD_LATER:
            os.kill(os.getpid(), number)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
