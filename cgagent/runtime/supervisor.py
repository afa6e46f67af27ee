"""The supervisor: parent of every container's first process, and nothing more.

One small single-threaded process for all containers, standard library only. It outlives the
agent: containers, their logs and exit codes do not depend on the agent being there. It ends by
itself when it has no task and no agent. See `cgagent.runtime.protocol` for what it is told.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import struct
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import CgagentError, ConflictError, InternalError, NotFoundError
from cgagent.kernel import namespaces, userns
from cgagent.runtime import wire, zygote
from cgagent.runtime.client import Client
from cgagent.runtime.isolation import Isolation
from cgagent.runtime.loop import Loop
from cgagent.runtime.protocol import State, error_to_wire
from cgagent.runtime.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FIRST_AGENT_S: Final = 30.0
Reply = dict[str, Any] | None


class Supervisor:
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._loop = Loop()
        self._tasks: dict[str, Task] = {}
        self._agent: socket.socket | None = None
        self._unsent: list[dict[str, Any]] = []
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._own_mount_namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._ops: dict[str, Callable[[dict[str, Any], list[int]], Reply]] = {
            "create": self._create,
            "attach": self._attach,
            "signal": self._signal,
            "resize": self._resize,
            "forget": self._forget,
            "list": self._list,
        }

    def run(self) -> None:
        self._loop.watch(self._listener.fileno(), selectors.EVENT_READ, self._accept)
        timeout: float | None = _FIRST_AGENT_S
        while True:
            self._loop.run_once(timeout)
            if self._loop.watched == 1:  # the listener: no agent, no process, no output to send
                return
            timeout = None

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
        self._loop.watch(connection.fileno(), selectors.EVENT_READ, self._hear_agent)

    def _lose_agent(self) -> None:
        if self._agent is None:
            return
        self._loop.forget(self._agent.fileno())
        self._agent.close()
        self._agent = None
        self._unsent.clear()
        for task in list(self._tasks.values()):
            task.lose_agent()
            if task.exchange.state is State.CREATED:  # nobody is left who would start it
                task.abandon({})
                task.remove_cgroup()
                del self._tasks[task.key]

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
            if message["op"] == "start":
                self._start(message, fds)
                return
            reply = self._ops[message["op"]](message, fds)
        except CgagentError as e:
            for fd in fds:
                os.close(fd)
            self._tell({"seq": seq, "error": error_to_wire(e)})
        except OSError as e:
            error = InternalError(f"{message.get('op')} {message.get('key')}: {e.strerror}")
            self._tell({"seq": seq, "error": error_to_wire(error)})
        else:
            self._tell({"seq": seq, **(reply or {})})

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
        self._tasks[key] = Task(
            key,
            process,
            ours,
            self._loop,
            on_exit=self._exited,
            cgroup_dirs=[d for d in cgroups if d and own],
        )
        return {"pid": process[0]}

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
                        join_files, isolation.own, others, self._own_mount_namespace
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
        task.exchange.check("attach")
        tail = _read_memory(fds.pop(1)) if len(fds) > 1 else b""
        client = Client(
            fds.pop(0),
            streams=frozenset(message["streams"]),
            raw=bool(message.get("raw")),
            status=bool(message.get("status")),
            tail=tail,
            detach_keys=message.get("detach_keys", "").encode("ascii"),
        )
        task.attach(client)
        return None

    def _start(self, message: dict[str, Any], fds: list[int]) -> None:
        seq = message.get("seq")

        def done(failure: CgagentError | None) -> None:
            if failure is None:
                self._tell({"seq": seq, "pid": task.pid})
            else:
                self._tasks.pop(task.key, None)
                self._tell({"seq": seq, "error": error_to_wire(failure)})

        try:
            task = self._task(message)
            task.start(message, fds, done)
        except CgagentError as e:
            self._tell({"seq": seq, "error": error_to_wire(e)})
        except OSError as e:
            error = InternalError(f"start {message.get('key')}: {e.strerror}")
            self._tell({"seq": seq, "error": error_to_wire(error)})
        finally:
            for fd in fds:  # the zygote has its own copies
                os.close(fd)

    def _signal(self, message: dict[str, Any], _fds: list[int]) -> Reply:
        self._task(message).signal(message["signal"], group=bool(message.get("group")))
        return None

    def _resize(self, message: dict[str, Any], _fds: list[int]) -> Reply:
        self._task(message).resize(message["rows"], message["columns"])
        return None

    def _forget(self, message: dict[str, Any], _fds: list[int]) -> Reply:
        task = self._tasks.get(message["key"])
        if task is None:
            return None
        task.exchange.check("forget")
        if task.exchange.state is not State.EXITED:
            task.abandon(message.get("status", {}))
        self._tasks.pop(task.key, None)
        return None

    def _list(self, _message: dict[str, Any], _fds: list[int]) -> Reply:
        for task in self._tasks.values():
            self._tell({"event": "task", **task.describe()})
            if task.exit is not None:
                self._tell(_exit_event(task))
        return {"pid": os.getpid()}

    def _exited(self, task: Task) -> None:
        if self._agent is None and task.is_noted:
            del self._tasks[task.key]  # the exit file tells it to the next agent
            return
        self._tell(_exit_event(task))


def _map_ids(pid: int, pidfd: int, block: list[int]) -> None:
    """Of a process that is alone in a new user namespace."""
    try:
        userns.Mappings.of_block(*block).write(pid)
    except BaseException:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
        raise


def _read_memory(fd: int) -> bytes:
    """All of a memfd, which is closed."""
    with open(fd, "rb") as file:
        file.seek(0)
        return file.read()


def _exit_event(task: Task) -> dict[str, Any]:
    return {"event": "exited", "key": task.key, **(task.exit or {})}


def main(listener_fd: int) -> None:
    """Entry point; the listening socket is inherited from the agent that starts us."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    namespaces.hide_from_ptrace()
    os.chdir("/")
    os.umask(0o022)
    with socket.socket(fileno=listener_fd) as listener:
        listener.set_inheritable(False)
        Supervisor(listener).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
