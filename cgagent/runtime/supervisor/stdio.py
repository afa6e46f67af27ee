"""A task's standard streams: its pipes or its terminal, its log, and the clients attached to them.

Made when the task is; the pipes exist from `open` (set-up or start) on, a terminal from the moment
the task has made it. Clients may come before and after. Output goes to the log and to every
client; a slow client holds the pipes back for a moment, and for longer only where nobody else is
concerned. The descriptors are the task's holding's, so that a
successor of the supervisor finds them: see `resume`.
"""

from __future__ import annotations

import errno
import os
import selectors
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

from cgagent.errors import ConflictError
from cgagent.kernel import pipes, pty
from cgagent.kernel.loop import HANGUP
from cgagent.runtime.logs.driver import open_log
from cgagent.runtime.logs.json_file import Mark
from cgagent.runtime.protocol import STDERR, STDIN, STDOUT
from cgagent.runtime.supervisor import journal
from cgagent.runtime.supervisor.attached import HIGH_WATER, Client
from cgagent.runtime.supervisor.journal import CLOSING, DONE, PIECE, Journal, Note

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.kernel.loop import Loop
    from cgagent.runtime.logs.driver import Log
    from cgagent.runtime.messages.held import HeldTask
    from cgagent.runtime.messages.jobs import Streams
    from cgagent.runtime.messages.outcomes import Status
    from cgagent.runtime.supervisor.holdings import Holding

_CHUNK: Final = 64 * 1024
_LAST_BYTES: Final = 1024 * 1024  # what a pipe holds at most
_PATIENCE_S: Final = 1.0
_LEAST_BYTES: Final = 64 * 1024
"""A client that is so far behind takes this much in that time, or is cut off."""
_LABELS: Final = {STDOUT: "out", STDERR: "err"}
_KEYS, _KEYS_IN, _STDIN, _SLAVE = "keys", "keys_in", "stdin", "slave"


class Stdio:
    def __init__(
        self,
        held: Holding[HeldTask],
        loop: Loop,
        mirror: pipes.Mirror,
        on_cut_off: Callable[[], None],
    ) -> None:
        self._held = held
        self._on_cut_off = on_cut_off
        self._loop = loop
        self._mirror = mirror
        self._clients: list[Client] = []
        self._is_expecting = False
        self._log: Log | None = None
        self._journal: Journal | None = None
        self._unlogged: tuple[int, bytes, int] | None = None  # what a busy log has not taken
        self._input_stuck = False  # no input fits at the moment
        self._running = False
        self._ended: set[int] = set()
        """Streams; their pipes are closed with the rest, in one go."""

    @property
    def dropped_bytes(self) -> int:
        """Output that could not be written to the log."""
        return self._log.dropped_bytes if self._log else 0

    @property
    def _has_terminal(self) -> bool:
        streams = self._held.value.streams
        return streams is not None and streams.terminal

    @property
    def _ends_with_client(self) -> bool:
        """The input; that of a terminal ends with a key."""
        streams = self._held.value.streams
        return streams is not None and streams.stdin_once and not streams.terminal

    @property
    def _outputs(self) -> dict[int, int]:
        """Stream -> reading end, of those that have not ended."""
        fds = self._held.fds
        known = ((stream, fds.get(label)) for stream, label in _LABELS.items())
        return {s: fd for s, fd in known if fd is not None and s not in self._ended}

    @property
    def _stdin(self) -> int | None:
        return self._held.fds.get(_STDIN)

    # -- pipes ------------------------------------------------------------------------------

    def open(self, streams: Streams, value: HeldTask) -> None:
        """Make the pipes and the log; they are held together with `value`, which has the rest.

        With a terminal there are no pipes: the child makes it; see `take_terminal`.

        Raises:
            UnavailableError: the log cannot be opened; see `logdriver`.
        """
        log_before, self._log = self._log, open_log(streams.log)
        if log_before:  # of a preparation that was of something else
            log_before.close()
        fds = journal.make()
        unused = []
        if not streams.terminal:
            if streams.stdin:
                read, fds[_STDIN] = os.pipe2(os.O_CLOEXEC)
                os.set_blocking(fds[_STDIN], False)
                unused.append(read)
            for label in _LABELS.values():
                fds[label], write = os.pipe2(os.O_CLOEXEC)
                os.set_blocking(fds[label], False)
                unused.append(write)
        self._held.put(value.replace(streams=streams), fds)
        self._journal = Journal(self._held.fds, self._mirror)
        for fd in unused:
            os.close(fd)

    def child_ends(self) -> list[int]:
        """The three that the child gets, which the caller closes; none where it has a terminal."""
        if self._has_terminal:
            return []
        if self._stdin is None:
            ends = [os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)]
        else:
            ends = [pipes.other_end(self._stdin, os.O_RDONLY)]
        ends += [pipes.other_end(self._outputs[stream], os.O_WRONLY) for stream in _LABELS]
        return ends

    def take_terminal(self, master: int) -> None:
        """Own the terminal that the child has made."""
        os.set_blocking(master, False)
        fds = {_LABELS[STDOUT]: master}
        # kept open: an init that closes and opens its terminal again does not end it
        fds[_SLAVE] = pty.open_slave(master)
        streams = self._held.value.streams
        if streams is not None and streams.stdin:
            fds[_STDIN] = os.dup(master)  # to be watched apart from the output
            fds[_KEYS], fds[_KEYS_IN] = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._held.update(fds)

    def resize(self, rows: int, columns: int) -> None:
        """Raises ConflictError where there is no terminal."""
        outputs = self._outputs
        if not self._has_terminal or STDOUT not in outputs:
            raise ConflictError("it has no terminal; give it one with --tty")
        pty.set_size(outputs[STDOUT], rows, columns)

    def run(self) -> None:
        """The command runs: start moving bytes."""
        self._running = True
        self._watch_outputs()
        self._type()  # what a predecessor had taken from a client
        for client in list(self._clients):
            self._begin(client)

    def _watch_outputs(self) -> None:
        if not self._running:
            return
        slow = [c for c in self._clients if c.queued > HIGH_WATER]
        if slow and not self._may_hold_back(slow[0]):
            self._expect_progress()
        held_back = self._unlogged is not None or bool(slow)
        events = 0 if held_back else selectors.EVENT_READ
        for stream, fd in self._outputs.items():
            self._loop.watch(fd, events, partial(self._pump, stream))

    # -- clients that do not read -----------------------------------------------------------

    def _may_hold_back(self, client: Client) -> bool:
        """A command waits for its reader, as in a shell, where nobody else is concerned.

        That is the only client, of a foreground run or of something that has no log.
        """
        return len(self._clients) == 1 and (client.stays or self._log is None)

    def _expect_progress(self) -> None:
        if not self._is_expecting:
            self._is_expecting = True
            sent = {c.name: c.sent for c in self._clients if c.queued > HIGH_WATER}
            self._loop.after(_PATIENCE_S, partial(self._cut_off, sent))

    def _cut_off(self, sent: dict[str, int]) -> None:
        """Drop those that have not taken as much as they had to since `sent` was noted."""
        self._is_expecting = False
        if not self._running:
            return
        for client in list(self._clients):
            before = sent.get(client.name)
            if before is None or client.queued <= HIGH_WATER or self._may_hold_back(client):
                continue
            if client.sent - before < _LEAST_BYTES:
                sys.stderr.write(f"{client.name} is cut off: it does not read\n")
                client.gone = True
                self._update(client)
                self._on_cut_off()
        self._watch_outputs()

    def _pump(self, stream: int) -> None:
        moved = self._move(stream)
        if moved is None:
            return
        if not moved:
            self._loop.forget(self._outputs[stream])
            self._ended.add(stream)
            return
        self._watch_outputs()

    # -- a piece of output ------------------------------------------------------------------

    def _move(self, stream: int, *, wait: bool = False) -> int | None:
        """One piece to log and clients: how much, 0 at the end, None if there is nothing now."""
        if self._journal is None:
            return 0
        self._note(PIECE, stream, queued={c.name: c.queued for c in self._clients})
        data = self._take(self._journal, stream)
        if data:
            self._show(stream, data)
            self._keep(stream, data, 0, wait=wait)
        return None if data is None else len(data)

    def _take(self, journal: Journal, stream: int) -> bytes | None:
        limit = self._log.piece_bytes if self._log else _CHUNK
        try:
            return journal.take(self._outputs[stream], limit)
        except OSError as e:
            if e.errno != errno.EIO:  # a terminal that was hung up
                raise
            return b""

    def _show(self, stream: int, data: bytes, queued: dict[str, int] | None = None) -> None:
        """Queue it for the clients; `queued`: as a predecessor noted it before it did so."""
        for client in self._clients:
            if queued is None:
                client.output(stream, data)
            elif client.name in queued:
                client.output(stream, data, queued[client.name])
        if self._clients:
            self._note(PIECE, stream)

    def _keep(self, stream: int, data: bytes, taken: int, *, wait: bool = False) -> None:
        """Log it from `taken` on; what the log does not take now is kept until it does."""
        log = self._log
        while log and taken < len(data):
            if log.is_full:
                log.rotate()
                self._note(PIECE, stream, taken)
            count = log.append(stream, data[taken:])
            taken += count
            if not count and wait:
                log.write(stream, data[taken:])
                break
            if not count:
                self._unlogged = stream, data, taken
                self._loop.watch(log.fileno(), selectors.EVENT_WRITE, self._catch_up)
                return
            if taken < len(data):
                self._note(PIECE, stream, taken)
        self._note(DONE)
        if self._journal:
            self._journal.clear()
        for client in list(self._clients):
            client.flush()
            self._update(client)

    def _note(
        self, kind: int, stream: int = 0, taken: int = 0, queued: dict[str, int] | None = None
    ) -> None:
        if self._journal is None:
            return
        offset, held = 0, {}
        if self._log:
            marks = {number: self._log.mark(number) for number in _LABELS}
            offset = marks[STDOUT].offset
            held = {number: mark.held for number, mark in marks.items()}
        self._journal.note(Note(kind, stream, offset, held, self.dropped_bytes, taken, queued))

    def _catch_up(self) -> None:
        """The log takes more."""
        if self._log and self._unlogged:
            self._loop.forget(self._log.fileno())
            unlogged, self._unlogged = self._unlogged, None
            self._keep(*unlogged)
            self._watch_outputs()

    # -- clients ----------------------------------------------------------------------------

    def attach(self, client: Client) -> None:
        self._clients.append(client)
        if self._running:
            self._begin(client)

    def logged_since(self, inode: int, offset: int) -> list[tuple[int, bytes]]:
        """Output that is in the log after a place in it, and what the log holds back, by stream.

        Raises:
            ConflictError: it is in another file, or more than a client's queue takes.
        """
        return list(self._log.since(inode, offset, HIGH_WATER)) if self._log else []

    def release(self) -> list[Client]:
        """The clients, which are somebody else's from now on."""
        clients, self._clients = self._clients, []
        for client in clients:
            self._loop.forget(client.fileno())
        return clients

    def _begin(self, client: Client) -> None:
        self._take_input(client)
        client.flush()
        self._update(client)

    def _update(self, client: Client) -> None:
        """Watch a client for what can happen next, or let it go."""
        if client.gone:
            self._drop(client)
            return
        # Without STDIN, too, reading tells of a hang-up; when all is read, only a hang-up does.
        reading = not client.reads_done and not self._input_stuck
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
        if not client.reads_done and not self._input_stuck:
            self._take_input(client)
        self._update(client)
        self._watch_outputs()

    def _take_input(self, client: Client) -> None:
        """Some of it into the pipe, which is closed after the last input."""
        if STDIN not in client.streams or self._stdin is None:
            client.discard()
            return
        try:
            moved = client.give(self._held.fds.get(_KEYS_IN, self._stdin))
        except BlockingIOError:
            self._wait_for_room()
            return
        except BrokenPipeError:  # the container closed its end
            self._end_input()
            return
        if moved == 0 and self._ends_with_client:
            self._end_input()
        elif moved:
            self._type()

    def _type(self) -> None:
        """Keys of a terminal go through a pipe first: nothing else can be spliced into one."""
        fds = self._held.fds
        if _KEYS not in fds:
            return
        try:
            while pipes.available(fds[_KEYS]):
                os.splice(fds[_KEYS], fds[_STDIN], _CHUNK, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            self._wait_for_room()
        except OSError as e:
            if e.errno != errno.EIO:  # a terminal that was hung up
                raise
            self._end_input()

    def _wait_for_room(self) -> None:
        if self._stdin is not None:
            self._input_stuck = True
            self._loop.watch(self._stdin, selectors.EVENT_WRITE, self._has_room)

    def _has_room(self) -> None:
        if self._stdin is not None:
            self._loop.forget(self._stdin)
        self._input_stuck = False
        self._type()
        for client in list(self._clients):
            self._update(client)

    def _end_input(self) -> None:
        if self._stdin is not None:
            self._loop.forget(self._stdin)
            self._held.close(_STDIN, _KEYS, _KEYS_IN)
        self._input_stuck = False

    def _drop(self, client: Client) -> None:
        self._clients.remove(client)
        self._loop.forget(client.fileno())
        client.close()
        if STDIN in client.streams and self._ends_with_client:
            self._end_input()

    # -- a predecessor's --------------------------------------------------------------------

    def resume(self) -> None:
        """Go on where a predecessor was killed; its clients are attached already."""
        streams = self._held.value.streams
        if streams is None:
            return
        try:
            self._log = open_log(streams.log, again=True)
        except OSError as e:  # removed by somebody: no reason to end all containers' supervisor
            sys.stderr.write(f"{self._held.name}: its log cannot be opened again: {e.strerror}\n")
        self._journal = Journal(self._held.fds, self._mirror)
        note = self._journal.last
        if self._log:
            for stream, held in note.held.items():
                self._log.rewind(stream, Mark(note.offset, held))
            self._log.dropped_bytes = note.dropped_bytes
        data = self._journal.staged() if note.kind == PIECE else b""
        if data:
            if note.queued is not None:
                self._show(note.stream, data, note.queued)
            self._keep(note.stream, data, note.taken)
        else:
            self._journal.clear()

    # -- the end ----------------------------------------------------------------------------

    def drain(self) -> None:
        """After the process has ended: take what is left in the pipes, without waiting."""
        if self._unlogged and self._log:
            self._loop.forget(self._log.fileno())
            unlogged, self._unlogged = self._unlogged, None
            self._keep(*unlogged, wait=True)
        for stream in self._outputs:
            # bounded: what a command left running in the container may write on for ever
            left = _LAST_BYTES
            while left > 0 and (moved := self._move(stream, wait=True)):
                left -= moved

    def close(self) -> None:
        """Close pipes and log, and let the clients see the rest of their output."""
        for label, fd in self._held.fds.items():
            if label in {*_LABELS.values(), _STDIN}:
                self._loop.forget(fd)
        self._running = False
        if self._log:
            self._loop.forget(self._log.fileno())
            self._note(CLOSING)
            self._log.close()
            self._log = None
            self._note(DONE)

    def see_off(self, status: Status, *, stay: bool = False) -> list[Client]:
        """Clients get `status` after the rest of their output.

        Returns:
            Those that stay, if any shall `stay`: for the caller to `let_go`.
        """
        clients, self._clients = self._clients, []
        for client in clients:
            client.stays = client.stays and stay
            client.finish(status)
            see_off(client, self._loop)
        return [client for client in clients if client.stays and not client.gone]


def let_go(client: Client, loop: Loop) -> None:
    """Close one that stayed, after the rest of its output."""
    if client.gone and client.stays:
        return  # it has hung up meanwhile, and was closed then
    client.stays = False
    client.flush()
    see_off(client, loop)


def see_off(client: Client, loop: Loop) -> None:
    """Send a client that is finished the rest of its output; it needs no task any more."""

    def serve() -> None:
        if client.stays and not client.pending:  # it was watched for a hang-up only
            client.gone = True
        client.flush()
        see_off(client, loop)

    loop.forget(client.fileno())
    if client.gone:
        client.close()
    else:
        loop.watch(client.fileno(), selectors.EVENT_WRITE if client.pending else HANGUP, serve)
