"""The agent's end of the protocol: start or find the supervisor, ask it things, hear of exits.

Lives in the agent's event loop. When the supervisor is killed, the connection is made anew to its
successor, and what was not answered is asked again: each request can be. Only where keeper and
supervisor are both gone a new pair is started, which knows no task; requests then fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from cgagent import bare
from cgagent.errors import DeadlineError, InternalError, UnavailableError
from cgagent.kernel import mount
from cgagent.runtime import wire
from cgagent.runtime.protocol import error_from_wire

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SOCKET: Final = "supervisor.sock"


log = logging.getLogger(__name__)

_LIMIT_S: Final = 30.0
_SILENT_S: Final = 1.0
_PAUSE_S: Final = 0.1  # a supervisor that cannot start is not tried without a pause
Tasks = list[dict[str, Any]]
_ENDED: Final = "the supervisor has ended; see its log"


@dataclass(slots=True)
class _Request:
    message: dict[str, Any]
    fds: Sequence[int]
    answer: asyncio.Future[dict[str, Any]]


class Listener(Protocol):
    """What the supervisor tells by itself; a task's key is its container's id, or has it first."""

    def task_exited(self, key: str, status: dict[str, Any]) -> None: ...

    def task_started(self, key: str, pid: int) -> None:
        """One that an agent before this one had asked for."""

    def client_cut_off(self, key: str) -> None:
        """A client that was attached to it, as it did not read."""

    def supervisor_replaced(self, tasks: Tasks) -> None:
        """By another one, which has these tasks and knows nothing of the last one's."""


class Supervisor:
    """See the module.

    Args:
        run_dir: where its socket is; it must exist.
        log_path: takes what keeper and supervisor print: deaths, tracebacks.
    """

    def __init__(self, run_dir: Path, log_path: Path, listener: Listener) -> None:
        self._path = run_dir / _SOCKET
        self._log_path = log_path
        self._listener = listener
        self._agent = secrets.token_hex(8)
        self._sock: socket.socket | None = None
        self._pending: dict[int, _Request] = {}
        self._listed: Tasks = []
        self._seq = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._sending = asyncio.Lock()
        self._room = asyncio.Event()
        self._recovery: asyncio.Task[None] | None = None
        self._life: str | None = None
        self._is_silent = False
        """It let a deadline pass and has not been heard since: nobody waits that long again."""
        self._hints: frozenset[str] = frozenset()
        """Those that the supervisor knows: an earlier version's may be there still."""
        self.pid: int | None = None
        self.keeper_pid: int | None = None

    async def connect(self) -> Tasks:
        """Find the supervisor of an earlier agent or start one.

        Returns:
            Its tasks: key, state (of `protocol.State`), pid. Exits it kept are told to `on_exit`.
        """
        try:
            return await self._meet()
        except UnavailableError:  # one without tasks was just ending by itself
            return await self._meet()

    async def _meet(self) -> Tasks:
        if self._sock is None:
            sock = self._connect_running() or self._start()
            sock.setblocking(False)
            asyncio.get_running_loop().add_reader(sock.fileno(), self._hear)
            self._sock = sock
        self._listed = []
        who = await self._ask(self._request("list", (), agent=self._agent))
        self._note(who)
        self._life = who["life"]
        return self._listed

    async def _meet_again(self) -> Tasks:
        while True:
            try:
                return await self._meet()
            except (UnavailableError, OSError) as e:
                log.warning("no supervisor: %s", e)
                await asyncio.sleep(_PAUSE_S)

    def _note(self, who: dict[str, Any]) -> None:
        self.pid, self.keeper_pid = who["pid"], who["keeper"]
        self._hints = frozenset(who.get("hints", ()))

    async def _recover(self) -> None:
        """Go on with the successor of a supervisor that has ended, or without."""
        life = self._life
        tasks = await self._meet_again()
        self._recovery = None
        if self._life != life:
            log.error("supervisor and keeper have both ended: their containers are lost")
            self._fail_pending()
            self._listener.supervisor_replaced(tasks)
            return
        log.warning("another supervisor (pid %s) has taken over", self.pid)
        for request in [r for r in self._pending.values() if r.message["op"] != "list"]:
            request.message["again"] = True
            await self._send(request)

    def _connect_running(self) -> socket.socket | None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.connect(str(self._path))
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            return None
        return sock

    def _start(self) -> socket.socket:
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            mask = os.umask(0o177)
            try:
                listener.bind(str(self._path))
            finally:
                os.umask(mask)
            listener.listen(8)
            # A container's process begins as a copy of the supervisor: even what it can reach
            # of our interpreter through /proc/self/exe must not be writable (CVE-2019-5736).
            program = mount.read_only_copy(os.path.realpath(sys.executable))
            with open(self._log_path, "ab") as log, os.fdopen(program):
                self._child = subprocess.Popen(
                    bare.command(
                        "cgagent.runtime.supervisor.main", str(listener.fileno()), str(program)
                    ),
                    executable=mount.fd_path(program),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(program, listener.fileno()),
                    start_new_session=True,
                    cwd="/",
                    env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                )
        sock = self._connect_running()
        if sock is None:
            raise UnavailableError(f"the supervisor does not answer at {self._path}")
        return sock

    async def request(
        self, op: str, fds: Sequence[int] = (), *, limit_s: float = _LIMIT_S, **arguments: Any
    ) -> dict[str, Any]:
        """Ask, and wait for the answer. The descriptors stay the caller's.

        Raises:
            UnavailableError: the supervisor is gone, with all it knew.
            DeadlineError: it is there, and did not answer for `limit_s`.
            CgagentError: what it answered.
        """
        request = self._request(op, fds, **arguments)
        while True:
            if self._recovery is not None:
                await asyncio.shield(self._recovery)
            if self._sock is None:
                raise UnavailableError("the agent has let go of its supervisor: it is stopping")
            try:
                async with asyncio.timeout(min(limit_s, _SILENT_S) if self._is_silent else limit_s):
                    return await self._ask(request)
            except TimeoutError:
                if self._recovery is None:
                    self._is_silent = True
                    raise self._silence(op) from None
                request.message["again"] = True
                request.answer = asyncio.get_running_loop().create_future()

    def _silence(self, op: str) -> DeadlineError:
        return DeadlineError(
            f"the supervisor (pid {self.pid}) does not answer: {op} was given up; see what it "
            f"waits for in /proc/{self.pid}/stack, or kill it: another takes over, containers go on"
        )

    def hint(self, op: str, **arguments: Any) -> None:
        """Tell it what it may as well miss: it is sent now or not at all, and not answered."""
        is_busy = self._recovery is not None or self._sending.locked()
        if self._sock is None or is_busy or op not in self._hints:
            return
        with contextlib.suppress(OSError, InternalError):
            wire.send(self._sock, {"op": op, **arguments})

    def knows(self, op: str) -> bool:
        """Of those that an earlier version's supervisor may not know."""
        return op in self._hints

    def _request(self, op: str, fds: Sequence[int], **arguments: Any) -> _Request:
        self._seq += 1
        if op == "attach":  # the same client if it is asked again
            arguments["client"] = f"{self._agent}.{self._seq}"
        message = {"seq": self._seq, "op": op, **arguments}
        return _Request(message, fds, asyncio.get_running_loop().create_future())

    async def _ask(self, request: _Request) -> dict[str, Any]:
        self._pending[request.message["seq"]] = request
        try:
            await self._send(request)
            answer = await request.answer
        finally:
            self._pending.pop(request.message["seq"], None)
        if "error" in answer:
            raise error_from_wire(answer["error"])
        return answer

    async def _send(self, request: _Request) -> None:
        """Now, or after the recovery that a lost connection begins with."""
        async with self._sending:
            sock = self._sock
            while sock is not None and sock is self._sock:
                try:
                    wire.send(sock, request.message, request.fds)
                    return
                except BlockingIOError:
                    await self._writable(sock)
                except OSError:
                    self._lose()

    async def _writable(self, sock: socket.socket) -> None:
        """Until there is room, or the connection is lost."""
        loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        loop.add_writer(sock.fileno(), self._room.set)
        try:
            await self._room.wait()
        finally:
            if sock is self._sock:
                loop.remove_writer(sock.fileno())

    def _hear(self) -> None:
        while self._sock is not None:
            try:
                received = wire.receive(self._sock)
            except BlockingIOError:
                return
            except OSError:
                received = None
            if received is None:
                self._lose()
                return
            self._handle(received[0])

    def _handle(self, message: dict[str, Any]) -> None:
        self._is_silent = False
        event = message.pop("event", None)
        if event == "task":
            self._listed.append(message)
        elif event == "exited":
            self._listener.task_exited(message.pop("key"), message)
        elif event == "started":
            self._listener.task_started(message["key"], message["pid"])
        elif event == "client-cut-off":
            self._listener.client_cut_off(message["key"])
        elif event == "moved":
            self._note(message)
        else:
            request = self._pending.get(message.get("seq", -1))
            if request is not None and not request.answer.done():
                request.answer.set_result(message)

    def _lose(self) -> None:
        self._disconnect()
        if self._child is not None:
            self._child.poll()
        self._fail_pending("list")
        if self._recovery is None and self._life is not None:
            self._recovery = asyncio.create_task(self._recover())

    def _fail_pending(self, op: str | None = None) -> None:
        for request in self._pending.values():
            if op in {None, request.message["op"]} and not request.answer.done():
                request.answer.set_exception(UnavailableError(_ENDED))

    def _disconnect(self) -> None:
        if self._sock is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._sock.fileno())
            loop.remove_writer(self._sock.fileno())
            self._sock.close()
            self._sock = None
            self._room.set()  # who waits for it goes on, without

    def close(self) -> None:
        """Let go of the supervisor: it goes on as long as it has containers."""
        if self._recovery is not None:
            self._recovery.cancel()
        self._disconnect()
