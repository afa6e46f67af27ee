"""The keeper's part, played by a test: it holds what a supervisor's objects give, and returns it.

A `Kept` is used by objects of the supervisor in the test's own process. `succeed` is what a kill
is to the descriptors: those of the dead one are closed, its successor has copies of the keeper's.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import TYPE_CHECKING

from cgagent.kernel.pipes import Mirror
from cgagent.messages import wire
from cgagent.runtime.external.parent import Launchers
from cgagent.runtime.messages.held import Change, HeldClient, HeldTask
from cgagent.runtime.supervisor import holdings
from cgagent.runtime.supervisor.holdings import Entry, Holding, Holdings
from cgagent.runtime.supervisor.strays import Strays
from cgagent.runtime.supervisor.task import Shared, Task

if TYPE_CHECKING:
    from cgagent.errors import CgagentError
    from cgagent.kernel.loop import Loop
    from cgagent.runtime.supervisor.holdings import Entries
    from cgagent.runtime.supervisor.task import Owner


def new_task(
    held: Holding[HeldTask], loop: Loop, *, is_ours: bool, owner: Owner | None = None
) -> Task:
    """As a supervisor makes one."""
    shared = Shared(loop, Mirror(), Launchers(), Strays(loop))
    return Task(held, shared, owner or _Nobody(), is_ours=is_ours)


class _Nobody:
    """Who wants to hear of nothing."""

    def task_started(self, task: Task, *, told: bool) -> None: ...
    def task_spoiled(self, task: Task) -> None: ...
    def task_failed(self, task: Task, error: CgagentError, *, told: bool) -> None: ...
    def client_cut_off(self, task: Task) -> None: ...
    def task_exited(self, _task: Task) -> bool:
        return False


class Kept:
    def __init__(self) -> None:
        self.entries: Entries = {}
        self._connect({})

    def _connect(self, entries: Entries) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.setblocking(False)
        self.holdings = Holdings(entries, theirs)

    def task(self, name: str = "one") -> Holding[HeldTask]:
        return Holding(self.holdings, f"task/{name}", HeldTask)

    def client(self, name: str = "1") -> Holding[HeldClient]:
        return Holding(self.holdings, f"client/{name}", HeldClient)

    def listen(self) -> None:
        """Do what the supervisor has told so far."""
        with contextlib.suppress(BlockingIOError):
            while (received := wire.receive(self.channel, Change)) is not None:
                for fd in holdings.apply(self.entries, *received):
                    os.close(fd)

    def listen_until_death_of(self, pid: int) -> None:
        """Of a supervisor in a process of its own, our child."""
        pidfd = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(self.channel, select.POLLIN)
        while pidfd not in (ready := dict(poll.poll())):
            if self.channel.fileno() in ready:
                self.listen()
        os.close(pidfd)

    def succeed(self) -> None:
        """The supervisor is dead: its descriptors are closed; `holdings` are its successor's."""
        self.give_away()
        self.listen()
        self.channel.close()
        copies = {
            name: Entry(dict(entry.value), {label: os.dup(fd) for label, fd in entry.fds.items()})
            for name, entry in self.entries.items()
        }
        self._connect(copies)

    def give_away(self) -> None:
        """The supervisor's descriptors are not ours, or not any more."""
        self.holdings.channel.close()
        for entry in self.holdings.entries.values():
            for fd in entry.fds.values():
                os.close(fd)
        self.holdings.entries = {}

    def leave(self) -> None:
        """In a fork that is the supervisor: have its descriptors only."""
        self.channel.close()
        for entry in self.entries.values():
            for fd in entry.fds.values():
                os.close(fd)

    def close(self) -> None:
        self.succeed()
        for entries in (self.entries, self.holdings.entries):
            for entry in entries.values():
                for fd in entry.fds.values():
                    os.close(fd)
        self.channel.close()
        self.holdings.channel.close()
