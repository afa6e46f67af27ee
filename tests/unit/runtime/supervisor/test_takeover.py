"""A supervisor killed at any instant: its successor loses nothing and repeats nothing.

Python tells of each call of a C function, before and after it. A process that goes through the life
of a task kills itself at one of these moments, and another one takes over with what the keeper
has, until the moments that were chosen are used up. With CGAGENT_TEST_MOMENTS=all each moment has
its turn.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import tty
from typing import TYPE_CHECKING

import pytest

from cgagent.kernel import descriptors
from cgagent.kernel.loop import Loop
from cgagent.messages import wire
from cgagent.runtime.messages.agent import Prepare, Start
from cgagent.runtime.messages.held import HeldClient, HeldTask
from cgagent.runtime.messages.jobs import ContainerJob, JsonFileLog, Streams
from cgagent.runtime.messages.zygote import Console, Ready
from cgagent.runtime.protocol import STATUS, STDERR, STDIN, STDOUT, State
from cgagent.runtime.supervisor.attached import Client, hold
from tests.world.keeper import Kept, new_task

if TYPE_CHECKING:
    from pathlib import Path

_HEAD = 8
_SAMPLE = 40
_LINE = b"a line of output\n"
_ERROR = b"err "
_INPUT = b"input " * 50
_EXIT = 3


def run_container(zygote: socket.socket) -> None:
    """Be a container's first process: lines in pieces, long ones, then its input, then the end."""
    start, given = wire.receive(zygote, Prepare, Start)
    has_terminal = start.streams.terminal
    *ends, tree = given
    assert os.readlink(f"/proc/self/fd/{tree}").startswith("/memfd:report")
    if has_terminal:
        master, slave = os.openpty()
        tty.setraw(slave)
        wire.send(zygote, Console(), [master])
        ends = [slave] * 3
    for target, fd in enumerate(ends):
        os.dup2(fd, target)
    descriptors.close_all_but({0, 1, 2, zygote.fileno()})
    wire.send(zygote, Ready())
    zygote.close()
    for number in range(4):
        os.write(1, b"%d: " % number)
        os.write(1, _LINE)
        os.write(2, _ERROR)
    os.write(1, b"x" * 40_000 + b"\n")
    left = len(_INPUT) if has_terminal else sys.maxsize
    while left and (data := os.read(0, min(left, 100))):
        os.write(1, data)
        left -= len(data)
    os._exit(_EXIT)


def expected(*, terminal: bool) -> dict[int, bytes]:
    """By stream; a terminal has one."""
    lines = [b"%d: %s" % (number, _LINE) for number in range(4)]
    rest = b"x" * 40_000 + b"\n" + _INPUT
    if terminal:
        return {STDOUT: b"".join(line + _ERROR for line in lines) + rest, STDERR: b""}
    return {STDOUT: b"".join(lines) + rest, STDERR: 4 * _ERROR}


class Death:
    """Kills this process at its nth moment."""

    def __init__(self, moment: int) -> None:
        self._left = moment
        self.passed = 0

    def tick(self, _frame: object, event: str, _function: object) -> None:
        if event in {"c_call", "c_return"}:
            self.passed += 1
            if self.passed == self._left:
                os.kill(os.getpid(), signal.SIGKILL)


def supervise(kept: Kept, job: Start, report: int, moment: int) -> None:
    """Be the supervisor of the one task, from wherever it is to its end."""
    death = Death(moment)
    signal.alarm(60)  # a hang is a failure of this process
    sys.setprofile(death.tick)
    loop = Loop()
    task = new_task(kept.task(), loop, is_ours=False)
    held = kept.client()
    if held.exists:
        task.take_over(Client(held))
    task.resume()
    if task.exchange.state is State.CREATED:
        task.start(job, [report], lambda *_: None)
    while task.exchange.state is not State.EXITED or loop.watched:
        loop.run_once(None)
    sys.setprofile(None)
    os.pwrite(report, struct.pack("I", death.passed), 0)


class Life:
    """One task, from its start to its end, under supervisors that are killed at given moments."""

    def __init__(self, folder: Path, *, terminal: bool = False) -> None:
        self.log = folder / "log"
        log = JsonFileLog(path=str(self.log), max_bytes=20_000, max_files=9)
        self.streams = Streams(log=log, stdin=True, stdin_once=True, terminal=terminal)
        job = ContainerJob(
            bundle=str(folder), root="/", rootfs=(), seccomp=None, filter_is_usual=True
        )
        self.job = Start(key="one", job=job, streams=self.streams, trees=())
        self.kept = Kept()
        self.report = os.memfd_create("report")
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.container = os.fork()
        if not self.container:
            self._be(lambda: run_container(far))
        far.close()
        fds = {"pidfd": os.pidfd_open(self.container), "zygote": near.detach()}
        task = HeldTask(key="one", state=State.CREATED, pid=self.container, is_stray=True)
        self.kept.task().put(task, fds)
        ours, self.client = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)  # it is read at the end
        wanted = HeldClient(key="one", streams=(STDIN, STDOUT, STDERR))
        hold(self.kept.client(), ours.detach(), wanted)
        self.client.sendall(_INPUT)
        self.client.shutdown(socket.SHUT_WR)
        self.client.settimeout(10)
        self.kept.succeed()

    @staticmethod
    def _be(what) -> None:
        try:
            what()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a fork must not run the rest of the tests
            sys.excepthook(*sys.exc_info())
            os._exit(1)

    def run(self, *moments: int) -> int:
        """To the end; how many moments the last supervisor had."""
        for moment in (*moments, 0):
            pid = os.fork()
            if not pid:
                self.kept.leave()
                self._be(lambda m=moment: supervise(self.kept, self.job, self.report, m))
            self.kept.give_away()
            self.kept.listen_until_death_of(pid)
            status = os.waitpid(pid, 0)[1]
            self.kept.succeed()
            if status != signal.SIGKILL:
                assert status == 0
                break
        return struct.unpack("I", os.pread(self.report, 4, 0))[0]

    def received(self) -> tuple[dict[int, bytes], list[dict[str, object]]]:
        """What the client has been sent, by stream, and its status frames."""
        data = b"".join(iter(lambda: self.client.recv(1 << 20), b""))
        output = {STDOUT: b"", STDERR: b""}
        statuses = []
        while data:
            end = _HEAD + int.from_bytes(data[4:_HEAD], "big")
            if data[0] == STATUS:
                statuses.append(json.loads(data[_HEAD:end]))
            else:
                output[data[0]] += data[_HEAD:end]
            data = data[end:]
        return output, statuses

    def logged(self) -> dict[int, bytes]:
        names = {"stdout": STDOUT, "stderr": STDERR}
        output = {STDOUT: b"", STDERR: b""}
        files = sorted(self.log.parent.glob("log*"), key=lambda p: p.suffix, reverse=True)
        for file in files:
            for line in file.read_text().splitlines():
                entry = json.loads(line)
                output[names[entry["stream"]]] += entry["log"].encode()
        return output

    def check(self) -> None:
        output, statuses = self.received()
        wanted = expected(terminal=self.streams.terminal)
        assert output == wanted
        assert [s["exit_code"] for s in statuses] == [_EXIT]
        assert self.logged() == wanted
        task = self.kept.task()
        assert task.value.state is State.EXITED
        assert task.value.exit.exit_code == _EXIT
        assert not task.fds, "an exited task holds no descriptor"
        assert not self.kept.client().exists

    def close(self) -> None:
        os.kill(self.container, signal.SIGKILL)
        os.waitpid(self.container, 0)
        self.client.close()
        self.kept.close()
        os.close(self.report)


@pytest.fixture(params=[False, True], ids=["pipes", "terminal"])
def live(request, tmp_path):
    """Lives a task under supervisors killed at the moments given; see `Life.run`."""
    number = 0

    def live(*moments: int) -> int:
        nonlocal number
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        life = Life(folder, terminal=request.param)
        try:
            passed = life.run(*moments)
            life.check()
        finally:
            life.close()
        return passed

    return live


def test_it_is_whole_whenever_the_supervisor_is_killed(live):
    total = live()
    assert total > _SAMPLE
    stride = 1 if os.environ.get("CGAGENT_TEST_MOMENTS") == "all" else total // _SAMPLE
    for moment in range(1, total + 1, stride):
        live(moment)
        live(moment, moment // 2 + 1, moment // 3 + 1)
