"""A task's streams: clients that have gone are let go of; a terminal instead of pipes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import socket
import termios
import time

import pytest

from cgagent.errors import ConflictError
from cgagent.kernel.loop import Loop
from cgagent.kernel.pipes import Mirror
from cgagent.runtime.messages.held import HeldClient, HeldTask
from cgagent.runtime.messages.jobs import JsonFileLog, Streams
from cgagent.runtime.messages.outcomes import Status
from cgagent.runtime.protocol import STDERR, STDIN, STDOUT, State
from cgagent.runtime.supervisor import stdio as stdio_module
from cgagent.runtime.supervisor.attached import HIGH_WATER, Client, hold, read_frame
from cgagent.runtime.supervisor.stdio import Stdio


def open_stdio(kept, loop, on_cut_off=lambda: None, **how):
    stdio = Stdio(kept.task(), loop, Mirror(), on_cut_off)
    task = HeldTask(key="one", state=State.CREATED, pid=1)
    stdio.open(Streams(**{"stdin": True, "stdin_once": True, **how}), task)
    return stdio


def connect(kept, streams, name="1", **how):
    """A client, and its far end."""
    near, far = socket.socketpair()
    far.settimeout(5)
    held = kept.client(name)
    hold(held, near.detach(), HeldClient(key="one", streams=tuple(streams), **how))
    return Client(held), far


@pytest.mark.parametrize("half_closed_first", [False, True])
@pytest.mark.parametrize("streams", [[STDOUT, STDERR], [STDIN, STDOUT, STDERR]])
def test_a_client_that_hangs_up_is_dropped_while_the_task_is_silent(
    kept, half_closed_first, streams
):
    loop = Loop()
    stdio = open_stdio(kept, loop, terminal=True)
    client, theirs = connect(kept, streams)
    stdio.attach(client)
    stdio.run()
    if half_closed_first:
        theirs.shutdown(socket.SHUT_WR)
        loop.run_once(0)
        assert loop.watched == 1, "it still reads"
    theirs.close()
    for _ in range(3):
        loop.run_once(0)
    assert loop.watched == 0
    assert not kept.client().exists


@pytest.fixture
def terminal(kept):
    """Streams over a terminal, a client's far end, the command's end."""
    loop = Loop()
    stdio = open_stdio(kept, loop, terminal=True)
    assert stdio.child_ends() == []
    master, slave = pty.openpty()
    stdio.take_terminal(master)
    client, far = connect(kept, [STDIN, STDOUT], detach_keys="\x10\x11")
    stdio.attach(client)
    stdio.run()
    yield loop, stdio, far, slave
    stdio.close()
    stdio.see_off(Status())
    os.close(slave)
    far.close()


def test_a_terminals_output_and_input(terminal):
    loop, _, far, slave = terminal
    os.write(slave, b"out\n")
    shown = b""
    while len(shown) < len(b"out\r\n"):  # the terminal may give it in pieces
        loop.run_once(1)
        stream, payload, _ = read_frame(far.recv(100))
        assert stream == STDOUT
        shown += payload
    assert shown == b"out\r\n"
    far.sendall(b"in\n")
    loop.run_once(1)
    assert os.read(slave, 100) == b"in\n"


def test_keys_detach_and_the_terminal_stays(terminal):
    loop, stdio, far, slave = terminal
    far.sendall(b"x\n\x10\x11")
    loop.run_once(1)
    header = far.recv(8)
    assert header[0] == 3
    assert json.loads(far.recv(100)) == {"detached": True}
    assert far.recv(100) == b""
    assert os.read(slave, 100) == b"x\n"
    stdio.resize(10, 20)
    assert termios.tcgetwinsize(slave) == (10, 20)


def test_a_terminal_closed_and_opened_again_goes_on(terminal):
    loop, _, far, slave = terminal
    name = os.ttyname(slave)
    os.close(slave)
    loop.run_once(0)
    again = os.open(name, os.O_RDWR | os.O_NOCTTY)
    assert again == slave, "the lowest free number, which the fixture closes"
    os.write(slave, b"x")
    loop.run_once(1)
    assert far.recv(100)[8:] == b"x"


def test_all_that_a_terminal_holds_is_taken_at_the_end(terminal):
    _, stdio, far, slave = terminal
    os.set_blocking(slave, False)
    written = 0
    while True:
        try:
            written += os.write(slave, b"x" * 4096)
        except BlockingIOError:
            break
    stdio.drain()
    received = b""
    while len(received) < written:
        received += far.recv(65536).replace(b"\1\0\0\0\0\0\x10\0", b"")
    assert received.count(b"x") == written


def test_pipes_have_no_size(kept):
    stdio = open_stdio(kept, Loop())
    with pytest.raises(ConflictError, match="no terminal"):
        stdio.resize(1, 1)


def flooded(loop, stdio, far, *, until):
    """What a client that reads has got when a command has written for a while."""
    _, out, _ = stdio.child_ends()
    os.set_blocking(out, False)
    got = written = 0
    far.setblocking(False)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not until(written, got):
        with contextlib.suppress(BlockingIOError):
            written += os.write(out, b"x" * 65536)
        loop.run_once(0.01)
        with contextlib.suppress(BlockingIOError):
            got += len(far.recv(1 << 20))
    os.close(out)
    return written


def test_a_client_that_does_not_read_is_cut_off_and_holds_no_other(kept, monkeypatch, tmp_path):
    monkeypatch.setattr(stdio_module, "_PATIENCE_S", 0.05)
    loop = Loop()
    log = JsonFileLog(path=str(tmp_path / "log"))
    cut_off = []
    stdio = open_stdio(kept, loop, lambda: cut_off.append(1), log=log, stdin=False)
    slow, unread = connect(kept, [STDOUT], "slow", stay=True)
    quick, far = connect(kept, [STDOUT], "quick")
    for client in (slow, quick):
        stdio.attach(client)
    stdio.run()
    written = flooded(loop, stdio, far, until=lambda _, got: got > 4 * HIGH_WATER)
    assert written > 4 * HIGH_WATER
    assert not kept.client("slow").exists
    assert cut_off == [1]
    assert kept.client("quick").exists
    stdio.close()
    stdio.see_off(Status())
    unread.close()
    far.close()


def test_the_only_client_of_a_foreground_run_may_hold_its_command(kept, monkeypatch, tmp_path):
    monkeypatch.setattr(stdio_module, "_PATIENCE_S", 0.05)
    loop = Loop()
    log = JsonFileLog(path=str(tmp_path / "log"))
    stdio = open_stdio(kept, loop, log=log, stdin=False)
    slow, unread = connect(kept, [STDOUT], "slow", stay=True)
    stdio.attach(slow)
    stdio.run()
    near, idle = socket.socketpair()
    began = time.monotonic()
    flooded(loop, stdio, idle, until=lambda *_: time.monotonic() > began + 0.5)
    assert kept.client("slow").exists
    stdio.close()
    stdio.see_off(Status())
    for one in (unread, near, idle):
        one.close()
