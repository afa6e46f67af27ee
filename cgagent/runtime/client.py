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
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from cgagent import bare
from cgagent.errors import DeadlineError, UnavailableError
from cgagent.kernel import mount
from cgagent.messages import wire
from cgagent.messages.record import MessageError
from cgagent.runtime.messages.agent import (
    TOLD,
    Answer,
    Ask,
    ClientCutOff,
    Done,
    List,
    Moved,
    Pid,
    TaskExited,
    TaskListed,
    TaskStarted,
    Who,
)
from cgagent.runtime.messages.outcomes import Failed

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path

    from cgagent.errors import CgagentError
    from cgagent.messages.record import Message
    from cgagent.runtime.messages.agent import A, AnyRequest, Request
    from cgagent.runtime.messages.outcomes import Exit

_SOCKET: Final = "supervisor.sock"


log = logging.getLogger(__name__)

_LIMIT_S: Final = 30.0
_SILENT_S: Final = 1.0
_PAUSE_S: Final = 0.1  # a supervisor that cannot start is not tried without a pause
Tasks = list[TaskListed]
_ENDED: Final = "the supervisor has ended; see its log"


@dataclass(slots=True)
class _Pending:
    """A request that was not answered yet."""

    ask: Ask
    packed: bytes
    fds: Sequence[int]
    answer: asyncio.Future[Done | Pid | Who] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def name(self) -> str:
        return type(self.ask.request).__name__.lower()

    def take(self, result: Done | Pid | Who | Failed) -> None:
        if isinstance(result, Failed):
            self.answer.set_exception(result.why.error())
        else:
            self.answer.set_result(result)

    def fail(self, error: CgagentError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def repeat(self) -> None:
        """To be sent to the successor of who may have heard it."""
        self.ask = self.ask.replace(again=True)
        self.packed = wire.pack(self.ask)
        if self.answer.cancelled():
            self.answer = asyncio.get_running_loop().create_future()


class Listener(Protocol):
    """What the supervisor tells by itself; a task's key is its container's id, or has it first."""

    def task_exited(self, key: str, exit_: Exit) -> None: ...

    def task_started(self, key: str, pid: int) -> None:
        """One that an agent before this one had asked for."""

    def client_cut_off(self, key: str) -> None:
        """A client that was attached to it, as it did not read."""

    def supervisor_replaced(self, tasks: Tasks) -> None:
        """By another one, which has these tasks and knows nothing of the last one's."""


class Supervisor:
    """The agent's connection to the supervisor, whichever process that is.

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
        self._pending: dict[int, _Pending] = {}
        self._unsent: deque[_Pending] = deque()
        self._listed: Tasks = []
        self._seq = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._recovery: asyncio.Task[None] | None = None
        self._life: str | None = None
        self._is_silent = False
        """It let a deadline pass and has not been heard since: nobody waits that long again."""
        self.pid: int | None = None
        self.keeper_pid: int | None = None

    async def connect(self) -> Tasks:
        """Find the supervisor of an earlier agent or start one.

        Returns:
            Its tasks. Exits that it kept are told to the listener.
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
        pending = self._pending_of(List(agent=self._agent), ())
        self._send(pending)
        try:
            who = await pending.answer
        finally:
            self._drop(pending)
        if isinstance(who, Who):
            self._note(who)
            self._life = who.life
        return self._listed

    async def _meet_again(self) -> Tasks:
        while True:
            try:
                return await self._meet()
            except (UnavailableError, OSError) as e:
                log.warning("no supervisor: %s", e)
                await asyncio.sleep(_PAUSE_S)

    def _note(self, who: Who) -> None:
        self.pid, self.keeper_pid = who.pid, who.keeper

    async def _recover(self) -> None:
        """Go on with the successor of a supervisor that has ended, or without."""
        life = self._life
        tasks = await self._meet_again()
        self._recovery = None
        if self._life != life:
            log.error("supervisor and keeper have both ended: their containers are lost")
            for pending in self._pending.values():
                pending.fail(UnavailableError(_ENDED))
            self._listener.supervisor_replaced(tasks)
            return
        log.warning("another supervisor (pid %s) has taken over", self.pid)
        for pending in list(self._pending.values()):
            pending.repeat()
            self._send(pending)

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

    def request(
        self, request: Request[A], fds: Sequence[int] = (), *, limit_s: float | None = _LIMIT_S
    ) -> Coroutine[Any, Any, A]:
        """Ask now; the answer is what is awaited. The descriptors stay the caller's, until then.

        The supervisor takes requests in the order of these calls, unless it is being replaced.

        Raises:
            InternalError: the request is too large.
            UnavailableError: the supervisor is gone, with all it knew.
            DeadlineError: it is there, and did not answer for `limit_s`.
            CgagentError: what it answered.
        """
        pending = self._pending_of(request, fds)
        if self._recovery is None and self._sock is not None:
            self._send(pending)
        return self._answer_to(pending, limit_s)

    async def _answer_to(self, pending: _Pending, limit_s: float | None) -> Any:
        try:
            while True:
                if pending.ask.seq not in self._pending:
                    await self._send_when_connected(pending)
                is_short = self._is_silent and limit_s is not None
                try:
                    async with asyncio.timeout(_SILENT_S if is_short else limit_s):
                        return await pending.answer
                except TimeoutError:
                    if self._recovery is None:
                        self._is_silent = True
                        raise self._silence(pending.name) from None
                    del self._pending[pending.ask.seq]  # the next one is asked
                    pending.repeat()
        finally:
            self._drop(pending)

    async def _send_when_connected(self, pending: _Pending) -> None:
        while self._recovery is not None:
            await asyncio.shield(self._recovery)
        if self._sock is None:
            raise UnavailableError("the agent has let go of its supervisor: it is stopping")
        self._send(pending)

    def _silence(self, what: str) -> DeadlineError:
        return DeadlineError(
            f"the supervisor (pid {self.pid}) does not answer: {what} was given up; see what it "
            f"waits for in /proc/{self.pid}/stack, or kill it: another takes over, containers go on"
        )

    def _pending_of(self, request: Request[Any], fds: Sequence[int]) -> _Pending:
        self._seq += 1
        ask = Ask(seq=self._seq, request=cast("AnyRequest", request))
        return _Pending(ask, wire.pack(ask), fds)

    def _send(self, pending: _Pending) -> None:
        """Now, or as soon as there is room; after a recovery if the connection is lost."""
        self._pending[pending.ask.seq] = pending
        self._unsent.append(pending)
        if len(self._unsent) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._sock is not None and self._unsent:
            try:
                wire.send_packed(self._sock, self._unsent[0].packed, self._unsent[0].fds)
            except BlockingIOError:
                asyncio.get_running_loop().add_writer(self._sock.fileno(), self._flush)
                return
            except OSError:
                self._lose()
                return
            self._unsent.popleft()
        if self._sock is not None:
            asyncio.get_running_loop().remove_writer(self._sock.fileno())

    def _drop(self, pending: _Pending) -> None:
        """It is answered, or nobody waits for that any more."""
        self._pending.pop(pending.ask.seq, None)
        with contextlib.suppress(ValueError):
            self._unsent.remove(pending)

    def _hear(self) -> None:
        while self._sock is not None:
            try:
                received = wire.receive(self._sock, *TOLD)
            except BlockingIOError:
                return
            except MessageError as e:  # a request that it answers ends at its deadline
                log.error("the supervisor is not understood: %s", e.message)  # noqa: TRY400
                continue
            except OSError:
                received = None
            if received is None:
                self._lose()
                return
            self._is_silent = False
            self._handle(received[0])

    def _handle(self, message: Message) -> None:
        match message:
            case Answer():
                pending = self._pending.get(message.seq)
                if pending is not None and not pending.answer.done():
                    pending.take(message.result)
            case TaskListed():
                self._listed.append(message)
            case TaskExited():
                self._listener.task_exited(message.key, message.exit)
            case TaskStarted():
                self._listener.task_started(message.key, message.pid)
            case ClientCutOff():
                self._listener.client_cut_off(message.key)
            case Moved():
                self._note(message.who)

    def _lose(self) -> None:
        self._disconnect()
        if self._child is not None:
            self._child.poll()
        for pending in self._pending.values():
            if isinstance(pending.ask.request, List):
                pending.fail(UnavailableError(_ENDED))
        if self._recovery is None and self._life is not None:
            self._recovery = asyncio.create_task(self._recover())

    def _disconnect(self) -> None:
        if self._sock is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._sock.fileno())
            loop.remove_writer(self._sock.fileno())
            self._sock.close()
            self._sock = None
        self._unsent.clear()

    def close(self) -> None:
        """Let go of the supervisor: it goes on as long as it has containers."""
        if self._recovery is not None:
            self._recovery.cancel()
        self._disconnect()
