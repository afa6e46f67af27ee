"""The names process: one thread, no privileges, nothing to do until somebody asks.

It answers names and relays published ports at [::1] (`cgagent.network.relay`), as both are what
must go on without the agent and take what strangers send.

It is started with the number of a listening socket for agents. It ends when an agent says so, and
by itself when it has neither an agent nor a container nor a port.
"""

from __future__ import annotations

import os
import select
import selectors
import signal
import socket
import sys
import traceback
from typing import Final

from cgagent.kernel.loop import Loop
from cgagent.messages import wire
from cgagent.messages.record import Message, MessageError
from cgagent.network.names import descriptors
from cgagent.network.names.book import Book
from cgagent.network.names.connection import Connection
from cgagent.network.names.deadlines import Deadlines
from cgagent.network.names.door import Door, House
from cgagent.network.names.forwarding import Forwarder
from cgagent.network.names.lives import Lives
from cgagent.network.names.messages import (
    Begin,
    Complete,
    End,
    Held,
    List,
    Listed,
    Open,
    Put,
    Remove,
    Watch,
)
from cgagent.network.names.resolvers import HostResolvers
from cgagent.network.relay.messages import HeldRelay, Relay, Unrelay
from cgagent.network.relay.ports import Relays

_NOBODY: Final = 65534
_IDLE_S: Final = 10.0
_ANSWER_S: Final = 1.0
_SAID: Final = (Begin, Put, Complete, Open, Watch, Remove, Relay, Unrelay, List, End)


class Server:
    def __init__(self, listener: socket.socket, shared: int) -> None:
        """`shared`: how many descriptors strangers may have."""
        self._loop = Loop()
        self._book = Book()
        idle: Deadlines[Connection] = Deadlines(self._loop, _IDLE_S, Connection.close)
        forwarder = Forwarder(self._loop, HostResolvers())
        self._house = House(self._loop, self._book, forwarder, idle, self._hear)
        self._doors: dict[str, Door] = {}
        self._stale: set[str] = set()
        """Containers that the agent has not told of since it began."""
        self._relays = Relays(self._loop, shared)
        self._lives = Lives(self._loop, self._clear)
        self._agent: socket.socket | None = None
        self._said = select.poll()
        """The agent's connection: it tells without a large buffer that there is nothing."""
        self._listener = listener
        self._has_ended = False
        self._failures: set[tuple[str, int | None]] = set()
        listener.listen()  # anew, as by this process: who connects sees its pid
        listener.setblocking(False)
        self._loop.watch(listener.fileno(), selectors.EVENT_READ, self._accept)

    def run(self) -> None:
        while not self._has_ended:
            try:
                self._loop.run_once(None)
            except Exception as e:  # noqa: BLE001 # one container's packet must not end it for all
                self._note(e)

    def _note(self, error: Exception) -> None:
        """In the log, once for each place: a packet that can be sent again would fill the disk."""
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = (frame.filename, frame.lineno)
        if place not in self._failures:
            self._failures.add(place)
            traceback.print_exception(error)

    def _accept(self) -> None:
        """Another agent is the only one from now on."""
        try:
            with descriptors.every():
                sock, _ = self._listener.accept()
        except OSError:
            return  # it has gone again
        self._let_go()
        sock.setblocking(False)
        self._agent = sock
        self._loop.watch(sock.fileno(), selectors.EVENT_READ, self._hear)
        self._said.register(sock, select.POLLIN)

    def _let_go(self) -> None:
        if self._agent is not None:
            self._loop.forget(self._agent.fileno())
            self._said.unregister(self._agent)
            self._agent.close()
            self._agent = None

    def _hear(self) -> None:
        """Do all that the agent has said by now."""
        while self._said.poll(0) and self._agent is not None and not self._has_ended:
            try:
                with descriptors.every():
                    received = wire.receive(self._agent, *_SAID)
            except BlockingIOError:
                return
            except (OSError, MessageError) as e:
                sys.stderr.write(f"the agent's connection is given up: {e}\n")
                received = None
            if received is None:
                self._let_go()
                self._clear()
                return
            self._take(*received)

    def _clear(self) -> None:
        """Without an agent: whom nobody needs any more goes, and this process with the last."""
        if self._agent is None:
            for container in self._lives.over():
                self._remove(container)
                self._relays.remove_of(container)
            self._has_ended = not self._doors and not self._relays

    def _take(self, message: Message, fds: list[int]) -> None:
        match message:
            case Begin():
                self._stale = self._book.containers()
                self._relays.begin()
            case Complete():
                self._complete()
            case Put():
                self._put(message)
            case Open():
                self._open(message, *(socket.socket(fileno=fd) for fd in fds))
            case Watch():
                self._lives.watch(message.container, *fds)
            case Remove():
                self._lives.forget(message.container)
                self._remove(message.container)
            case Relay() | Unrelay():
                self._relays.take(message, *(socket.socket(fileno=fd) for fd in fds))
            case List():
                self._list()
            case End():
                self._has_ended = True

    def _complete(self) -> None:
        while self._stale:
            self._remove(self._stale.pop())
        self._relays.complete()

    def _put(self, message: Put) -> None:
        container = message.member.container
        self._stale.discard(container)
        viewer = self._book.put(message.member)
        if container in self._doors:
            self._doors[container].viewer = viewer

    def _open(self, message: Open, udp: socket.socket, tcp: socket.socket) -> None:
        self._shut(message.container)
        viewer = self._book.viewer(message.container)
        door = Door(self._house, viewer, message.namespace, udp, tcp)
        self._doors[message.container] = door

    def _remove(self, container: str) -> None:
        self._book.remove(container)
        self._shut(container)

    def _shut(self, container: str) -> None:
        door = self._doors.pop(container, None)
        if door is not None:
            door.close()

    def _list(self) -> None:
        """The agent reads all of it at once, so there is room again in no time."""
        agent = self._agent
        if agent is None:
            return
        agent.settimeout(_ANSWER_S)
        try:
            for container, door in self._doors.items():
                held = Held(container=container, namespace=door.namespace)
                wire.send(agent, held, [sock.fileno() for sock in door.sockets])
            for (protocol, port), sock in self._relays.held():
                relay = HeldRelay(protocol=protocol, host_port=port)
                wire.send(agent, relay, [sock.fileno()])
            wire.send(agent, Listed())
            agent.setblocking(False)
        except OSError:
            self._let_go()


def _drop_privileges() -> None:
    """All modules are loaded by now, and sockets come open from the agent."""
    if os.geteuid() != 0:
        return
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write("cgagent-names")
    server = Server(socket.socket(fileno=int(sys.argv[1])), descriptors.share())
    _drop_privileges()
    server.run()
