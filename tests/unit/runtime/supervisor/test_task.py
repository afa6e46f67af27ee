"""A task whose process is made by another runtime: whose child it is, and when."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time

import pytest

from cgagent.errors import CommandNotFoundError
from cgagent.kernel import namespaces
from cgagent.kernel.loop import Loop
from cgagent.messages import wire
from cgagent.runtime.messages.agent import Prepare, Start
from cgagent.runtime.messages.held import HeldTask
from cgagent.runtime.messages.jobs import ContainerJob, Driver, Launch, Streams
from cgagent.runtime.messages.outcomes import Failed
from cgagent.runtime.messages.zygote import Became, Prepared
from cgagent.runtime.protocol import State
from cgagent.runtime.supervisor import journal
from tests.world.keeper import new_task

JOB = ContainerJob(bundle="/b", root="/r", rootfs=(), seccomp=None, filter_is_usual=True)
PREPARE = Prepare(key="one", job=JOB, streams=Streams())
START = Start(key="one", job=JOB, streams=Streams())
JOBS = (Prepare, Start)


class Owner:
    """What a supervisor is told."""

    def __init__(self):
        self.failed = []

    def task_started(self, task, *, told): ...
    def task_exited(self, _task):
        return False

    def task_failed(self, task, error, *, told):
        self.failed.append((task.key, error.kind, told))


def test_a_start_that_fails_when_nobody_is_left_who_asked_is_told_to_the_owner(kept):
    """As a supervisor and its agent have both been killed: the successor knows no request."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    zygote = os.fork()
    if not zygote:
        near.close()
        wire.receive(far, *JOBS)
        wire.send(far, Failed.of(CommandNotFoundError("command 'x': not there")))
        os._exit(125)
    far.close()
    fds = {"pidfd": os.pidfd_open(zygote), "zygote": near.detach()}
    held = kept.task()
    held.put(HeldTask(key="one", state=State.STARTING, pid=zygote, start=START), fds)
    made, write = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    held.update({"out": made[0], "err": write[0], **journal.make()}, streams=Streams())
    loop, owner = Loop(), Owner()
    task = new_task(held, loop, is_ours=True, owner=owner)
    task.resume()
    while not owner.failed:
        loop.run_once(5)
    assert owner.failed == [("one", "command_not_found", False)]
    assert not held.exists
    for fd in (made[1], write[1]):
        os.close(fd)


def test_an_end_that_nobody_saw_is_no_failed_start_to_clients(kept, monkeypatch):
    """In the status that ends their output, an error is what a start failed of."""
    process = os.fork()
    if not process:
        time.sleep(60)
    held = kept.task()
    made, write = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    fds = {"pidfd": os.pidfd_open(process), "out": made[0], "err": write[0], **journal.make()}
    held.put(HeldTask(key="one", state=State.RUNNING, pid=process, streams=Streams()), fds)
    loop, told = Loop(), []
    task = new_task(held, loop, is_ours=False, owner=Owner())
    monkeypatch.setattr(task.stdio, "see_off", lambda status, **_: told.append(status) or [])
    task.ended(killed=True, status=signal.SIGKILL, error="it is not known")
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    for fd in (made[1], write[1]):
        os.close(fd)
    assert task.exit.error == "it is not known"
    assert [status.exit_code for status in told] == [137]
    assert told[0].error is None


def launch(sock: socket.socket) -> None:
    """Be a launcher: make the process, tell of it, and stay."""
    namespaces.set_child_subreaper(take=True)
    wire.receive(sock, *JOBS)
    made = os.fork()
    if made:
        wire.send(sock, Became(pid=made), [os.pidfd_open(made)])
    time.sleep(60)


def test_a_start_given_up_ends_the_launcher_and_what_it_has_made(kept):
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    launcher = os.fork()
    if not launcher:
        try:
            launch(far)
        finally:
            os._exit(1)
    far.close()
    held = kept.task()
    fds = {"pidfd": os.pidfd_open(launcher), "zygote": near.detach()}
    held.put(HeldTask(key="one", state=State.CREATED, pid=launcher), fds)
    loop = Loop()
    task = new_task(held, loop, is_ours=True)
    failures = []
    try:
        driver = Driver(name="x", path="/x", arguments=(), root="/x")
        how = Launch(driver=driver, container="one", directory="/d", join=(), hidden=())
        start = START.replace(launch=how)
        task.start(start, [], lambda _, failure: bool(failures.append(failure)) or True)
        while task.pid == launcher:
            loop.run_once(5)
        made = task.pid
        task.abandon()
        while loop.watched:
            loop.run_once(5)
    except BaseException:
        os.kill(launcher, signal.SIGKILL)
        raise
    assert not held.exists
    assert [f.kind for f in failures] == ["conflict"]
    assert not [pid for pid in (launcher, made) if os.path.exists(f"/proc/{pid}")]


@pytest.fixture
def zygote(kept):
    """A task that is created, its loop, and the zygote's end of its socket."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = os.fork()
    if not process:
        time.sleep(60)
    fds = {"pidfd": os.pidfd_open(process), "zygote": near.detach()}
    kept.task().put(HeldTask(key="one", state=State.CREATED, pid=process), fds)
    loop = Loop()
    with far:
        far.settimeout(5)
        yield new_task(kept.task(), loop, is_ours=True), loop, far
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process, 0)


def heard(far):
    """What the zygote is told; the descriptors that came with it are closed."""
    message, fds = wire.receive(far, *JOBS)
    for fd in fds:
        os.close(fd)
    return message, len(fds)


class Answers(list):
    def told(self, pid, failure):
        self.append((pid, failure and failure.message))
        return True


def test_a_preparation_is_answered_when_it_is_done(zygote):
    task, loop, far = zygote
    answers = Answers()
    task.prepare(PREPARE.replace(streams=None), answers.told)
    assert heard(far) == (PREPARE.replace(streams=None), 0)
    assert answers == []
    wire.send(far, Prepared())
    loop.run_once(5)
    assert answers == [(task.pid, None)]
    task.prepare(PREPARE, answers.told)
    assert heard(far) == (PREPARE, 3)
    task.start(START, [], answers.told)
    assert heard(far) == (START, 0), "the zygote has its streams"
    wire.send(far, Prepared())
    loop.run_once(5)
    assert len(answers) == 2, "the answer comes although the start has been asked for"
    task.abandon()


def test_a_preparation_that_fails_is_told_to_whoever_asked_and_to_the_start(zygote):
    task, loop, far = zygote
    answers = Answers()
    task.prepare(PREPARE, answers.told)
    wire.send(far, Failed.of(CommandNotFoundError("no such directory")))
    far.shutdown(socket.SHUT_RDWR)
    loop.run_once(5)
    assert answers == [(task.pid, "no such directory")]
    task.start(START, [], answers.told)
    while len(answers) < 2:
        loop.run_once(5)
    assert answers[1] == (task.pid, "no such directory")


def test_a_preparation_after_the_start_was_asked_for_is_superfluous(zygote):
    task, _, far = zygote
    answers = Answers()
    task.start(START, [], answers.told)
    assert heard(far) == (START, 3)
    task.prepare(PREPARE, answers.told)
    assert answers == [(task.pid, None)]
    task.abandon()


def test_a_successor_that_is_asked_again_prepares_with_the_same_pipes(kept, zygote):
    task, _, far = zygote
    task.prepare(PREPARE, Answers().told)
    before = {label: os.fstat(fd).st_ino for label, fd in kept.task().fds.items()}
    heard(far)
    kept.succeed()
    loop, answers = Loop(), Answers()
    successor = new_task(kept.task(), loop, is_ours=False)
    successor.resume()
    successor.prepare(PREPARE, answers.told)
    assert heard(far) == (PREPARE, 3)
    assert {label: os.fstat(fd).st_ino for label, fd in kept.task().fds.items()} == before
    wire.send(far, Prepared())
    loop.run_once(5)
    assert answers == [(successor.pid, None)]
    successor.start(START, [], answers.told)
    assert heard(far) == (START, 0)
    successor.abandon()
