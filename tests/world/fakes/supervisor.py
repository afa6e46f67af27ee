"""A supervisor without processes: it speaks the real protocol, in the event loop of the test.

Its tasks are numbers in a `CgroupTree`. They run until the test, a signal or their group ends them.
It outlives agents, as the real one does, and may be replaced like that.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import CgagentError, ConflictError, NotFoundError
from cgagent.runtime.messages.agent import (
    Attach,
    Create,
    CreateInside,
    Forget,
    List,
    Prepare,
    Resize,
    Signal,
    Start,
    Who,
)
from cgagent.runtime.messages.jobs import ContainerJob
from cgagent.runtime.messages.outcomes import Exit, Status
from cgagent.runtime.protocol import EXIT_FILE, Exchange, State
from tests.world.fakes import wire
from tests.world.fakes.cgroups import FIRST_PID

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world.fakes.cgroups import CgroupTree

_SOCKET: Final = "supervisor.sock"


@dataclass(slots=True)
class Client:
    """A client's socket that was passed on."""

    sock: socket.socket
    is_raw: bool
    stays: bool

    def finish(self, last: bytes | None) -> None:
        with self.sock, contextlib.suppress(OSError):
            if last and not self.is_raw:
                self.sock.send(last)


@dataclass(slots=True)
class FakeTask:
    exchange: Exchange
    pid: int
    started: Start | None = None
    """What its start was told."""
    clients: list[Client] = field(default_factory=list)
    exit: Exit | None = None

    @property
    def key(self) -> str:
        return self.exchange.key

    @property
    def state(self) -> State:
        return self.exchange.state


class Hold:
    """Requests of one kind, which are not answered before `release`."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._may_go = asyncio.Event()

    def release(self) -> None:
        self._may_go.set()

    async def wait(self) -> None:
        self.asked.set()
        await self._may_go.wait()


class FakeSupervisor:
    """`run_dir` is where the agent looks for its socket."""

    def __init__(self, run_dir: Path, tree: CgroupTree) -> None:
        self._path = run_dir / _SOCKET
        self._tree = tree
        self._pids = itertools.count(FIRST_PID)
        self._listener: socket.socket | None = None
        self._agent: socket.socket | None = None
        self._agent_name = ""
        self._failures: dict[str, list[CgagentError]] = defaultdict(list)
        self._holds: dict[str, Hold] = {}
        self._waiting: dict[str, list[Client]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.who = Who(pid=os.getpid(), keeper=os.getpid(), life="one")
        self.tasks: dict[str, FakeTask] = {}
        self.asked: list[wire.Asked] = []
        """Everything, in its order."""
        self.ignored: set[int] = set()
        """Signals that no task dies of."""
        self.killed_zygotes = 0
        """So many of the next starts that may be made again find their zygote killed."""
        self.on_start: Callable[[FakeTask], None] = lambda _: None
        tree.on_kill.append(self._killed_from_elsewhere)

    # -- its life ---------------------------------------------------------------------------

    def listen(self) -> None:
        """In the event loop that runs."""
        if self._listener is not None:
            return
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._listener.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """It is killed: what it was asked stays unanswered. Its tasks run on."""
        for task in list(self._answering):
            task.cancel()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
        self._lose_agent()

    def shut_down(self) -> None:
        """With its tasks and the connections of their clients: the end of a test."""
        self.close()
        for key in list(self.tasks):
            self._lose(key)
        for client in [c for clients in self._waiting.values() for c in clients]:
            client.finish(None)

    def succeed(self) -> None:
        """Another one takes over from it: the same tasks, another process."""
        self.close()
        who = self.who
        self.who = Who(pid=next(self._pids), keeper=who.keeper, life=who.life)
        self.listen()

    def replace(self) -> None:
        """It is gone with its keeper, and so is every task; another one is started."""
        self.close()
        self._tree.leave(*(task.pid for task in self.tasks.values()))
        self.tasks.clear()
        pid, keeper = next(self._pids), next(self._pids)
        self.who = Who(pid=pid, keeper=keeper, life=f"{self.who.life}+")
        self.listen()

    def _accept(self) -> None:
        assert self._listener is not None
        self._lose_agent()
        self._agent, _ = self._listener.accept()
        self._agent.setblocking(False)
        asyncio.get_running_loop().add_reader(self._agent.fileno(), self._hear)

    def _lose_agent(self) -> None:
        if self._agent is not None:
            asyncio.get_running_loop().remove_reader(self._agent.fileno())
            self._agent.close()
            self._agent = None

    # -- what a test lets happen ------------------------------------------------------------

    def fail(self, op: str, error: CgagentError, times: int = 1) -> None:
        """Let the next requests of that kind fail."""
        self._failures[op] += [error] * times

    def hold(self, op: str) -> Hold:
        """Leave requests of that kind unanswered until the hold is released."""
        hold = self._holds[op] = Hold()
        return hold

    def ops(self, key: str = "") -> list[str]:
        """What was asked, of one task or at all."""
        return [asked.op for asked in self.asked if key in {"", asked.key}]

    def end(
        self, key: str, exit_code: int = 0, *, number: int | None = None, output: bytes = b""
    ) -> None:
        """Let a task's process end by itself or of a signal."""
        task = self.tasks[key]
        task.exchange.advance("exited")
        self._tree.leave(task.pid)
        how = task.exit = Exit(
            pid=task.pid, exit_code=exit_code, signal=number, finished_ns=time.time_ns()
        )
        if task.started is not None and isinstance(task.started.job, ContainerJob):
            (Path(task.started.job.bundle) / EXIT_FILE).write_bytes(wire.exit_file(how))
        self._see_off(task, wire.output(output) + wire.status(Status.of_exit(how)))
        self._tell(lambda agent: wire.tell_exit(agent, key, how))

    def spoil(self, key: str) -> None:
        """Let a zygote die before its start."""
        self._tree.leave(self.tasks[key].pid)
        self._tell(lambda agent: wire.tell_exit(agent, key, Exit(pid=self.tasks[key].pid)))

    def cut_off(self, key: str) -> None:
        self._tell(lambda agent: wire.tell_cut_off(agent, key))

    def tell_started(self, key: str, pid: int) -> None:
        self._tell(lambda agent: wire.tell_started(agent, key, pid))

    def tell_exit(self, key: str, **how: Any) -> None:
        """Whether there is such a task or not."""
        self._tell(lambda agent: wire.tell_exit(agent, key, Exit(**how)))

    def move(self) -> None:
        """It becomes the keeper; its child has the same connection."""
        self.who = Who(pid=next(self._pids), keeper=self.who.pid, life=self.who.life)
        self._tell(lambda agent: wire.tell_moved(agent, self.who))

    def _tell(self, send: Callable[[socket.socket], None]) -> None:
        """The agent, if there is one."""
        if self._agent is not None:
            try:
                send(self._agent)
            except OSError:
                self._lose_agent()

    def _see_off(self, task: FakeTask, last: bytes | None) -> None:
        for client in task.clients:
            if client.stays and task.exit is not None:
                client.sock.send(last or b"")
            else:
                client.finish(last)
        task.clients = [c for c in task.clients if c.stays and task.exit is not None]

    # -- what it is asked -------------------------------------------------------------------

    def _hear(self) -> None:
        while self._agent is not None:
            try:
                asked = wire.receive(self._agent)
            except BlockingIOError:
                return
            except OSError:
                asked = None
            if asked is None:
                self._lose_agent()
                return
            self.asked.append(asked)
            hold = self._holds.get(asked.op)
            if hold is None:
                self._handle(self._agent, asked)
            else:
                later = asyncio.create_task(self._handle_later(self._agent, asked, hold))
                self._answering.add(later)
                later.add_done_callback(self._answering.discard)

    async def _handle_later(self, agent: socket.socket, asked: wire.Asked, hold: Hold) -> None:
        await hold.wait()
        if agent is self._agent:
            self._handle(agent, asked)

    def _handle(self, agent: socket.socket, asked: wire.Asked) -> None:
        pid = None
        try:
            if self._failures[asked.op]:
                raise self._failures[asked.op].pop(0)
            if isinstance(asked.request, List):
                self._list(agent, asked, asked.request)
                return
            pid = self._do(asked)
        except CgagentError as e:
            if asked.op == "start":
                self._lose(asked.key, wire.status(Status.of_failure(e)))
            for fd in asked.fds:
                os.close(fd)
            wire.refuse(agent, asked, e)
            return
        wire.answer(agent, asked, pid)
        if asked.op == "start" and pid:
            self.on_start(self.tasks[asked.key])

    def _list(self, agent: socket.socket, asked: wire.Asked, request: List) -> None:
        if request.agent != self._agent_name:
            self._agent_name = request.agent
            for key in [k for k, task in self.tasks.items() if task.state is State.CREATED]:
                self._lose(key)
        for task in self.tasks.values():
            wire.tell_task(agent, task.exchange, task.pid)
            if task.exit is not None:
                wire.tell_exit(agent, task.key, task.exit)
        wire.introduce(agent, asked, self.who)

    def _do(self, asked: wire.Asked) -> int | None:
        """The pid of the task, where that is the answer."""
        match asked.request:
            case Create() | CreateInside() as request:
                return self._create(request, is_again=asked.is_again)
            case Start() as request:
                return self._start(request, is_again=asked.is_again)
            case Prepare():
                return self._task(asked).pid
            case Attach() as request:
                self._attach(self._task(asked), request, asked.fds)
            case Signal() as request:
                self._signal(self._task(asked), request.signal)
            case Forget() as request:
                self._forget(request)
            case Resize():
                self._task(asked)
        return None

    def _task(self, asked: wire.Asked) -> FakeTask:
        task = self.tasks.get(asked.key)
        if task is None:
            raise NotFoundError(f"task {asked.key} is not known to the supervisor")
        task.exchange.check(asked.op)
        return task

    def _create(self, request: Create | CreateInside, *, is_again: bool) -> int:
        key = request.key
        if key in self.tasks:
            if is_again:
                return self.tasks[key].pid
            raise ConflictError(f"task {key} exists already")
        task = FakeTask(Exchange(key), next(self._pids))
        if request.cgroup_dir:
            try:
                self._tree.join(Path(request.cgroup_dir), task.pid)
            except FileNotFoundError:  # the container has ended meanwhile
                raise NotFoundError(f"cgroup {request.cgroup_dir} is gone") from None
        self.tasks[key] = task
        task.clients = self._waiting.pop(key, [])
        return task.pid

    @staticmethod
    def _attach(task: FakeTask, request: Attach, fds: list[int]) -> None:
        sock, *tails = fds
        for fd in tails:
            os.close(fd)
        task.clients.append(Client(socket.socket(fileno=sock), request.raw, request.stay))

    def _start(self, request: Start, *, is_again: bool) -> int:
        task = self.tasks.get(request.key)
        if task is None:
            raise NotFoundError(f"task {request.key} is not known to the supervisor")
        if is_again and task.state is not State.CREATED:
            return task.pid
        task.exchange.check("start")
        if request.renewable and self.killed_zygotes:
            self.killed_zygotes -= 1
            self._waiting[request.key], task.clients = task.clients, []
            self._lose(request.key)
            return 0
        task.exchange.advance("start")
        task.exchange.advance("running")
        task.started = request
        return task.pid

    def _signal(self, task: FakeTask, number: int) -> None:
        if number not in self.ignored:
            asyncio.get_running_loop().call_soon(self._die, task, number)

    def _die(self, task: FakeTask, number: int) -> None:
        if task.state is State.RUNNING:
            self.end(task.key, 128 + number, number=number)

    def _forget(self, request: Forget) -> None:
        task = self.tasks.get(request.key)
        if task is None:
            return
        task.exchange.check("forget")
        if request.keep_clients:
            self._waiting[request.key], task.clients = task.clients, []
        self._lose(request.key, wire.status(request.status) if request.status else None)

    def _lose(self, key: str, last: bytes | None = None) -> None:
        task = self.tasks.pop(key, None)
        if task is None:
            return
        self._tree.leave(task.pid)
        for client in task.clients:
            client.finish(None if task.exit else last)

    def _killed_from_elsewhere(self, pids: list[int]) -> None:
        """By their group, in another thread."""
        if self._loop is not None:
            for task in [t for t in self.tasks.values() if t.pid in pids]:
                self._loop.call_soon_threadsafe(self._die, task, signal.SIGKILL)
