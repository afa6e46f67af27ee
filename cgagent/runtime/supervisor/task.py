"""One task of the supervisor: a container's first process, or a command run inside one.

A view of the task's holding, which has its process (a pidfd), its standard streams and how far it
is, from the zygote's birth until the exit was told. Made for a new holding, or for one that a
predecessor left: `resume` then goes on where that one was killed. The supervisor owns the tasks and
the event loop they are registered with.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import stat
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from cgagent.errors import CgagentError, ConflictError, InternalError
from cgagent.kernel import descriptors
from cgagent.kernel import pidfd as process
from cgagent.messages import wire
from cgagent.messages.record import MessageError, encode
from cgagent.runtime.messages.agent import Prepare, Start, TaskListed
from cgagent.runtime.messages.jobs import ContainerJob
from cgagent.runtime.messages.outcomes import Exit, Failed, Status
from cgagent.runtime.messages.zygote import REPORTS, Became, Console, Prepared, Ready
from cgagent.runtime.protocol import EXIT_FILE, Exchange, State
from cgagent.runtime.supervisor.dying import kill, kill_and_reap
from cgagent.runtime.supervisor.stdio import Stdio, let_go

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from cgagent.kernel.loop import Loop
    from cgagent.kernel.pipes import Mirror
    from cgagent.messages.record import Message
    from cgagent.runtime.external.parent import Launchers
    from cgagent.runtime.messages.held import Ended, HeldTask
    from cgagent.runtime.messages.jobs import Streams
    from cgagent.runtime.supervisor.attached import Client
    from cgagent.runtime.supervisor.holdings import Holding
    from cgagent.runtime.supervisor.strays import Strays

    Told = Callable[[int, CgagentError | None], bool]
    """Told the pid when it is done, 0 if another zygote is needed for that, or why it is not.

    Whether anybody was left to be told.
    """

_TREE: Final = "tree/"
_SUFFIX: Final = ".new"
_DIED: Final = "the first process died before its job was known"
_UNKNOWN: Final = "its exit code is not known: it outlived the process that would have been told"


@dataclass(frozen=True, slots=True)
class Shared:
    """What all tasks of a supervisor use."""

    loop: Loop
    mirror: Mirror
    launchers: Launchers
    strays: Strays


class Owner(Protocol):
    """Who has the tasks."""

    def task_started(self, task: Task, *, told: bool) -> None:
        """Its command runs; another runtime may have made its process. `told`: see below."""

    def task_spoiled(self, task: Task) -> None:
        """Its zygote has ended before its start, which would fail."""

    def task_failed(self, task: Task, error: CgagentError, *, told: bool) -> None:
        """It did not, and no trace of it stays; `told`: whoever asked for the start knows."""

    def client_cut_off(self, task: Task) -> None:
        """One that was attached to it and did not read."""

    def task_exited(self, task: Task) -> bool:
        """Once; whether there is somebody who will have the task forgotten."""


class Task:
    """One task; a view of its holding.

    `is_ours`: whether the process is our child; else the keeper's, which tells how it ended.
    """

    def __init__(
        self,
        held: Holding[HeldTask],
        shared: Shared,
        owner: Owner,
        *,
        is_ours: bool,
    ) -> None:
        self._held = held
        self._loop = shared.loop
        self._launchers = shared.launchers
        self._strays = shared.strays
        self._owner = owner
        self.is_ours = is_ours
        self._started: list[Told] = []
        self._preparing: list[Told] = []
        self._is_launching = False
        """With another runtime: the zygote makes the process, and does not become it."""
        self._given: Streams | None = None
        """The streams that the zygote has; what a predecessor may have given is given again."""
        self._staying: list[Client] = []
        self.exchange = Exchange(held.value.key, held.value.state)
        self.stdio = Stdio(held, shared.loop, shared.mirror, lambda: owner.client_cut_off(self))

    @property
    def key(self) -> str:
        return self.exchange.key

    @property
    def pid(self) -> int:
        return self._held.value.pid

    @property
    def pidfd(self) -> int:
        return self._held.fds["pidfd"]

    @property
    def exit(self) -> Exit | None:
        return self._held.value.exit

    def describe(self) -> TaskListed:
        return TaskListed(key=self.key, state=self.exchange.state, pid=self.pid)

    def attach(self, client: Client) -> None:
        self.stdio.attach(client)

    def take_over(self, client: Client) -> None:
        """From a predecessor. One that was attached until the end gets what it has not got yet."""
        if client.closing or self.exchange.state is State.EXITED:
            client.finish(Status.of_exit(self.exit or Exit()))
            let_go(client, self._loop)
        else:
            self.attach(client)

    def signal(self, number: int, *, group: bool = False) -> None:
        """To its process, or to all of its process group."""
        self.exchange.check("signal")
        try:
            if group:
                process.signal_group(self.pid, self.pidfd, number)
            else:
                signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            raise ConflictError(f"task {self.key} has just ended") from None

    def lose_agent(self) -> None:
        """End it if it is a command of the agent's own; let its clients go if it has ended."""
        self._let_clients_go()
        if self.exchange.state in {State.STARTING, State.RUNNING}:
            self._kill_agents_own()

    def _kill_agents_own(self) -> None:
        """With what it has left behind, if it is a command of the agent's own."""
        if not self._held.value.own:
            return
        kill(self.pidfd)
        with contextlib.suppress(ProcessLookupError):
            process.signal_group(self.pid, self.pidfd, signal.SIGKILL)

    def resize(self, rows: int, columns: int) -> None:
        """Of its terminal.

        Raises:
            ConflictError: it has none.
        """
        self.exchange.check("resize")
        self.stdio.resize(rows, columns)

    def _advance(self, what: str, value: HeldTask, close: Iterable[str] = ()) -> None:
        self.exchange.advance(what)
        self._held.put(value.replace(state=self.exchange.state), close=close)

    # -- the start --------------------------------------------------------------------------

    def prepare(self, asked: Prepare, done: Told) -> None:
        """Let the zygote do what can be done before the start. If it fails at that, it ends.

        A start that was asked for before does all of it.
        """
        if self.exchange.state in {State.STARTING, State.RUNNING}:
            done(self.pid, None)
            return
        self.exchange.check("prepare")
        child_ends: list[int] = []
        if asked.streams is None:
            self._held.update(is_preparing=True)
        else:
            if self._held.value.streams != asked.streams:  # else they are a predecessor's
                self.stdio.open(asked.streams, self._held.value.replace(is_preparing=True))
            child_ends = self.stdio.child_ends()
            self._given = asked.streams
        self._preparing.append(done)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._send(asked, child_ends)
        self._watch_zygote()

    def _watch_zygote(self) -> None:
        """That prepares."""
        self._loop.watch(self._held.fds["zygote"], selectors.EVENT_READ, self._hear_ahead)

    def _hear_ahead(self) -> None:
        """It has prepared, or has failed: why it has stays to be read, for a start."""
        zygote = self._held.fds["zygote"]
        with descriptors.as_socket(zygote) as sock:
            said, _ = _peek(sock)
            if isinstance(said, Prepared):
                wire.receive(sock, *REPORTS)
                self._tell_prepared(None)
                return
        self._loop.forget(zygote)
        why = said.why.error() if isinstance(said, Failed) else InternalError(_DIED)
        if not self._tell_prepared(why):
            self._owner.task_spoiled(self)

    def _tell_prepared(self, failure: CgagentError | None) -> bool:
        """Whether there was anybody left to be told."""
        preparing, self._preparing = self._preparing, []
        told = [done(self.pid, failure) for done in preparing]
        return any(told)

    def start(self, asked: Start, trees: list[int], done: Told) -> None:
        """Hand the zygote its job; `done` is called when its command runs or has failed.

        `trees` are mounts that somebody with more power than the zygote has made for it.
        """
        self.exchange.check("start")
        if trees:
            self._held.update({f"{_TREE}{n}": os.dup(fd) for n, fd in enumerate(trees)})
        directory = asked.job.bundle if isinstance(asked.job, ContainerJob) else None
        value = self._held.value.replace(
            state=State.STARTING, start=asked, directory=directory, own=asked.own
        )
        if self._given == asked.streams:
            self._held.put(value)
        else:
            self._given = None
            self.stdio.open(asked.streams, value)
        self.exchange.advance("start")
        self._started.append(done)
        self._send_job(asked)

    def join_start(self, done: Told) -> None:
        """Ask again for a start that a predecessor had been asked for."""
        if self.exchange.state is State.STARTING:
            self._started.append(done)
        else:
            done(self.pid, None)

    def _send_job(self, job: Start) -> None:
        """After it a zygote reads no other: one that is sent twice does not matter."""
        zygote = self._held.fds["zygote"]
        self._loop.forget(zygote)  # watched for another reason, if it was prepared
        if job.launch is not None:
            self._is_launching = True
            self._launchers.begin()
        child_ends = self.stdio.child_ends() if self._given is None else []
        if job.owner is not None:  # who cannot take it: see own_stdio
            _give_pipes(child_ends, job.owner)
        # BrokenPipeError: it has failed already; its message is waiting to be read
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._send(job, child_ends, self._trees().values())
        self._loop.watch(zygote, selectors.EVENT_READ, self._hear_zygote)

    def _send(self, job: Prepare | Start, streams: list[int], trees: Iterable[int] = ()) -> None:
        """To the zygote; `streams` are closed here."""
        try:
            with descriptors.as_socket(self._held.fds["zygote"]) as sock:
                wire.send(sock, job, [*streams, *trees])
        finally:
            for fd in streams:
                os.close(fd)

    def _trees(self) -> dict[str, int]:
        """In the order they were given."""
        labels = [label for label in self._held.fds if label.startswith(_TREE)]
        labels.sort(key=lambda label: int(label.removeprefix(_TREE)))
        return {label: self._held.fds[label] for label in labels}

    def _hear_zygote(self) -> None:
        zygote = self._held.fds["zygote"]
        with descriptors.as_socket(zygote) as sock:
            said, fds = _peek(sock)
            if said is not None:
                self._note(said, fds)
                _take_away(sock)  # it is noted now
                return
        self._loop.forget(zygote)
        self._end_launch()
        if self._held.value.is_ready:
            self._run()
        else:
            self._fail()

    def hear_launcher(self) -> None:
        """All it has said so far: before its end it has said what it made."""
        while self._is_launching and _is_readable(self._held.fds["zygote"]):
            self._hear_zygote()

    def _note(self, said: Message, fds: list[int]) -> None:
        match said:
            case Ready():
                self._held.update(is_ready=True)
            case Prepared():
                self._tell_prepared(None)
            case Console():
                self.stdio.take_terminal(fds[0])
            case Became() if said.pid == self.pid:  # heard again after a takeover
                os.close(fds[0])
            case Became():
                made = {"launcher": os.dup(self.pidfd), "pidfd": fds[0]}
                self._held.update(made, pid=said.pid)
            case Failed():
                self._held.update(failure=said.why, is_ready=False)

    def _run(self) -> None:
        value = self._held.value.replace(start=None, is_ready=False)
        self._advance("running", value, close=["zygote", *self._trees()])
        self._watch_process()
        self.stdio.run()
        self._owner.task_started(self, told=self._tell_started(None))
        self._end_if_told()

    def _fail(self) -> None:
        """The process ended before its command ran: no trace of the task stays."""
        if self._retract():
            return
        kill(self.pidfd)  # a launcher may have left it
        info = self._await_end(self.pidfd)
        failure = self._held.value.failure
        if failure is None:
            how = f"signal {info.si_status}" if info and info.si_status else "no message"
            error: CgagentError = InternalError(
                f"the first process died while it was set up ({how}); "
                "a memory or pids limit may be too small for that"
            )
        else:
            error = failure.error()
        self._close(Status.of_failure(error))
        self._tell_prepared(error)
        self._owner.task_failed(self, error, told=self._tell_started(error))
        self._held.drop()

    def _retract(self) -> bool:
        """Whether the zygote was killed from outside, and somebody is there to make another one.

        It would have said why it failed. It may have been killed before it was sent its job.
        """
        value = self._held.value
        if value.failure is not None or value.start is None or not value.start.renewable:
            return False
        if not self._tell_started(None, pid=0):
            return False
        self._tell_prepared(InternalError(_DIED))
        self._advance("retracted", value.replace(start=None))
        return True

    def _tell_started(self, failure: CgagentError | None, pid: int | None = None) -> bool:
        started, self._started = self._started, []
        told = [done(self.pid if pid is None else pid, failure) for done in started]
        return any(told)

    def _await_end(self, pidfd: int) -> os.waitid_result | None:
        """Of a process that is about to end; how it did, if it is our child."""
        if self.is_ours:
            return os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll()
        return None

    def _end_launch(self) -> None:
        """It has said all it had to say, or shall not say more."""
        if not self._is_launching:
            return
        launcher = self._held.fds.get("launcher")
        if launcher is not None:
            self._await_end(launcher)
            self._held.close("launcher")
        self._launchers.end()
        self._is_launching = False

    # -- the end ----------------------------------------------------------------------------

    def _watch_process(self) -> None:
        if self.is_ours:
            self._loop.watch(self.pidfd, selectors.EVENT_READ, self._reap)
        elif self._held.value.is_stray:
            self._loop.watch(self.pidfd, selectors.EVENT_READ, self._trace)

    def _reap(self) -> None:
        """Our child has ended. It stays as a zombie until its exit is noted."""
        info = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if info is None:
            return
        self._kill_agents_own()
        self.ended(killed=info.si_code != os.CLD_EXITED, status=info.si_status)
        os.waitid(os.P_PID, self.pid, os.WEXITED)

    def _trace(self) -> None:
        """Somebody else's child has ended, and its parent will not tell us."""
        self._kill_agents_own()
        found = self._strays.status(self.pid, self.pidfd)
        if found is None:
            self.ended(killed=True, status=signal.SIGKILL, error=_UNKNOWN)
        elif os.WIFSIGNALED(found):
            self.ended(killed=True, status=os.WTERMSIG(found))
        else:
            self.ended(killed=False, status=os.WEXITSTATUS(found))

    def told_of_end(self, ended: Ended) -> None:
        """By the keeper, whose child and zombie it is; perhaps before we know that it runs."""
        if self.exchange.state is not State.EXITED:
            self._kill_agents_own()
            self._held.update(ended=ended)
            self._end_if_told()

    def _end_if_told(self) -> None:
        ended = self._held.value.ended
        if ended is None or ended.pid != self.pid:  # that was the launcher
            return
        if self.exchange.state is State.RUNNING:
            self.ended(killed=ended.killed, status=ended.status)

    def ended(self, *, killed: bool, status: int, error: str | None = None) -> None:
        """Its process has. Once noted, a successor goes on with the rest."""
        if self.exchange.state is not State.RUNNING or self.exit is not None:
            return
        self.stdio.drain()
        exit_ = Exit(
            pid=self.pid,
            exit_code=128 + status if killed else status,
            signal=status if killed else None,
            finished_ns=time.time_ns(),
            log_dropped_bytes=self.stdio.dropped_bytes,
            error=error,
        )
        self._held.update(exit=exit_)
        self._finish(exit_)

    def _finish(self, exit_: Exit) -> None:
        self._unwatch()
        self.stdio.close()  # before anybody is told: the log is complete
        self._write_exit_file(exit_)
        self._advance("exited", self._held.value, close=list(self._held.fds))
        is_told = self._owner.task_exited(self)  # first, as it has most to do
        self._staying = self.stdio.see_off(Status.of_exit(exit_), stay=is_told)

    def _write_exit_file(self, exit_: Exit) -> None:
        """For an agent yet to come, if we are not there any more when it comes."""
        directory = self._held.value.directory
        if directory is None:
            return
        path = os.path.join(directory, EXIT_FILE)
        with contextlib.suppress(OSError):  # a full disk: the event and `list` still tell it
            with open(path + _SUFFIX, "wb", buffering=0) as f:
                f.write(encode(exit_))
            os.rename(path + _SUFFIX, path)

    def abandon(self, status: Status | None = None, *, with_groups: bool = False) -> None:
        """End a zygote whose command does not run; clients that wait for it are told `status`.

        `with_groups`: its cgroups go as well; nobody else knows them until an agent comes.
        """
        if self._is_launching:
            self._kill_launch()
        else:
            dirs = self._held.value.cgroup_dirs if with_groups else ()
            then = partial(_remove_groups, dirs)
            kill_and_reap(self._loop, self.pidfd, is_ours=self.is_ours, then=then)
        why = given_up(self.key)
        self._close(status or Status.of_failure(why))
        self._tell_prepared(why)
        self._tell_started(why)
        self.forget()

    def _kill_launch(self) -> None:
        """Launcher and process; that is reaped after it, whose child it still is."""
        self._is_launching = False
        launcher = self._held.fds.get("launcher")
        made = None if launcher is None else os.dup(self.pidfd)

        def then() -> None:
            self._launchers.end()
            if made is not None:
                kill_and_reap(self._loop, made, is_ours=self.is_ours)
                os.close(made)

        if made is not None:
            kill(made)
        first = self.pidfd if launcher is None else launcher
        kill_and_reap(self._loop, first, is_ours=self.is_ours, then=then)

    def forget(self) -> None:
        self._held.drop()
        self._let_clients_go()

    def _let_clients_go(self) -> None:
        staying, self._staying = self._staying, []
        for client in staying:
            let_go(client, self._loop)

    # -- another process's death ------------------------------------------------------------

    def resume(self) -> None:
        """A predecessor was killed: go on."""
        value = self._held.value
        if self.exchange.state is State.CREATED and (value.is_preparing or value.streams):
            self.stdio.resume()
            self._watch_zygote()
        elif value.start is not None:
            self.stdio.resume()
            self._send_job(value.start)
        elif self.exchange.state is State.RUNNING:
            self.stdio.resume()
            if self.exit is not None:
                self._finish(self.exit)
                return
            self._watch_process()
            self.stdio.run()
            self._end_if_told()

    def lose_parent(self) -> None:
        """The keeper was killed: we are its successor's child, and our children are that one's."""
        if self.exchange.state is State.EXITED:
            return
        if self.is_ours:
            self.is_ours = False
            self._loop.forget(self.pidfd)
        else:
            self._held.update(is_stray=True)
            if self.exchange.state is State.RUNNING:
                self._watch_process()

    def _unwatch(self) -> None:
        for label in ("pidfd", "zygote"):
            if label in self._held.fds:
                self._loop.forget(self._held.fds[label])

    def _close(self, status: Status) -> None:
        self._unwatch()
        self.stdio.close()
        self.stdio.see_off(status)


def _peek(zygote: socket.socket) -> tuple[Message | None, list[int]]:
    """What it says next, None at its end."""
    try:
        try:
            received = wire.receive(zygote, *REPORTS, peek=True)
        except ConnectionResetError:  # told once, as it left something unread
            received = wire.receive(zygote, *REPORTS, peek=True)
    except MessageError as e:
        return Failed.of(e), []
    return received or (None, [])


def _take_away(zygote: socket.socket) -> None:
    with contextlib.suppress(MessageError):
        _, copies = wire.receive(zygote, *REPORTS) or (None, [])
        for fd in copies:
            os.close(fd)


def given_up(key: str) -> ConflictError:
    """Why a start failed that somebody has ended without a word why."""
    return ConflictError(f"task {key}: its start was given up")


def _remove_groups(directories: Iterable[str]) -> None:
    for directory in directories:
        with contextlib.suppress(OSError):  # the next agent sweeps what is left
            os.rmdir(directory)


def _give_pipes(fds: Iterable[int], owner: int) -> None:
    for fd in fds:
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, owner, owner)


def _is_readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
