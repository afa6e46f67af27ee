"""A task's standard streams: its pipes or its terminal, its log, and the clients attached to them.

Made when the task is; the pipes exist from `open` (the start) on, a terminal from the moment
the task has made it. Clients may come before and
after. Output goes to the log and to every client; a slow client holds the pipes back.
"""

from __future__ import annotations

import errno
import os
import selectors
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import ConflictError
from cgagent.kernel import pty
from cgagent.runtime.client import HIGH_WATER, Client
from cgagent.runtime.logdriver import open_log
from cgagent.runtime.loop import HANGUP
from cgagent.runtime.protocol import STDERR, STDIN, STDOUT

if TYPE_CHECKING:
    from cgagent.runtime.logdriver import Log
    from cgagent.runtime.loop import Loop

_CHUNK: Final = 64 * 1024
_LAST_BYTES: Final = 1024 * 1024  # what a pipe holds at most
_OUTPUTS: Final = (STDOUT, STDERR)


class Stdio:
    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._clients: list[Client] = []
        self._outputs: dict[int, int] = {}  # stream -> reading end
        self._log: Log | None = None
        self._unlogged: dict[int, bytes] = {}  # what a busy log has not taken yet
        self._stdin: int | None = None
        self._stdin_once = False
        self._stdin_ending = False
        self._input = bytearray()  # taken from clients, not yet in the pipe
        self._running = False
        self._terminal = False
        self._wants_input = False
        self._slave: int | None = None

    @property
    def dropped_bytes(self) -> int:
        """Output that could not be written to the log."""
        return self._log.dropped_bytes if self._log else 0

    # -- pipes ------------------------------------------------------------------------------

    def open(
        self,
        *,
        log: dict[str, Any] | None,
        stdin: bool,
        stdin_once: bool,
        terminal: bool = False,
    ) -> list[int]:
        """Make the pipes; returns the child's three ends, which the caller closes.

        With `terminal` there are none: the child makes a terminal; see `take_terminal`.

        Raises:
            UnavailableError: the log cannot be opened; see `logdriver`.
        """
        self._log = open_log(log)
        self._terminal = terminal
        self._wants_input = stdin
        if terminal:  # whose input ends with a key, not with a client
            return []
        self._stdin_once = stdin_once
        if stdin:
            stdin_read, self._stdin = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._stdin, False)
        else:
            stdin_read = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        child_ends = [stdin_read]
        for stream in _OUTPUTS:
            read, write = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(read, False)
            self._outputs[stream] = read
            child_ends.append(write)
        return child_ends

    def take_terminal(self, master: int) -> None:
        """Own the terminal that the child has made."""
        os.set_blocking(master, False)
        self._outputs[STDOUT] = master
        # kept open: an init that closes and opens its terminal again does not end it
        self._slave = pty.open_slave(master)
        if self._wants_input:
            self._stdin = os.dup(master)  # to be watched apart from the output

    def resize(self, rows: int, columns: int) -> None:
        """Raises ConflictError where there is no terminal."""
        if not self._terminal or STDOUT not in self._outputs:
            raise ConflictError("it has no terminal; give it one with --tty")
        pty.set_size(self._outputs[STDOUT], rows, columns)

    def run(self) -> None:
        """The command runs: start moving bytes."""
        self._running = True
        self._watch_outputs()
        for client in list(self._clients):
            self._begin(client)

    def _watch_outputs(self) -> None:
        held_back = bool(self._unlogged) or any(c.pending > HIGH_WATER for c in self._clients)
        events = 0 if held_back else selectors.EVENT_READ
        for stream, fd in self._outputs.items():
            self._loop.watch(fd, events, partial(self._pump, stream))

    def _pump(self, stream: int) -> None:
        data = _read(self._outputs[stream], self._log.piece_bytes if self._log else _CHUNK)
        if data is None:
            return
        if not data:
            fd = self._outputs.pop(stream)
            self._loop.forget(fd)
            os.close(fd)
            return
        self._keep(stream, data)
        self._show(stream, data)
        self._watch_outputs()

    def _keep(self, stream: int, data: bytes) -> None:
        """Log it; what the log does not take now is kept until it does."""
        log = self._log
        while log and data:
            if log.is_full:
                log.rotate()
            taken = log.append(stream, data)
            data = data[taken:]
            if not taken:
                self._unlogged[stream] = data
                self._loop.watch(log.fileno(), selectors.EVENT_WRITE, self._catch_up)
                return

    def _catch_up(self) -> None:
        if self._log:
            self._loop.forget(self._log.fileno())
        unlogged, self._unlogged = self._unlogged, {}
        for stream, data in unlogged.items():
            self._keep(stream, data)
        self._watch_outputs()

    def _show(self, stream: int, data: bytes) -> None:
        for client in list(self._clients):
            client.output(stream, data)
            self._update(client)

    # -- clients ----------------------------------------------------------------------------

    def attach(self, client: Client) -> None:
        self._clients.append(client)
        if self._running:
            self._begin(client)

    def _begin(self, client: Client) -> None:
        if client.tail:
            self._take(client)
        self._update(client)

    def _update(self, client: Client) -> None:
        """Watch a client for what can happen next, or let it go."""
        if client.gone:
            self._drop(client)
            return
        # Without STDIN, too, reading tells of a hang-up; when all is read, only a hang-up does.
        reading = not client.reads_done and len(self._input) < HIGH_WATER
        events = (selectors.EVENT_READ if reading else 0) | (
            selectors.EVENT_WRITE if client.pending else 0
        )
        if client.reads_done:
            events |= HANGUP
        self._loop.watch(client.fileno(), events, partial(self._serve, client))

    def _serve(self, client: Client) -> None:
        if client.reads_done and not client.pending:  # watched for a hang-up only
            client.gone = True
        client.flush()
        if not client.reads_done and len(self._input) < HIGH_WATER:
            self._take(client)
        self._update(client)
        self._watch_outputs()

    def _take(self, client: Client) -> None:
        data = client.receive()
        if data is None or STDIN not in client.streams or self._stdin is None:
            return
        self._input += data
        self._stdin_ending = self._stdin_ending or (not data and self._stdin_once)
        self._feed()

    def _feed(self) -> None:
        """Move input into the pipe; close it after the last byte of the last input."""
        if self._stdin is None:
            return
        try:
            while self._input:
                del self._input[: os.write(self._stdin, self._input[:_CHUNK])]
        except BlockingIOError:
            self._loop.watch(self._stdin, selectors.EVENT_WRITE, self._drained)
            return
        except BrokenPipeError:  # the container closed its end
            self._input.clear()
            self._stdin_ending = True
        self._loop.forget(self._stdin)
        if self._stdin_ending:
            os.close(self._stdin)
            self._stdin = None

    def _drained(self) -> None:
        self._feed()
        for client in list(self._clients):
            self._update(client)

    def _drop(self, client: Client) -> None:
        self._clients.remove(client)
        self._loop.forget(client.fileno())
        client.close()
        if STDIN in client.streams and self._stdin_once:
            self._stdin_ending = True
            self._feed()

    # -- the end ----------------------------------------------------------------------------

    def drain(self) -> None:
        """After the process has ended: take what is left in the pipes, without waiting."""
        if self._log:
            for stream, kept in self._unlogged.items():
                self._log.write(stream, kept)
        for stream, fd in list(self._outputs.items()):
            # bounded: what a command left running in the container may write on for ever
            left = _LAST_BYTES
            while left > 0 and (data := _read(fd, _CHUNK)):
                if self._log:
                    self._log.write(stream, data)
                self._show(stream, data)
                left -= len(data)

    def close(self, status: dict[str, Any]) -> None:
        """Close pipes and log; clients get `status` after the rest of their output."""
        for fd in (*self._outputs.values(), self._stdin, self._slave):
            if fd is not None:
                self._loop.forget(fd)
                os.close(fd)
        self._outputs.clear()
        self._stdin = self._slave = None
        if self._log:
            self._loop.forget(self._log.fileno())
            self._log.close()
        for client in self._clients:
            client.finish(status)
            _see_off(client, self._loop)
        self._clients.clear()


def _read(fd: int, size: int) -> bytes | None:
    """None for nothing now; empty at the end."""
    try:
        return os.read(fd, size)
    except BlockingIOError:
        return None
    except OSError as e:
        if e.errno != errno.EIO:  # a terminal that was hung up
            raise
        return b""


def _see_off(client: Client, loop: Loop) -> None:
    """Send a client the rest of its output after its task is gone."""

    def send() -> None:
        client.flush()
        if client.gone:
            loop.forget(client.fileno())
            client.close()

    loop.forget(client.fileno())
    if client.gone:
        client.close()
    else:
        loop.watch(client.fileno(), selectors.EVENT_WRITE, send)
