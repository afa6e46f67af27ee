"""The agent's end of the names process: it tells who is there.

It keeps copies of the containers' sockets, as the process does: whichever of the two is killed, the
other one has them, and a query that comes meanwhile waits for its answer.

Thread-safe. Calls block for as long as a packet takes to be sent; only `connect`, and a container
whose sockets are still being closed, wait for an answer.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import threading
from typing import TYPE_CHECKING

from cgagent.errors import CgagentError, ConflictError, UnavailableError
from cgagent.network.names.doorway import Doorway
from cgagent.network.names.messages import (
    Begin,
    Complete,
    End,
    Held,
    List,
    Open,
    Put,
    Remove,
    Watch,
)
from cgagent.network.names.process import Process
from cgagent.network.names.redirection import ADDRESS, PORT
from cgagent.network.relay.messages import HeldRelay, Relay, Unrelay

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cgagent.network.names.values import Member

log = logging.getLogger(__name__)


class Names:
    """Owns the connection to the names process, whichever process that is.

    Args:
        run_dir: where its socket is; it must exist.
        log_path: takes what the process prints: tracebacks.
    """

    def __init__(self, run_dir: Path, log_path: Path) -> None:
        self._lock = threading.Lock()
        self._process = Process(run_dir, log_path)
        self._doorways: dict[str, Doorway] = {}
        """Copies of what the process has, by container: queries wait in there for a successor."""
        self._inherits = False
        self._inherited: dict[tuple[str, int], socket.socket] = {}
        self._told: set[str] = set()
        """Containers whose sockets the process has."""

    @property
    def pid(self) -> int | None:
        """Of the process that was connected to last."""
        return self._process.pid

    def inherited(self) -> dict[tuple[str, int], socket.socket]:
        """The sockets of ports at [::1] that a process of an earlier agent relays, if there is one.

        By protocol and port; they are the caller's.
        """
        with self._lock, contextlib.suppress(UnavailableError, OSError):
            if self._process.find():
                self._inherits = True
                self._told = self._listed()
        self._inherits = False
        found, self._inherited = self._inherited, {}
        return found

    def relay(self, relay: Relay, sock: socket.socket) -> None:
        """Have a port at [::1] led to a container. A copy of the socket goes to the process.

        Raises:
            UnavailableError: the process is gone, or does not listen; `connect` again.
        """
        with self._lock:
            self._process.send(relay, sock)

    def unrelay(self, protocol: str, host_port: int) -> None:
        """The process closes its socket in a moment, and all connections by it."""
        with self._lock, contextlib.suppress(UnavailableError):  # whose end was the sockets', too
            self._process.send(Unrelay(protocol=protocol, host_port=host_port))

    def connect(
        self,
        members: Iterable[tuple[Member, int]],
        relays: Iterable[tuple[Relay, socket.socket]] = (),
    ) -> None:
        """Find the process of an earlier agent or start one, and make its state exactly this.

        What the process answers already it goes on answering meanwhile. A container in whose
        namespace that is not possible is logged and left out. Takes 0.1 s where a process is
        started, and 0.3 ms for each container that neither of the two has sockets of.

        Args:
            members: each with a descriptor of its network namespace, which stays the caller's.
            relays: ports at [::1], each with its socket, which stays the caller's, too.

        Raises:
            UnavailableError: the process cannot be started.
        """
        with self._lock:
            self._told = self._process.meet(self._listed)
            wanted = list(members)
            self._tell_all([member for member, _ in wanted], relays)
            for member, netns_fd in wanted:
                try:
                    self._open(member.container, netns_fd)
                except (CgagentError, OSError) as e:
                    if self._process.lost():
                        raise
                    log.warning("container %s finds no names: %s", member.container[:12], e)

    def put(self, member: Member, netns_fd: int | None) -> None:
        """Tell of a container that is new or has changed.

        With its network namespace: when this returns, it is answered in there. That takes 0.3 ms
        when it is new. Else what is known of its sockets stays.

        Raises:
            UnavailableError: the process is gone, or does not listen; `connect` again.
            ConflictError: another program in there has the port.
            UnsupportedError, NetlinkError: nf_tables cannot be used in there.
        """
        with self._lock:
            self._process.send(Put(member=member))
            self._open(member.container, netns_fd)

    def watch(self, container: str, pid: int) -> None:
        """Have its names and ports go with its first process where no agent is there to tell.

        Raises:
            UnavailableError: the process is gone, or does not listen; `connect` again.
        """
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended: whoever knows of it tells
            return
        try:
            with self._lock:
                self._process.send(Watch(container=container), pidfd)
        finally:
            os.close(pidfd)

    def remove(self, container: str) -> None:
        """Forget a container. Its sockets are closed in a moment, and let go of its namespace."""
        with self._lock, contextlib.suppress(UnavailableError):  # whose end was the sockets', too
            self._drop(container)
            self._process.send(Remove(container=container))

    def fileno(self) -> int:
        """Readable when the process is `lost`, and else never. It changes with `connect`.

        Raises:
            UnavailableError: there is no connection.
        """
        with self._lock:
            return self._process.fileno()

    def lost(self) -> bool:
        """Whether the process has ended, or does not listen any more: `connect` again."""
        with self._lock:
            return self._process.lost()

    def end_one_that_is_left(self) -> None:
        """A process of an earlier agent, whose containers have ended meanwhile."""
        with self._lock, contextlib.suppress(UnavailableError, OSError):
            if self._process.find():
                self._process.send(End())
                self._process.await_end()
            self._process.let_go()

    def close(self, *, end: bool) -> None:
        """Let go of the process; with `end` it ends, and nobody is answered any more."""
        with self._lock:
            if end:
                with contextlib.suppress(UnavailableError):
                    self._process.send(End())
                self._process.await_end()
            self._process.let_go()
            for container in list(self._doorways):
                self._drop(container)

    def _tell_all(
        self, members: list[Member], relays: Iterable[tuple[Relay, socket.socket]]
    ) -> None:
        """Before the first query is answered: a name that is not known yet would go to others."""
        for container in self._doorways.keys() - {member.container for member in members}:
            self._drop(container)
        self._process.send(Begin())
        for member in members:
            self._process.send(Put(member=member))
        for relay, sock in relays:
            self._process.send(relay, sock)
        self._process.send(Complete())

    def _open(self, container: str, netns_fd: int | None) -> None:
        doorway = self._doorways.get(container)
        if netns_fd is not None and (doorway is None or not doorway.is_in(netns_fd)):
            doorway = self._opened(netns_fd)
            self._keep(container, doorway)
        if doorway is not None and container not in self._told:
            opening = Open(container=container, namespace=doorway.namespace)
            self._process.send(opening, *doorway.sockets)
            self._told.add(container)

    def _keep(self, container: str, doorway: Doorway) -> None:
        """In place of another one that it had."""
        self._drop(container)
        self._doorways[container] = doorway

    def _drop(self, container: str) -> None:
        self._told.discard(container)
        if container in self._doorways:
            self._doorways.pop(container).close()

    def _opened(self, netns_fd: int) -> Doorway:
        for was_busy in (False, True):
            try:
                return Doorway.open_in(netns_fd)
            except OSError as e:
                if e.errno != errno.EADDRINUSE:
                    raise
                if was_busy:
                    raise ConflictError(
                        f"{ADDRESS}:{PORT} is in use in the container's network, "
                        "where names are to be answered: the program there must use another port"
                    ) from None
                self._listed()  # another container's sockets in there may be about to be closed
        raise AssertionError

    def _listed(self) -> set[str]:
        """The containers that it has sockets of; all that it was told before is done.

        The sockets of those that are not known here are kept.

        Raises:
            UnavailableError: it has ended; it did not answer, and was killed.
        """
        self._process.send(List())
        containers: set[str] = set()
        while True:
            message, fds = self._process.receive()
            if isinstance(message, HeldRelay):
                self._inherit(message, *(socket.socket(fileno=fd) for fd in fds))
                continue
            if not isinstance(message, Held):
                return containers
            theirs = Doorway(message.namespace, *(socket.socket(fileno=fd) for fd in fds))
            ours = self._doorways.setdefault(message.container, theirs)
            if ours is not theirs:
                theirs.close()
            if ours.namespace == theirs.namespace:
                containers.add(message.container)

    def _inherit(self, message: HeldRelay, sock: socket.socket) -> None:
        key = message.protocol, message.host_port
        if self._inherits and key not in self._inherited:
            sock.setblocking(False)  # so that no copy makes it block in the process
            self._inherited[key] = sock
        else:
            sock.close()
