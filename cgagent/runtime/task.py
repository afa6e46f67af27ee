"""One task of the supervisor: a container's first process, or a command run inside one.

Owns the process (by pidfd) and its standard streams, from the zygote's birth until the exit is
told. The supervisor owns the tasks and the event loop they are registered with.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import stat
import time
from typing import TYPE_CHECKING, Any

from cgagent.errors import CgagentError, ConflictError, InternalError
from cgagent.runtime import wire
from cgagent.runtime.drivers.parent import Launch
from cgagent.runtime.protocol import EXIT_FILE, Exchange, State, error_from_wire, error_to_wire
from cgagent.runtime.stdio import Stdio
from cgagent.runtime.zygote import CONSOLE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from cgagent.runtime.client import Client
    from cgagent.runtime.loop import Loop


class Task:
    """See the module. `on_exit` is called once, when everything of the exit is done."""

    def __init__(
        self,
        key: str,
        process: tuple[int, int],
        zygote: socket.socket,
        loop: Loop,
        *,
        on_exit: Callable[[Task], None],
        cgroup_dirs: list[str],
    ) -> None:
        self.exchange = Exchange(key)
        self.pid, self.pidfd = process
        self.exit: dict[str, Any] | None = None
        self.is_noted = False
        """Whether the exit is in a file, for an agent yet to come."""
        self._zygote = zygote
        self._loop = loop
        self._on_exit = on_exit
        self._cgroup_dirs = cgroup_dirs
        self._stdio = Stdio(loop)
        self._directory: str | None = None
        self._own = False
        self._launch: Launch | None = None
        """Of another runtime: the zygote makes the process, and does not become it."""
        self._ready = False
        self._failure: CgagentError | None = None
        self._started: Callable[[CgagentError | None], None] = lambda _: None

    @property
    def key(self) -> str:
        return self.exchange.key

    def describe(self) -> dict[str, Any]:
        return {"key": self.key, "state": self.exchange.state.value, "pid": self.pid}

    def attach(self, client: Client) -> None:
        self.exchange.check("attach")
        self._stdio.attach(client)

    def signal(self, number: int, *, group: bool = False) -> None:
        """To its process, or to all of its process group."""
        self.exchange.check("signal")
        if group:  # not reaped yet: the number can be nobody else's
            os.killpg(self.pid, number)
        else:
            signal.pidfd_send_signal(self.pidfd, number)

    def lose_agent(self) -> None:
        """End it if it is a command of the agent's own."""
        if self._own and self.exchange.state in {State.STARTING, State.RUNNING}:
            self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            os.killpg(self.pid, signal.SIGKILL)

    def resize(self, rows: int, columns: int) -> None:
        """Of its terminal.

        Raises:
            ConflictError: it has none.
        """
        self.exchange.check("resize")
        self._stdio.resize(rows, columns)

    def start(
        self,
        job: dict[str, Any],
        trees: list[int],
        done: Callable[[CgagentError | None], None],
    ) -> None:
        """Hand the zygote its job; `done` is called when its command runs or has failed.

        `trees` are mounts that somebody with more power than the zygote has made for it.
        """
        self.exchange.check("start")
        child_ends = self._stdio.open(
            log=job.get("log"),
            stdin=bool(job.get("stdin")),
            stdin_once=bool(job.get("stdin_once")),
            terminal=bool(job.get("terminal")),
        )
        for fd in child_ends if "owner" in job else ():  # who cannot take it: see own_stdio
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.fchown(fd, job["owner"], job["owner"])
        try:
            wire.send(self._zygote, job, [*child_ends, *trees])
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has failed already; its message is waiting to be read
        finally:
            for fd in child_ends:
                os.close(fd)
        self._launch = Launch() if "driver" in job else None
        self._directory = job.get("bundle")
        self._own = bool(job.get("own"))
        self._started = done
        self.exchange.advance("start")
        self._loop.watch(self._zygote.fileno(), selectors.EVENT_READ, self._hear_zygote)

    def _hear_zygote(self) -> None:
        try:
            received = wire.receive(self._zygote)
        except ConnectionResetError:
            received = None
        if received is not None:
            if received[0].get("ready"):
                self._ready = True
            elif received[0] == CONSOLE:
                self._stdio.take_terminal(received[1][0])
            elif "became" in received[0] and self._launch is not None:
                self._launch.became(self.pidfd)
                self.pid, self.pidfd = received[0]["became"], received[1][0]
            else:
                self._failure = error_from_wire(received[0])
            return
        self._close_zygote()
        self._end_launch()
        if self._ready and self._failure is None:
            self.exchange.advance("running")
            self._loop.watch(self.pidfd, selectors.EVENT_READ, self._reap)
            self._stdio.run()
            self._started(None)
        else:
            self._fail()

    def _fail(self) -> None:
        """The process ended before its command ran: no trace of the task stays."""
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)  # a launcher may have left it
        info = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        if self._failure is None:
            how = f"signal {info.si_status}" if info and info.si_status else "no message"
            self._failure = InternalError(
                f"the first process died while it was set up ({how}); "
                "a memory or pids limit may be too small for that"
            )
        self._close({"error": error_to_wire(self._failure)})
        self._started(self._failure)

    def _reap(self) -> None:
        if self._own:  # with what it has left behind
            self._kill_group()
        info = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        if info is None:
            return
        self._stdio.drain()
        killed = info.si_code != os.CLD_EXITED
        self.exit = {
            "pid": self.pid,
            "exit_code": 128 + info.si_status if killed else info.si_status,
            "signal": info.si_status if killed else None,
            "finished_ns": time.time_ns(),
            "log_dropped_bytes": self._stdio.dropped_bytes,
        }
        self.is_noted = self._write_exit_file()
        self.exchange.advance("exited")
        self._close(self.exit)
        self._on_exit(self)

    def _write_exit_file(self) -> bool:
        if self._directory is None:
            return False
        path = os.path.join(self._directory, EXIT_FILE)
        try:
            with open(path + ".new", "w", encoding="ascii") as f:
                json.dump(self.exit, f)
            os.rename(path + ".new", path)
        except OSError:  # a full disk: the event and `list` still tell it while we live
            return False
        return True

    def abandon(self, status: dict[str, Any]) -> None:
        """End a zygote whose command does not run; clients that wait for it are told `status`."""
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        self._close_zygote()
        self._end_launch(kill=True)
        self._close(status)
        self._started(ConflictError(f"task {self.key}: its start was given up"))

    def remove_cgroup(self) -> None:
        """Of a zygote without an agent: nobody else knows its groups until the next one comes."""
        for directory in self._cgroup_dirs:
            with contextlib.suppress(OSError):  # the next agent sweeps what is left
                os.rmdir(directory)

    def _end_launch(self, *, kill: bool = False) -> None:
        if self._launch is not None:
            self._launch.end(kill=kill)
            self._launch = None

    def _close_zygote(self) -> None:
        self._loop.forget(self._zygote.fileno())
        self._zygote.close()

    def _close(self, status: dict[str, Any]) -> None:
        self._loop.forget(self.pidfd)
        os.close(self.pidfd)
        self._stdio.close(status)
