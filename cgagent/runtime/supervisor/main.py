"""The supervisor: parent of every container's first process, and nothing more.

One small single-threaded process for all containers, standard library only. It outlives the
agent: containers, their logs and exit codes do not depend on the agent being there. It ends by
itself when it has no task and no agent. See `cgagent.runtime.protocol` for what it is told.

It may be killed as well. What it cannot make anew is in its holdings, which the keeper has too
(`cgagent.runtime.supervisor.keeper`): a successor makes its tasks of them and goes on. What an
agent had asked and was not answered the agent asks again.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Final

from cgagent.errors import (
    EXIT_CODE,
    CgagentError,
    ConflictError,
    InternalError,
    NotFoundError,
    UnavailableError,
)
from cgagent.kernel import descriptors, namespaces
from cgagent.kernel.loop import Loop
from cgagent.kernel.pipes import Mirror
from cgagent.messages import wire
from cgagent.messages.record import Message, MessageError
from cgagent.runtime.external.parent import Launchers
from cgagent.runtime.messages.agent import (
    Answer,
    Ask,
    Attach,
    ClientCutOff,
    Create,
    CreateInside,
    Done,
    Forget,
    List,
    Moved,
    Pid,
    Prepare,
    Resize,
    Signal,
    Start,
    TaskExited,
    TaskStarted,
    Who,
)
from cgagent.runtime.messages.held import Ended, HeldClient, HeldSelf, HeldTask
from cgagent.runtime.messages.outcomes import Exit, Failed, Status
from cgagent.runtime.protocol import State
from cgagent.runtime.supervisor import attached as client
from cgagent.runtime.supervisor.attached import Client
from cgagent.runtime.supervisor.holdings import Entries, Holding, Holdings
from cgagent.runtime.supervisor.keeper import Keeper, rename_process
from cgagent.runtime.supervisor.stdio import let_go, see_off
from cgagent.runtime.supervisor.strays import Strays
from cgagent.runtime.supervisor.task import Shared, Task, given_up
from cgagent.runtime.supervisor.zygotes import Zygotes, make_inside

if TYPE_CHECKING:
    from cgagent.runtime.container.birth import Born
    from cgagent.runtime.supervisor.task import Told

_FIRST_AGENT_S: Final = 30.0
_NO_AGENT: Final = "the agent ended before it had started this; ask again"
_ALWAYS_WATCHED: Final = 2  # the listener and the keeper
_TASK: Final = "task/"
_CLIENT: Final = "client/"
_OWN: Final = "supervisor"


class Supervisor:
    """`holdings` are a predecessor's, or empty."""

    def __init__(self, listener: socket.socket, holdings: Holdings) -> None:
        self._listener = listener
        self._holdings = holdings
        self._loop = Loop()
        self._strays = Strays(self._loop)
        self._shared = Shared(self._loop, Mirror(), Launchers(), self._strays)
        self._tasks: dict[str, Task] = {}
        self._waiting: dict[str, list[Client]] = {}
        """By key: clients of a zygote that was given up for another one, until that is there."""
        self._agent: socket.socket | None = None
        self._unsent: list[Message] = []
        self._agent_due: float | None = time.monotonic() + _FIRST_AGENT_S
        self._keeper: Keeper | None = None
        self._zygotes = Zygotes()
        self._own = Holding(holdings, _OWN, HeldSelf)
        if not self._own.exists:
            self._own.put(HeldSelf(life=os.urandom(8).hex()))

    def run(self) -> Keeper | None:
        """Until there is nothing to do: None; or until this process has to be the keeper."""
        rename_process("cgagent-superv")
        self._loop.watch(self._listener.fileno(), selectors.EVENT_READ, self._accept)
        channel = self._holdings.channel.fileno()
        self._loop.watch(channel, selectors.EVENT_READ, self._hear_keeper)
        self._resume()
        while not self._is_done():
            timeout = None
            if self._agent_due is not None:
                timeout = max(0.0, self._agent_due - time.monotonic())
            self._loop.run_once(timeout)
            if self._keeper is not None:
                return self._keeper
            if self._agent_due is not None and time.monotonic() >= self._agent_due:
                self._agent_due = None
                self._give_up_zygotes()
        return None

    def _is_done(self) -> bool:
        """No agent, no process, no output to send."""
        if self._agent_due is not None or self._loop.watched > _ALWAYS_WATCHED:
            return False
        return all(task.exchange.state is State.EXITED for task in self._tasks.values())

    # -- what a predecessor left ------------------------------------------------------------

    def _resume(self) -> None:
        for name in self._holdings.named(_TASK):
            task = self._new_task(Holding(self._holdings, name, HeldTask), is_ours=False)
            self._tasks[task.key] = task
        for name in self._holdings.named(_CLIENT):
            held = Holding(self._holdings, name, HeldClient)
            left = Client(held)
            key = held.value.key
            if key in self._tasks:
                self._tasks[key].take_over(left)
            elif left.closing:
                let_go(left, self._loop)
            else:
                self._waiting.setdefault(key, []).append(left)
        self._follow_strays()
        for task in list(self._tasks.values()):
            task.resume()

    def _new_task(self, held: Holding[HeldTask], *, is_ours: bool) -> Task:
        return Task(held, self._shared, self, is_ours=is_ours)

    # -- the keeper -------------------------------------------------------------------------

    def _hear_keeper(self) -> None:
        """A process that a predecessor was the parent of has ended; or the keeper itself."""
        try:
            received = wire.receive(self._holdings.channel, Ended)
        except ConnectionResetError:
            return  # what it had sent before comes next
        if received is None:
            self._replace_keeper()
            return
        ended, _ = received
        for task in list(self._tasks.values()):
            task.hear_launcher()
            if task.pid == ended.pid and not task.is_ours:
                task.told_of_end(ended)
        self._holdings.reap(ended.pid)

    def _replace_keeper(self) -> None:
        """A parent cannot be found for our children but us: we become it, and fork."""
        self._loop.forget(self._holdings.channel.fileno())
        self._holdings.channel.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        namespaces.set_child_subreaper(take=True)  # before there is a child that could die
        pid = os.fork()
        if pid:
            self._let_go(ours)
            self._keeper = Keeper(self._holdings.entries, (pid, ours))
            return
        ours.close()
        rename_process("cgagent-superv")
        self._loop.renew()
        self._holdings.channel = theirs
        self._loop.watch(theirs.fileno(), selectors.EVENT_READ, self._hear_keeper)
        for task in list(self._tasks.values()):
            task.lose_parent()
        self._follow_strays()
        self._tell(Moved(who=self._who()))

    def _follow_strays(self) -> None:
        """What the keeper is the parent of, now or in a moment: it may be killed."""
        unended = (t for t in self._tasks.values() if t.exchange.state is not State.EXITED)
        self._strays.follow([task.pid for task in unended if not task.is_ours])

    def _strays_changed(self, task: Task) -> None:
        """By this task, unless it is none of them."""
        if not task.is_ours:
            self._follow_strays()

    def _let_go(self, channel: socket.socket) -> None:
        """Of everything but the holdings: the child goes on with it."""
        self._strays.follow(())
        self._loop.close()
        if self._agent is not None:
            self._agent.detach()
        held = {fd for entry in self._holdings.entries.values() for fd in entry.fds.values()}
        std = {0, 1, 2}
        descriptors.close_all_but(std | held | {self._listener.fileno(), channel.fileno()})

    def _who(self) -> Who:
        return Who(pid=os.getpid(), keeper=os.getppid(), life=self._own.value.life)

    # -- the agent's connection -------------------------------------------------------------

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        if struct.unpack("3i", credentials)[1] != os.geteuid():
            connection.close()
            return
        if self._agent is not None:  # a new agent: the old one can only be dying
            self._lose_agent()
        connection.setblocking(False)
        self._agent = connection
        self._agent_due = None
        self._loop.watch(connection.fileno(), selectors.EVENT_READ, self._hear_agent)

    def _lose_agent(self) -> None:
        if self._agent is None:
            return
        self._loop.forget(self._agent.fileno())
        self._agent.close()
        self._agent = None
        self._unsent.clear()
        self._give_up_zygotes()

    def _give_up_zygotes(self) -> None:
        """Nobody is left who would start them, or who wants what was the agent's own."""
        told = Status.of_failure(UnavailableError(_NO_AGENT))
        for key in list(self._waiting):
            self._see_off_waiting(key, told)
        for task in list(self._tasks.values()):
            task.lose_agent()
            if task.exchange.state is State.CREATED:
                task.abandon(told, with_groups=True)
                self._lose(task)

    def _hear_agent(self) -> None:
        if self._agent is None:
            return
        try:
            received = wire.receive(self._agent, Ask)
        except BlockingIOError:
            self._flush()
            return
        except MessageError as e:
            self._refuse(e)
            return
        except OSError:
            received = None
        if received is None:
            self._lose_agent()
            return
        asked, fds = received
        try:
            result = self._do(asked, fds)
        except CgagentError as e:
            result = Failed.of(e)
        except (OSError, ValueError) as e:
            what = type(asked.request).__name__.lower()
            key = getattr(asked.request, "key", "")
            result = Failed.of(InternalError(f"{what} {key}: {_cause(e)}"))
        if result is not None:
            self._tell(Answer(seq=asked.seq, result=result))

    def _refuse(self, error: MessageError) -> None:
        """What the agent has said is no request: it is answered if there is a number."""
        seq = error.value.get("seq") if isinstance(error.value, dict) else None
        if isinstance(seq, int):
            self._tell(Answer(seq=seq, result=Failed.of(error)))
        else:
            sys.stderr.write(f"the agent is not understood: {error.message}\n")

    def _tell(self, message: Message) -> None:
        if self._agent is not None:
            self._unsent.append(message)
            self._flush()

    def _flush(self) -> None:
        while self._agent is not None and self._unsent:
            try:
                wire.send(self._agent, self._unsent[0])
            except BlockingIOError:
                both = selectors.EVENT_READ | selectors.EVENT_WRITE
                self._loop.watch(self._agent.fileno(), both, self._hear_agent)
                return
            except OSError:
                self._lose_agent()
                return
            del self._unsent[0]
        if self._agent is not None:
            self._loop.watch(self._agent.fileno(), selectors.EVENT_READ, self._hear_agent)

    # -- what it is told --------------------------------------------------------------------

    def _do(self, asked: Ask, fds: list[int]) -> Done | Pid | Who | Failed | None:
        """What is asked. None: it is answered later. The descriptors are closed or kept."""
        request = asked.request
        if isinstance(request, Attach):
            return self._attach(request, asked.seq, fds)
        try:
            match request:
                case Create() | CreateInside():
                    return self._create(request, again=asked.again)
                case Prepare():
                    self._task(request.key).prepare(request, self._answerer(asked.seq))
                    return None
                case Start():
                    self._start(request, fds, self._answerer(asked.seq), again=asked.again)
                    return None
                case Signal():
                    self._task(request.key).signal(request.signal, group=request.group)
                case Resize():
                    self._task(request.key).resize(request.rows, request.columns)
                case Forget():
                    self._forget(request)
                case List():
                    return self._list(request)
            return Done()
        finally:
            for fd in fds:
                os.close(fd)

    def _answerer(self, seq: int) -> Told:
        """Answers a request when it is done."""
        asker = self._agent

        def told(pid: int, failure: CgagentError | None) -> bool:
            if self._agent is not asker:  # another one's numbers mean other requests
                return False
            result = Pid(pid=pid) if failure is None else Failed.of(failure)
            self._tell(Answer(seq=seq, result=result))
            return True

        return told

    def _task(self, key: str) -> Task:
        task = self._tasks.get(key)
        if task is None:
            raise NotFoundError(f"task {key} is not known to the supervisor")
        return task

    def _create(self, asked: Create | CreateInside, *, again: bool) -> Pid:
        key = asked.key
        if key in self._tasks:
            if again and self._tasks[key].exchange.state is State.CREATED:
                return Pid(pid=self._tasks[key].pid)
            raise ConflictError(f"task {key} exists already")
        born = (
            self._make_inside(asked)
            if isinstance(asked, CreateInside)
            else self._zygotes.make(asked)
        )
        held = Holding(self._holdings, _TASK + key, HeldTask)
        dirs = [asked.cgroup_dir, *map(os.path.dirname, asked.join_files)]
        own = tuple(d for d in dirs if d) if isinstance(asked, Create) else ()
        task = HeldTask(key=key, state=State.CREATED, pid=born.pid, cgroup_dirs=own)
        held.put(task, {"pidfd": born.pidfd, "zygote": born.sock.detach()})
        self._tasks[key] = self._new_task(held, is_ours=True)
        for waiting in self._waiting.pop(key, ()):
            self._tasks[key].attach(waiting)
        return Pid(pid=born.pid)

    def _make_inside(self, asked: CreateInside) -> Born:
        target = self._task(asked.container)
        if target.exchange.state is not State.RUNNING:
            raise ConflictError(f"container {asked.container} is not running")
        return make_inside(asked, target.pidfd)

    def _attach(self, asked: Attach, seq: int, fds: list[int]) -> Done:
        """The client is known by the agent and its request: it is the same if asked again."""
        name = f"{_CLIENT}{self._own.value.agent}.{seq}"
        held = Holding(self._holdings, name, HeldClient)
        past: list[tuple[int, bytes]] = []
        try:
            task = self._task(asked.key)
            if not held.exists:
                task.exchange.check("attach")
                if asked.log_end:
                    past = task.stdio.logged_since(*asked.log_end)
        except CgagentError:
            _close_all(fds)
            raise
        if held.exists:
            _close_all(fds)
            return Done()
        if not fds:
            raise InternalError(f"attach {asked.key}: it came without the client's socket")
        wanted = HeldClient(
            key=asked.key,
            streams=asked.streams,
            raw=asked.raw,
            status=asked.status,
            failures=asked.failures,
            detach_keys=asked.detach_keys,
            stay=asked.stay,
        )
        client.hold(held, fds[0], wanted, fds[1] if len(fds) > 1 else None, past)
        task.attach(Client(held))
        return Done()

    def _start(self, asked: Start, fds: list[int], told: Told, *, again: bool) -> None:
        task = self._task(asked.key)
        if again and task.exchange.state is not State.CREATED:
            task.join_start(told)
        else:
            task.start(asked, fds, told)

    def _forget(self, asked: Forget) -> None:
        task = self._tasks.get(asked.key)
        if not asked.keep_clients:
            self._see_off_waiting(asked.key, asked.status)
        if task is None:
            return
        task.exchange.check("forget")
        if task.exchange.state is State.EXITED:
            task.forget()
        else:
            if asked.keep_clients:
                self._waiting.setdefault(asked.key, []).extend(task.stdio.release())
            task.abandon(asked.status)
        self._lose(task)

    def _see_off_waiting(self, key: str, status: Status | None) -> None:
        for waiting in self._waiting.pop(key, ()):
            waiting.stays = False
            waiting.finish(status or Status.of_failure(given_up(key)))
            see_off(waiting, self._loop)

    def _list(self, asked: List) -> Who:
        if asked.agent != self._own.value.agent:
            self._give_up_zygotes()  # another one's
            self._own.update(agent=asked.agent)
        for task in self._tasks.values():
            self._tell(task.describe())
            if task.exit is not None:
                self._tell(TaskExited(key=task.key, exit=task.exit))
        return self._who()

    def _lose(self, task: Task) -> None:
        self._tasks.pop(task.key, None)
        self._strays_changed(task)

    # -- what tasks tell --------------------------------------------------------------------

    def task_started(self, task: Task, *, told: bool) -> None:
        self._strays_changed(task)
        if not told:  # the agent of now knows the pid of whatever process it was until now
            self._tell(TaskStarted(key=task.key, pid=task.pid))

    def task_spoiled(self, task: Task) -> None:
        self._tell(TaskExited(key=task.key, exit=Exit(pid=task.pid)))

    def task_failed(self, task: Task, error: CgagentError, *, told: bool) -> None:
        self._lose(task)
        if not told:  # the agent of now has been told of one that starts, and takes it to run
            how = Exit(exit_code=EXIT_CODE[error.kind], error=error.message)
            self._tell(TaskExited(key=task.key, exit=how))

    def client_cut_off(self, task: Task) -> None:
        self._tell(ClientCutOff(key=task.key))

    def task_exited(self, task: Task) -> bool:
        self._strays_changed(task)
        self._tell(TaskExited(key=task.key, exit=task.exit or Exit()))
        return self._agent is not None


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _cause(error: OSError | ValueError) -> str:
    return str(getattr(error, "strerror", None) or error)


def main() -> None:
    """The program: its listening socket and the interpreter's file are descriptors it inherits."""
    listener_fd, program_fd = map(int, sys.argv[1:])
    os.close(program_fd)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    namespaces.set_nondumpable()
    os.chdir("/")
    os.umask(0o022)
    with socket.socket(fileno=listener_fd) as listener:
        listener.set_inheritable(False)
        entries: Entries = {}
        keeper: Keeper | None = Keeper(entries)
        while keeper is not None:  # each turn begins in the keeper and ends in the supervisor
            channel = keeper.run()
            if channel is None:
                return
            entries = keeper.entries
            keeper = Supervisor(listener, Holdings(entries, channel)).run()
