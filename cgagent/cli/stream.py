"""Being a container's terminal-less front: our stdin to it, its output to ours, signals passed on.

One loop over two descriptors, none of which may block: a container that is fed and read at once
must not be able to wait for us while we wait for it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # without the enum that signal makes of it
import posix as os  # the C part: os itself takes 1.5 ms to be loaded
import select
import sys

from cgagent import standard
from cgagent.client import compact_json
from cgagent.client.connection import STATUS, Frames, received
from cgagent.client.http import exit_code
from cgagent.errors import CgagentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Final

    from cgagent.client.connection import Connection
    from cgagent.client.http import Client

_CHUNK: Final = 64 * 1024
_PASSED_ON: Final = (
    _signal.SIGINT,
    _signal.SIGTERM,
    _signal.SIGHUP,
    _signal.SIGQUIT,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
)
_ENDING: Final = frozenset({_signal.SIGINT, _signal.SIGTERM})
_INSISTENCE: Final = 3
"""So many of them end us where there is no container yet. One that is there gets all that come."""


class _Status(Exception):  # noqa: N818 - not an error: the end of the stream
    def __init__(self, value: dict[str, Any]) -> None:
        super().__init__()
        self.value = value


class _Pump:
    def __init__(self, connection: Connection, *, stdin: bool) -> None:
        self._sock = connection.socket
        self._sock.setblocking(False)
        self._incoming = Frames(connection.rest())
        self._outgoing = b""
        self._stdin_open = stdin
        self._poll = select.poll()
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll.register(self._woken, select.POLLIN)

    def run(self) -> dict[str, Any]:
        """Until the status frame comes; its object.

        A signal that comes just before `poll` would wait for the next byte to be handled: so
        each signal writes a byte to a pipe that is waited for, too.

        Raises:
            UnavailableError: the connection ended without one.
        """
        before = _signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        try:
            self._show()
            while True:
                self._step()
        except _Status as end:
            return end.value
        finally:
            _signal.set_wakeup_fd(before)
            os.close(self._woken)
            os.close(self._waker)

    def _step(self) -> None:
        sock, stdin = self._sock.fileno(), sys.stdin.fileno() if self._stdin_open else -1
        self._poll.register(sock, select.POLLIN | (select.POLLOUT if self._outgoing else 0))
        if self._stdin_open and not self._outgoing:
            self._poll.register(stdin, select.POLLIN)
        ready = dict(self._poll.poll())
        if self._woken in ready:
            os.read(self._woken, _CHUNK)
        if self._stdin_open and not self._outgoing:
            self._poll.unregister(stdin)
        if ready.get(sock, 0) & select.POLLOUT:
            self._send()
        if stdin in ready:
            self._read_stdin(stdin)
        if ready.get(sock, 0) & ~select.POLLOUT:
            self._receive()

    def _read_stdin(self, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:  # another reader was quicker
            return
        if data:
            self._outgoing = data
            self._send()
        else:
            self._stdin_open = False
            self._sock.shutdown(1)  # SHUT_WR

    def _send(self) -> None:
        try:
            self._outgoing = self._outgoing[self._sock.send(self._outgoing) :]
        except BlockingIOError:
            return
        except OSError:  # the container has ended; its status is on the way
            self._outgoing = b""
            self._stdin_open = False

    def _receive(self) -> None:
        data = received(self._sock, _CHUNK)
        if data is not None:
            self._incoming.feed(data)
            self._show()

    def _show(self) -> None:
        for stream, payload in self._incoming:
            if stream == STATUS:
                raise _Status(compact_json.loads(payload))
            standard.write(stream, payload)


class Signals:
    """Ours are passed on to a container from now on: those that come before it is known, then."""

    def __init__(self, client: Client | None, container: str | None = None) -> None:
        """Without a client they stay ours."""
        self._client = client
        self._path = container
        self._early: list[int] = []
        passed_on = () if client is None else _PASSED_ON
        self._before = {n: _signal.signal(n, self._handle) for n in passed_on}

    def undo(self) -> None:
        """There is no container: they are ours again."""
        for number, handler in self._before.items():
            _signal.signal(number, handler)

    def reach(self, path: str) -> None:
        """The container's path in the API."""
        self._path = path
        for number in self._early:
            self._send(path, number)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._path is not None:
            self._send(self._path, number)
            return
        self._early.append(number)
        if sum(n in _ENDING for n in self._early) >= _INSISTENCE:
            raise KeyboardInterrupt

    def _send(self, path: str, number: int) -> None:
        if self._client is None:
            return
        try:
            self._client.another().request("POST", f"{path}/kill?signal={int(number)}")
        except CgagentError:
            return  # it has ended meanwhile; the stream will tell


def pump(connection: Connection, *, stdin: bool) -> dict[str, Any]:
    """Move bytes both ways until the end; the status that comes then.

    Raises:
        UnavailableError: the connection ended without one.
    """
    return _Pump(connection, stdin=stdin).run()


def stay(client: Client, connection: Connection, container: str, *, stdin: bool) -> int:
    """Be connected until the end; the exit code.

    Raises:
        CgagentError: the command could not be started.
    """
    Signals(client, f"/v1/containers/{container}")
    return exit_code(pump(connection, stdin=stdin))


def stay_without_signals(connection: Connection, *, stdin: bool) -> int:
    """As `stay`, for a command inside a container: signals are ours."""
    return exit_code(pump(connection, stdin=stdin))
