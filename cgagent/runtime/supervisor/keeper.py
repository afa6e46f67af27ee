"""The keeper: parent of the supervisor, and what is left of it if it dies.

It holds a duplicate of every descriptor that cannot be opened again (`holdings`), reaps what is
left without a parent (it is the nearest subreaper), and forks a successor when the supervisor has
died. It does next to nothing, so that there is next to nothing it could die of. Its code is the
supervisor's, loaded before it is needed: a takeover reads no file.

    keeper ─── fork ───> supervisor ─── clone ───> containers
      ▲                      │
      └────── holdings ──────┘

The supervisor dies: the containers become the keeper's children; the new supervisor is told how
they end. The keeper dies: the supervisor forks. The parent, whose children the containers are,
becomes the keeper (a `Keeper` with a child that is there already); the child is the supervisor.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Final

from cgagent.kernel import namespaces
from cgagent.messages import wire
from cgagent.messages.record import MessageError
from cgagent.runtime.messages.held import CHANGES, Ended, Reap
from cgagent.runtime.supervisor import holdings

if TYPE_CHECKING:
    from cgagent.runtime.supervisor.holdings import Entries

_LONG_LIFE_S: Final = 0.2
_MAX_PAUSE_S: Final = 1.0
_LOOK: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT


class Keeper:
    """See the module. `child` is the supervisor that there is, with the channel to it."""

    def __init__(self, entries: Entries, child: tuple[int, socket.socket] | None = None) -> None:
        self.entries = entries
        self._child = child
        self._short_lives = 0
        self._told = 0
        """Who has ended and is not noted yet."""

    def run(self) -> socket.socket | None:
        """Keep until the supervisor has ended by itself: None. In a new supervisor: its channel."""
        namespaces.set_child_subreaper(take=True)
        rename_process("cgagent-keeper")
        # it is told of each change, and may hear of it when there is nothing better to do
        _change_policy(os.SCHED_OTHER, os.SCHED_BATCH)
        wake, wake_in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
        while True:
            if self._child is None:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                pid = os.fork()
                if not pid:
                    _change_policy(os.SCHED_BATCH, os.SCHED_OTHER)
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for end in (wake, wake_in):
                        os.close(end)
                    ours.close()
                    return theirs
                theirs.close()
                self._child = pid, ours
            if self._serve(*self._child, wake) == 0:
                return None
            self._child = None

    def _serve(self, pid: int, channel: socket.socket, wake: int) -> int:
        """Until the supervisor has ended: 0 if by itself."""
        begin = time.monotonic()
        self._told = 0
        channel.setblocking(False)
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(channel, select.POLLIN)
        while True:  # what there is comes first: its SIGCHLD may have been its predecessor's
            connected = self._listen(channel)
            told = self._tell_of_orphans(pid, channel)
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
            if ended is not None:
                self._listen(channel)
                channel.close()
                if ended.si_status:
                    self._note_death(pid, ended.si_status, time.monotonic() - begin)
                return ended.si_status
            events = (select.POLLIN if connected else 0) | (0 if told else select.POLLOUT)
            if events:
                poll.register(channel, events)
            else:  # it is about to end: SIGCHLD tells
                with contextlib.suppress(KeyError):
                    poll.unregister(channel)
            if any(fd == wake for fd, _ in poll.poll()):
                os.read(wake, 1024)

    def _listen(self, channel: socket.socket) -> bool:
        """Do what the supervisor has told; False at the end of it."""
        while True:
            try:
                received = wire.receive(channel, *CHANGES)
            except BlockingIOError:
                return True
            except ConnectionResetError:  # it left our last words unread; its own come next
                continue
            except MessageError as e:  # of a defect: what is held stays
                sys.stderr.write(f"keeper: {e.message}\n")
                continue
            if received is None:
                return False
            change, fds = received
            if isinstance(change, Reap):
                with contextlib.suppress(ChildProcessError):  # it was told of it twice
                    os.waitid(os.P_PID, change.pid, os.WEXITED)
                continue
            for fd in holdings.apply(self.entries, change, fds):
                os.close(fd)

    def _tell_of_orphans(self, supervisor: int, channel: socket.socket) -> bool:
        """Of one that has ended; it stays as a zombie until that is noted, whoever dies meanwhile.

        False if the supervisor cannot hear it now.
        """
        found = os.waitid(os.P_ALL, 0, _LOOK)
        if found is None or found.si_pid in {supervisor, self._told}:
            return True
        killed = found.si_code != os.CLD_EXITED
        try:
            wire.send(channel, Ended(pid=found.si_pid, killed=killed, status=found.si_status))
        except BlockingIOError:
            return False
        except OSError:  # dying: its successor will be told
            return True
        self._told = found.si_pid
        return True

    def _note_death(self, pid: int, status: int, lived_s: float) -> None:
        sys.stderr.write(f"supervisor {pid} has ended ({status}): another one takes over\n")
        sys.stderr.flush()
        self._short_lives = self._short_lives + 1 if lived_s < _LONG_LIFE_S else 0
        if self._short_lives > 1:  # it may die of what it takes over
            time.sleep(min(_MAX_PAUSE_S, 0.01 * 2**self._short_lives))


def _change_policy(before: int, after: int) -> None:
    """Of this process; one that somebody has given it stays."""
    with contextlib.suppress(PermissionError):
        if os.sched_getscheduler(0) == before:
            os.sched_setscheduler(0, after, os.sched_param(0))


def _ignore(_number: int, _frame: object) -> None:
    """Only the wake-up is wanted."""


def rename_process(name: str) -> None:
    """What ``ps`` shows: keeper and supervisor run from one command line."""
    with open("/proc/self/comm", "w", encoding="ascii") as f:
        f.write(name)
