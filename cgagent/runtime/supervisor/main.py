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
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import (
    EXIT_CODE,
    CgagentError,
    ConflictError,
    InternalError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from cgagent.kernel import descriptors, namespaces, userns
from cgagent.kernel.pipes import Mirror
from cgagent.runtime import wire
from cgagent.runtime.container import zygote
from cgagent.runtime.container.isolation import Isolation
from cgagent.runtime.external.parent import Launchers
from cgagent.runtime.protocol import COMPRESS, ROOT, SET_UP, State, error_to_wire
from cgagent.runtime.supervisor import attached as client
from cgagent.runtime.supervisor.attached import Client
from cgagent.runtime.supervisor.holdings import Entries, Holding, Holdings
from cgagent.runtime.supervisor.keeper import Keeper, rename_process
from cgagent.runtime.supervisor.loop import Loop
from cgagent.runtime.supervisor.stdio import let_go, see_off
from cgagent.runtime.supervisor.strays import Strays
from cgagent.runtime.supervisor.task import Shared, Task, given_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cgagent.runtime.supervisor.task import Done

_FIRST_AGENT_S: Final = 30.0
_NO_AGENT: Final = "the agent ended before it had started this; ask again"
_ALWAYS_WATCHED: Final = 2  # the listener and the keeper
Reply = dict[str, Any] | None


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
        self._unsent: list[dict[str, Any]] = []
        self._agent_due: float | None = time.monotonic() + _FIRST_AGENT_S
        self._keeper: Keeper | None = None
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._own_mount_namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._own = Holding(holdings, _OWN)
        if not self._own.exists:
            self._own.put(life=os.urandom(8).hex())
        self._ops: dict[str, Callable[[dict[str, Any], list[int]], Reply]] = {
            "create": self._create,
            "attach": self._attach,
            SET_UP: self._set_up,
            "signal": self._signal,
            "resize": self._resize,
            "forget": self._forget,
            "list": self._list,
        }
        self._slow_ops = {ROOT: self._root, "start": self._start}

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
        for held in self._holdings.named(_TASK):
            task = self._new_task(held, is_ours=False)
            self._tasks[task.key] = task
        for held in self._holdings.named(_CLIENT):
            left = Client(held)
            key = held.value["key"]
            if key in self._tasks:
                self._tasks[key].take_over(left)
            elif left.closing:
                let_go(left, self._loop)
            else:
                self._waiting.setdefault(key, []).append(left)
        self._follow_strays()
        for task in list(self._tasks.values()):
            task.resume()

    def _new_task(self, held: Holding, *, is_ours: bool) -> Task:
        return Task(held, self._shared, self, is_ours=is_ours)

    # -- the keeper -------------------------------------------------------------------------

    def _hear_keeper(self) -> None:
        """A process that a predecessor was the parent of has ended; or the keeper itself."""
        try:
            received = wire.receive(self._holdings.channel)
        except ConnectionResetError:
            return  # what it had sent before comes next
        if received is None:
            self._replace_keeper()
            return
        ended, _ = received
        for task in list(self._tasks.values()):
            task.hear_launcher()
            if task.pid == ended["pid"] and not task.is_ours:
                task.told_of_end(ended)
        self._holdings.reap(ended["pid"])

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
        self._tell({"event": "moved", **self._who()})

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

    def _who(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "keeper": os.getppid(),
            "life": self._own.value["life"],
            "hints": [SET_UP, ROOT, COMPRESS],
        }

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
        told = {"error": error_to_wire(UnavailableError(_NO_AGENT))}
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
            received = wire.receive(self._agent)
        except BlockingIOError:
            self._flush()
            return
        except OSError:
            received = None
        if received is None:
            self._lose_agent()
            return
        message, fds = received
        seq = message.get("seq")
        try:
            if message["op"] in self._slow_ops:
                self._slow_ops[message["op"]](message, fds)
                return
            reply = self._ops.get(message["op"], _refuse)(message, fds)
        except CgagentError as e:
            for fd in fds:
                os.close(fd)
            self._answer(seq, {"error": error_to_wire(e)})
        except (OSError, ValueError) as e:
            error = InternalError(f"{message.get('op')} {message.get('key')}: {_cause(e)}")
            self._answer(seq, {"error": error_to_wire(error)})
        else:
            self._answer(seq, reply or {})

    def _answer(self, seq: int | None, reply: dict[str, Any]) -> None:
        if seq is not None:  # else it was a hint
            self._tell({"seq": seq, **reply})

    def _tell(self, message: dict[str, Any]) -> None:
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

    def _task(self, message: dict[str, Any]) -> Task:
        task = self._tasks.get(message["key"])
        if task is None:
            raise NotFoundError(f"task {message['key']} is not known to the supervisor")
        return task

    def _create(self, message: dict[str, Any], _fds: list[int]) -> Reply:
        key = message["key"]
        if key in self._tasks:
            if message.get("again") and self._tasks[key].exchange.state is State.CREATED:
                return {"pid": self._tasks[key].pid}
            raise ConflictError(f"task {key} exists already")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        cgroup_fd = None
        try:
            if message.get("cgroup_dir"):
                cgroup_fd = os.open(message["cgroup_dir"], os.O_RDONLY | os.O_CLOEXEC)
            process = self._fork(message, theirs, cgroup_fd)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            if cgroup_fd is not None:
                os.close(cgroup_fd)
        own = "inside" not in message
        cgroups = [message.get("cgroup_dir"), *map(os.path.dirname, message.get("join_files", ()))]
        held = Holding(self._holdings, _TASK + key)
        pid, pidfd = process
        held.put(
            {"pidfd": pidfd, "zygote": ours.detach()},
            key=key,
            state=State.CREATED.value,
            pid=pid,
            cgroup_dirs=[d for d in cgroups if d and own],
        )
        self._tasks[key] = self._new_task(held, is_ours=True)
        for waiting in self._waiting.pop(key, ()):
            self._tasks[key].attach(waiting)
        return {"pid": pid}

    def _fork(
        self, message: dict[str, Any], sock: socket.socket, cgroup_fd: int | None
    ) -> tuple[int, int]:
        join_files = tuple(message.get("join_files", ()))
        if "inside" in message:
            return self._fork_inside(message, join_files, sock, cgroup_fd)
        isolation = Isolation.from_oci(message["namespaces"])
        with ExitStack() as stack:
            join = isolation.open(stack)
            with self._children_in(dict(join).get(namespaces.CLONE_NEWPID)):
                pid, pidfd = namespaces.clone(isolation.clone_flags, cgroup_fd)
                if pid == 0:
                    others = tuple(j for j in join if j[0] != namespaces.CLONE_NEWPID)
                    where = zygote.Surroundings(
                        join_files,
                        isolation.own,
                        others,
                        self._own_mount_namespace,
                        message.get("stage"),
                    )
                    zygote.run(sock, where)
        if "user" in isolation.own:
            _map_ids(pid, pidfd, message["user_ids"])
        return pid, pidfd

    @contextmanager
    def _children_in(self, pid_namespace: int | None) -> Iterator[None]:
        """Children are born in the pid namespace of this descriptor: ours to reap all the same."""
        if pid_namespace is None:
            yield
            return
        namespaces.setns(pid_namespace, namespaces.CLONE_NEWPID)
        try:
            yield
        finally:
            namespaces.setns(self._own_pid_namespace, namespaces.CLONE_NEWPID)

    def _fork_inside(
        self,
        message: dict[str, Any],
        join_files: tuple[str, ...],
        sock: socket.socket,
        cgroup_fd: int | None,
    ) -> tuple[int, int]:
        container = message["inside"]
        target = self._task({"key": container})
        if target.exchange.state is not State.RUNNING:
            raise ConflictError(f"container {container} is not running")
        with self._children_in(target.pidfd):
            pid, pidfd = namespaces.clone(0, cgroup_fd)
            if pid == 0:
                where = zygote.Surroundings(
                    join_files,
                    enter_pidfd=target.pidfd,
                    enter_user=bool(message.get("enter_user")),
                )
                zygote.run(sock, where)
        return pid, pidfd

    def _attach(self, message: dict[str, Any], fds: list[int]) -> Reply:
        task = self._task(message)
        held = Holding(self._holdings, _CLIENT + message["client"])
        if held.exists:  # asked again
            for fd in fds:
                os.close(fd)
            return None
        task.exchange.check("attach")
        client.hold(
            held,
            fds[0],
            key=task.key,
            streams=message["streams"],
            raw=bool(message.get("raw")),
            status=bool(message.get("status")),
            tail=fds[1] if len(fds) > 1 else None,
            detach_keys=message.get("detach_keys", ""),
            stay=bool(message.get("stay")),
        )
        task.attach(Client(held))
        return None

    def _set_up(self, message: dict[str, Any], _fds: list[int]) -> Reply:
        self._task(message).set_up(message)
        return None

    def _start(self, message: dict[str, Any], fds: list[int]) -> None:
        with self._asked(message, fds) as done:
            task = self._task(message)
            if message.get("again") and task.exchange.state is not State.CREATED:
                task.join_start(done)
            else:
                task.start(message, fds, done)

    def _root(self, message: dict[str, Any], fds: list[int]) -> None:
        with self._asked(message, fds) as done:
            self._task(message).make_root(message, done)

    @contextmanager
    def _asked(self, message: dict[str, Any], fds: list[int]) -> Iterator[Done]:
        """What is answered later, unless it fails at once; the zygote has copies of the `fds`."""
        seq, asker = message.get("seq"), self._agent

        def done(pid: int, failure: CgagentError | None) -> bool:
            if self._agent is not asker:  # another one's numbers mean other requests
                return False
            answer = {"pid": pid} if failure is None else {"error": error_to_wire(failure)}
            self._tell({"seq": seq, **answer})
            return True

        try:
            yield done
        except CgagentError as e:
            self._tell({"seq": seq, "error": error_to_wire(e)})
        except (OSError, ValueError) as e:
            error = InternalError(f"{message['op']} {message.get('key')}: {_cause(e)}")
            self._tell({"seq": seq, "error": error_to_wire(error)})
        finally:
            for fd in fds:
                os.close(fd)

    def _signal(self, message: dict[str, Any], _fds: list[int]) -> Reply:
        self._task(message).signal(message["signal"], group=bool(message.get("group")))
        return None

    def _resize(self, message: dict[str, Any], _fds: list[int]) -> Reply:
        self._task(message).resize(message["rows"], message["columns"])
        return None

    def _forget(self, message: dict[str, Any], _fds: list[int]) -> Reply:
        key, status = message["key"], message.get("status")
        task, keep = self._tasks.get(key), message.get("keep_clients")
        if not keep:
            self._see_off_waiting(key, status)
        if task is None:
            return None
        task.exchange.check("forget")
        if task.exchange.state is State.EXITED:
            task.forget()
        else:
            if keep:
                self._waiting.setdefault(key, []).extend(task.stdio.release())
            task.abandon(status)
        self._lose(task)
        return None

    def _see_off_waiting(self, key: str, status: dict[str, Any] | None) -> None:
        for waiting in self._waiting.pop(key, ()):
            waiting.stays = False
            waiting.finish(status or given_up(key))
            see_off(waiting, self._loop)

    def _list(self, message: dict[str, Any], _fds: list[int]) -> Reply:
        if message["agent"] != self._own.value.get("agent"):
            self._give_up_zygotes()  # another one's
            self._own.put(agent=message["agent"])
        for task in self._tasks.values():
            self._tell({"event": "task", **task.describe()})
            if task.exit is not None:
                self._tell(_exit_event(task))
        return self._who()

    def _lose(self, task: Task) -> None:
        self._tasks.pop(task.key, None)
        self._strays_changed(task)

    # -- what tasks tell --------------------------------------------------------------------

    def task_started(self, task: Task, *, told: bool) -> None:
        self._strays_changed(task)
        if not told:  # the agent of now knows the pid of whatever process it was until now
            self._tell({"event": "started", "key": task.key, "pid": task.pid})

    def task_spoiled(self, task: Task) -> None:
        self._tell({"event": "exited", "key": task.key, "pid": task.pid})

    def task_failed(self, task: Task, error: CgagentError, *, told: bool) -> None:
        self._lose(task)
        if not told:  # the agent of now has been told of one that starts, and takes it to run
            how = {"exit_code": EXIT_CODE[error.kind], "error": error.message}
            self._tell({"event": "exited", "key": task.key, **how})

    def client_cut_off(self, task: Task) -> None:
        self._tell({"event": "client-cut-off", "key": task.key})

    def task_exited(self, task: Task) -> bool:
        self._strays_changed(task)
        self._tell(_exit_event(task))
        return self._agent is not None


def _refuse(message: dict[str, Any], _fds: list[int]) -> Reply:
    """What only a later version's agent asks for."""
    raise UnsupportedError(f"the supervisor is of an earlier version: no {message['op']}")


def _cause(error: OSError | ValueError) -> str:
    return str(getattr(error, "strerror", None) or error)


def _map_ids(pid: int, pidfd: int, block: list[int]) -> None:
    """Of a process that is alone in a new user namespace."""
    try:
        userns.Mappings.of_block(*block).write(pid)
    except BaseException:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
        raise


def _exit_event(task: Task) -> dict[str, Any]:
    return {"event": "exited", "key": task.key, **(task.exit or {})}


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
