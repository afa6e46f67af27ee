"""A name server of the tests' own, whose answers a test decides, and a client as libc is one."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.query
import dns.rrset

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from tests.world.hosts import Host

    Respond = Callable[[dns.message.Message, str], list[bytes]]
    """From a query and "udp" or "tcp" to the packets that are sent."""


def address_of(name: str) -> str:
    """The address that this name has here."""
    return f"192.0.2.{sum(name.lower().encode()) % 254 + 1}"


def answer(query: dns.message.Message, *records: tuple[str, str]) -> dns.message.Message:
    """With records of a type and a text; without any the address that the name has."""
    (question,) = query.question
    response = dns.message.make_response(query, recursion_available=True)
    name = question.name
    for kind, text in records or (("A", address_of(name.to_text())),):
        response.answer.append(dns.rrset.from_text(name, 60, "IN", kind, text))
    return response


def plain(query: dns.message.Message, _protocol: str) -> list[bytes]:
    return [answer(query).to_wire()]


class Nameserver:
    """Answers at port 53 of addresses of a host, by UDP and TCP, one query after the other."""

    def __init__(self, host: Host, *addresses: str, respond: Respond = plain) -> None:
        self.respond = respond
        self.asked: list[tuple[dns.message.Message, str, tuple[str, int]]] = []
        self._end, self._stop = socket.socketpair()
        self._socks: list[socket.socket] = []
        with host.inside():
            for address in addresses:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    sock = socket.socket(family, kind)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.bind((address, 53))
                    if kind == socket.SOCK_STREAM:
                        sock.listen(64)
                    self._socks.append(sock)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._end, *self._socks], [], [])
            if self._end in ready:
                return
            for sock in ready:
                with suppress(OSError, EOFError):
                    self._answer(sock)

    def _answer(self, sock: socket.socket) -> None:
        if sock.type == socket.SOCK_DGRAM:
            data, client = sock.recvfrom(0xFFFF)
            for packet in self._packets(data, "udp", client):
                sock.sendto(packet, client)
            return
        connection, client = sock.accept()
        with connection:
            connection.settimeout(5)
            message, _ = dns.query.receive_tcp(connection)
            for packet in self._packets(message.to_wire(), "tcp", client):
                connection.sendall(len(packet).to_bytes(2, "big") + packet)

    def _packets(self, data: bytes, protocol: str, client: tuple[str, int]) -> list[bytes]:
        query = dns.message.from_wire(data)
        self.asked.append((query, protocol, client))
        return self.respond(query, protocol)

    def close(self) -> None:
        self._stop.close()
        self._thread.join()
        for sock in (self._end, *self._socks):
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Resolver:
    """Asks as libc does: a connected socket, some patience, then the same query again."""

    ATTEMPTS = 5

    def __init__(self, host: Host, server: str = "127.0.0.11", *, timeout_s: float = 5.0) -> None:
        with host.inside():
            self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.settimeout(timeout_s)
        self._sock.connect((server, 53))
        self.repeated = 0
        """Queries that had no answer in time, or were refused by the kernel."""

    def ask(self, name: str, kind: str = "A") -> dns.message.Message:
        query = dns.message.make_query(name, kind)
        for _ in range(self.ATTEMPTS):
            try:
                self._sock.send(query.to_wire())
                while True:
                    response = dns.message.from_wire(self._sock.recv(0xFFFF))
                    if query.is_response(response):
                        return response
            except (TimeoutError, ConnectionRefusedError):
                self.repeated += 1
        raise AssertionError(f"no answer to {name}")

    def addresses(self, name: str, kind: str = "A") -> list[str]:
        return sorted(r.to_text() for rrset in self.ask(name, kind).answer for r in rrset)

    def close(self) -> None:
        self._sock.close()
