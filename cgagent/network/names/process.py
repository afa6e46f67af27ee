"""The names process as the agent sees it: found or started, told, asked, and lost."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import struct
import subprocess
import time
from typing import TYPE_CHECKING, Final, TypeVar

from cgagent import bare
from cgagent.errors import UnavailableError
from cgagent.messages import wire
from cgagent.messages.record import MessageError
from cgagent.network.names.messages import Held, Listed
from cgagent.network.relay.messages import HeldRelay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cgagent.messages.record import Message

T = TypeVar("T")
log = logging.getLogger(__name__)

_SOCKET: Final = "names.sock"
_MODULE: Final = "cgagent.network.names.main"
_ANSWER_S: Final = 2.0
_START_S: Final = 10.0
_ATTEMPTS: Final = 3
_UCRED: Final = struct.Struct("3i")


class Process:
    """Owns the connection. Not thread-safe."""

    def __init__(self, run_dir: Path, log_path: Path) -> None:
        self._path = run_dir / _SOCKET
        self._log_path = log_path
        self._sock: socket.socket | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self.pid: int | None = None
        """Of the one that was connected to last."""

    def meet(self, greet: Callable[[], T]) -> T:
        """Connect to one that answers; what `greet` returns, which asks it something.

        Raises:
            UnavailableError: none stays.
        """
        for _ in range(_ATTEMPTS):
            if self._sock is None or self.lost():
                self._disconnect()
                self._sock = self._connect_running() or self._start()
            try:
                greeted = greet()
                self._connected().settimeout(_ANSWER_S)
                return greeted
            except UnavailableError:  # one without containers was just ending by itself
                continue
        raise UnavailableError(f"the names process does not stay; see {self._log_path}")

    def find(self) -> bool:
        """Connect to one that an earlier agent has left, if there is one."""
        if self._sock is None:
            self._sock = self._connect_running()
        return self._sock is not None

    def send(self, message: Message, *sockets: socket.socket | int) -> None:
        """Raises UnavailableError: it has ended, or does not listen."""
        sock = self._connected()
        try:
            wire.send(sock, message, [s if isinstance(s, int) else s.fileno() for s in sockets])
        except OSError as e:  # in time, too
            self._give_up()
            raise UnavailableError(f"the names process cannot be told: {e}; connect again") from e

    def receive(self) -> tuple[Message, list[int]]:
        """Raises UnavailableError: it has ended; it did not answer, and was killed."""
        try:
            received = wire.receive(self._connected(), Held, HeldRelay, Listed)
        except TimeoutError:
            self._kill()
            received = None
        except (OSError, MessageError):
            received = None
        if received is None:
            self._give_up()
            raise UnavailableError("the names process has ended; connect again")
        return received

    def fileno(self) -> int:
        """Raises UnavailableError: there is no connection."""
        return self._connected().fileno()

    def lost(self) -> bool:
        """It says nothing unless it is asked: what can be read is the end."""
        if self._sock is None:
            return True
        readable = select.poll()
        readable.register(self._sock, select.POLLIN)
        return bool(readable.poll(0))

    def await_end(self) -> None:
        """After it was told to end."""
        with contextlib.suppress(UnavailableError, OSError):
            self._connected().recv(1)  # nothing, at its end
        if self._child is not None:
            try:
                self._child.wait(_ANSWER_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    def let_go(self) -> None:
        """It goes on, if it has not ended."""
        if self._child is not None and self._child.poll() is None:
            self._child.returncode = 0  # it is not ours any more
        self._disconnect()

    def _connect_running(self) -> socket.socket | None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.settimeout(_ANSWER_S)
        try:
            sock.connect(str(self._path))
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            return None
        except BaseException:
            sock.close()
            raise
        # Of one that we have just started it may be our own: it has not called listen(2) yet.
        peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        self.pid = _UCRED.unpack(peer)[0]
        return sock

    def _start(self) -> socket.socket:
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_ANSWER_S)  # nobody is at the socket: it is ending
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(self._path))
            self._path.chmod(0o600)
            listener.listen()
            with open(self._log_path, "ab") as out:
                self._child = subprocess.Popen(
                    bare.command(_MODULE, str(listener.fileno()), packages=("dns",)),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    pass_fds=(listener.fileno(),),
                    start_new_session=True,
                    cwd="/",
                    env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                )
        sock = self._connect_running()
        if sock is None:
            raise UnavailableError(f"the names process ended at once; see {self._log_path}")
        self.pid = self._child.pid
        sock.settimeout(_START_S)
        return sock

    def _connected(self) -> socket.socket:
        if self._sock is None:
            raise UnavailableError("the names process is not connected; connect first")
        return self._sock

    def _give_up(self) -> None:
        """The descriptor stays, as an event loop watches it, and is readable from now on."""
        with contextlib.suppress(OSError):
            self._connected().shutdown(socket.SHUT_RDWR)

    def _disconnect(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _kill(self) -> None:
        """One that is stopped or hangs: its sockets keep another one from the containers."""
        pid = self.pid
        if pid is None or not _is_names(pid):
            return
        log.warning("the names process (pid %s) does not answer and is killed", pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _ANSWER_S
        while _is_names(pid) and time.monotonic() < deadline:
            if self._child is not None:
                self._child.poll()
            time.sleep(0.001)


def _is_names(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return _MODULE.encode() in file.read().split(b"\0")
    except OSError:
        return False
