"""The agent's end of the protocol: start or find the supervisor, ask it things, hear of exits.

Lives in the agent's event loop, one connection for the agent's whole life. A lost supervisor
fails what was asked of it; the next request starts a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import UnavailableError
from cgagent.kernel import mount
from cgagent.runtime import wire
from cgagent.runtime.protocol import error_from_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SOCKET: Final = "supervisor.sock"
_BOOT: Final = (
    "import os, sys; os.close(int(sys.argv.pop(1))); sys.path.insert(0, sys.argv.pop(1)); "
    "from cgagent.runtime.supervisor import main; main(int(sys.argv[1]))"
)


class Supervisor:
    """See the module.

    Args:
        run_dir: where its socket is; it must exist.
        log_path: takes what the supervisor prints: nothing, or a traceback.
        on_exit: called with the key of a task and its exit record.
        on_lost: called when the supervisor has ended before we let go of it.
    """

    def __init__(
        self,
        run_dir: Path,
        log_path: Path,
        on_exit: Callable[[str, dict[str, Any]], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._path = run_dir / _SOCKET
        self._log_path = log_path
        self._on_exit = on_exit
        self._on_lost = on_lost
        self._sock: socket.socket | None = None
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listed: list[dict[str, Any]] = []
        self._seq = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._sending = asyncio.Lock()
        self.pid: int | None = None

    async def connect(self) -> list[dict[str, Any]]:
        """Find the supervisor of an earlier agent or start one.

        Returns:
            Its tasks: key, state (of `protocol.State`), pid. Exits it kept are told to `on_exit`.
        """
        self._open()
        self._listed = []
        try:
            answer = await self.request("list")
        except UnavailableError:  # one without tasks was just ending by itself
            self._open()
            answer = await self.request("list")
        self.pid = answer["pid"]
        return self._listed

    def _open(self) -> None:
        if self._sock is None:
            self._sock = self._connect_running() or self._start()
            self._sock.setblocking(False)
            asyncio.get_running_loop().add_reader(self._sock.fileno(), self._hear)

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
        root = str(Path(__file__).resolve().parents[2])
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
                    [
                        *(sys.executable, "-I", "-S", "-c", _BOOT),
                        *(str(program), root, str(listener.fileno())),
                    ],
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

    async def request(self, op: str, fds: Sequence[int] = (), **arguments: Any) -> dict[str, Any]:
        """Ask, and wait for the answer.

        Raises:
            UnavailableError: the supervisor is gone.
            CgagentError: what it answered.
        """
        if self._sock is None:
            await self.connect()
        self._seq += 1
        seq = self._seq
        future = asyncio.get_running_loop().create_future()
        self._pending[seq] = future
        try:
            await self._send({"seq": seq, "op": op, **arguments}, fds)
            answer: dict[str, Any] = await future
        finally:
            self._pending.pop(seq, None)
        if "error" in answer:
            raise error_from_wire(answer["error"])
        return answer

    async def _send(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        async with self._sending:
            while True:
                if self._sock is None:
                    raise UnavailableError("the supervisor has ended; see its log")
                try:
                    wire.send(self._sock, message, fds)
                    return
                except BlockingIOError:
                    await self._writable(self._sock)
                except OSError:
                    self._lose()

    @staticmethod
    async def _writable(sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_writer(sock.fileno(), ready.set_result, None)
        try:
            await ready
        finally:
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
        event = message.pop("event", None)
        if event == "task":
            self._listed.append(message)
        elif event == "exited":
            self._on_exit(message.pop("key"), message)
        else:
            future = self._pending.get(message.get("seq", -1))
            if future is not None and not future.done():
                future.set_result(message)

    def _lose(self) -> None:
        self.close()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(UnavailableError("the supervisor has ended; see its log"))
        if self._child is not None:
            self._child.poll()
        self._on_lost()

    def close(self) -> None:
        """Let go of the supervisor: it goes on as long as it has containers."""
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None
