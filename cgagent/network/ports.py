"""Ports of the host's for containers, kept by sockets that are bound: nobody else takes one.

The sockets never get a packet, as the firewall leads it to a container first, but for those at
``::1``, whose packets are relayed (`cgagent.network.relay`): these listen, and no others do. Where
a port is on all addresses, its socket is that of ``::1``, too: two of one port exclude each other.
"""

from __future__ import annotations

import errno
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.errors import ConflictError, DeniedError, UnsupportedError
from cgagent.network import portholders, sysctl
from cgagent.network.ruleset import NUMBER_OF
from cgagent.network.values import EVERY6, IPV4, LOOPBACK6

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cgagent.network.values import Publication

_Key = tuple[str, str, int]
_Who = Callable[[str, int], str | None]
"""Who has a port, by protocol and number."""
_KIND: Final = {
    "tcp": socket.SOCK_STREAM,
    "udp": socket.SOCK_DGRAM,
    "sctp": socket.SOCK_SEQPACKET,
}
_BACKLOG: Final = 128
_RELAYING: Final = (str(LOOPBACK6), str(EVERY6))


class HostPorts:
    """Owns a socket for each port of one network namespace. Thread-safe."""

    def __init__(self, netns_fd: int | None = None) -> None:
        self._netns_fd = netns_fd
        self._lock = threading.Lock()
        self._held: dict[_Key, socket.socket | None] = {}
        self._inherited: dict[tuple[str, int], socket.socket] = {}

    def inherit(self, relayed: dict[tuple[str, int], socket.socket]) -> None:
        """Sockets at ::1 that an earlier agent had, by protocol and port: to be reserved again."""
        with self._lock:
            self._inherited = relayed

    def let_go_of_inherited(self) -> None:
        """Those that nobody has reserved again are closed."""
        with self._lock:
            for (protocol, port), sock in self._inherited.items():
                if (protocol, str(LOOPBACK6), port) in self._held:
                    sock.close()  # a copy of it is kept
                else:
                    _abandon(sock)
            self._inherited = {}

    def relayed(self, publication: Publication) -> socket.socket | None:
        """The socket of one at ::1 that is kept; it stays ours."""
        with self._lock:
            return self._held.get(_key(publication))

    def has_loopback6(self) -> bool:
        """Has this host ::1?"""

        def bind() -> bool:
            with suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                sock.bind((str(LOOPBACK6), 0))
                return True
            return False

        return sysctl.inside(self._netns_fd, bind)

    def reserve(self, publications: Collection[Publication]) -> None:
        """Keep the host ports of these: of all or of none.

        Raises:
            ConflictError: a port is taken; names the process if that is known.
            UnsupportedError: an address that this host has not.
            DeniedError: the kernel does not let us.
        """
        with self._lock:
            sysctl.inside(self._netns_fd, lambda: self._bind(publications, who=portholders.name))

    def free(
        self, publications: Sequence[Publication], ports: range | None = None
    ) -> tuple[Publication, ...]:
        """Keep one host port that is free for all of these, such as both families' of one port.

        Args:
            publications: their own host ports do not matter.
            ports: the first free one of these; None: any from the host's ephemeral range.

        Returns:
            The publications with the port.

        Raises:
            ConflictError: all are taken.
            UnsupportedError, DeniedError: as of `reserve`.
        """
        with self._lock:
            return sysctl.inside(self._netns_fd, lambda: self._bind_one_of(publications, ports))

    def release(self, publications: Collection[Publication]) -> None:
        """Let others have them; nothing happens to those that are not kept."""
        with self._lock:
            for publication in publications:
                kept = self._held.pop(_key(publication), None)
                if kept is not None:
                    _abandon(kept)

    def close(self) -> None:
        """Let others have all of them."""
        with self._lock:
            for kept in self._held.values():
                if kept is not None:
                    kept.close()
            self._held.clear()

    def _bind(self, publications: Collection[Publication], who: _Who | None = None) -> None:
        new: dict[_Key, socket.socket | None] = {}
        relayed = {(p.protocol, p.host_port) for p in publications if p.is_relayed}
        with ExitStack() as on_failure:
            for publication in sorted(publications, key=lambda p: p.is_relayed):
                key = _key(publication)
                if key in self._held or key in new:
                    raise ConflictError(
                        f"{_spelled(publication)} is published already: publish on another port, "
                        "or end the container that has it (cgagent ps)"
                    )
                is_relayed = (publication.protocol, publication.host_port) in relayed
                bound = self._kept(publication, new) or _bound(
                    publication, who, listens=is_relayed and _address(publication) in _RELAYING
                )
                if bound is not None:
                    on_failure.callback(bound.close)
                new[key] = bound
            on_failure.pop_all()
        self._held |= new

    def _kept(
        self, publication: Publication, new: dict[_Key, socket.socket | None]
    ) -> socket.socket | None:
        """A copy of the socket of all addresses, or of an earlier agent's, if it is that port's."""
        if publication.is_relayed:
            every = new.get((publication.protocol, str(EVERY6), publication.host_port))
            if every is not None:
                return every.dup()
        elif publication.host is not None or publication.container.version == IPV4:
            return None
        of_earlier = self._inherited.get((publication.protocol, publication.host_port))
        if of_earlier is not None and of_earlier.getsockname()[0] == _address(publication):
            return of_earlier.dup()
        return None

    def _bind_one_of(
        self, publications: Sequence[Publication], ports: range | None
    ) -> tuple[Publication, ...]:
        for port in _from_a_random_one(_ephemeral()) if ports is None else ports:
            chosen = tuple(replace(p, host_port=port) for p in publications)
            try:
                self._bind(chosen)
            except ConflictError:
                continue
            return chosen
        which = f"{ports[0]} to {ports[-1]}" if ports else "the host's ephemeral range"
        raise ConflictError(
            f"no port of {which} is free for {publications[0].protocol}; "
            "publish on a wider range, or end what has them"
        )


def _key(publication: Publication) -> _Key:
    return publication.protocol, _address(publication), publication.host_port


def _address(publication: Publication) -> str:
    return publication.host_text


def _spelled(publication: Publication) -> str:
    """``port 0.0.0.0:80/tcp``"""
    host = _address(publication)
    host = f"[{host}]" if ":" in host else host
    return f"port {host}:{publication.host_port}/{publication.protocol}"


def _bound(publication: Publication, who: _Who | None, *, listens: bool) -> socket.socket | None:
    """In the calling thread's namespace; None: this kernel has no such sockets, for anybody."""
    family = socket.AF_INET6 if ":" in _address(publication) else socket.AF_INET
    kind, number = _KIND[publication.protocol], NUMBER_OF[publication.protocol]
    try:
        # A copy in another process must never wait, and a blocking copy would make it.
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, number)
    except OSError as e:
        if e.errno in {errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT}:
            return None
        raise
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_DGRAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # nobody reads it
        _bind(sock, (_address(publication), publication.host_port), listens=listens)
    except OSError as e:
        sock.close()
        raise _refusal(publication, e, who) from e
    return sock


def _abandon(sock: socket.socket) -> None:
    """Close it so that a copy in the process that relays is in nobody's way until that closes it.

    One that listened does so no more, and one of UDP lets another one be bound.
    """
    with suppress(OSError):  # it did not listen
        sock.shutdown(socket.SHUT_RDWR)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.close()


def _bind(sock: socket.socket, address: tuple[str, int], *, listens: bool) -> None:
    if listens:
        # An old one of this port may be open in the other process for a moment (`_abandon`).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        if sock.type == socket.SOCK_DGRAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        else:
            # It keeps this, as its connections inherit it: they stay a minute (TIME_WAIT), and
            # without it nobody could listen here meanwhile. Two cannot have it where one listens.
            sock.listen(_BACKLOG)
        return
    try:
        sock.bind(address)
    except OSError as e:
        if e.errno != errno.EADDRINUSE or sock.type == socket.SOCK_DGRAM:
            raise
        # A server's old connections (TIME_WAIT) are no reason to refuse.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        # Two sockets that both have it may be bound to one port until one of them listens.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


def _refusal(publication: Publication, error: OSError, who: _Who | None) -> Exception:
    spelled = _spelled(publication)
    if error.errno == errno.EADDRINUSE:
        holder = who and who(publication.protocol, publication.host_port)
        by = f" by {holder}" if holder else ""
        return ConflictError(
            f"{spelled} of the host is taken{by}; publish on another port, or end what has it"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return UnsupportedError(
            f"{spelled}: this host has no address {_address(publication)}; publish on one that "
            "`ip address` shows, or on none for all"
        )
    return DeniedError(f"{spelled} cannot be reserved: {error.strerror}")


def _ephemeral() -> range:
    """From which the kernel gives ports to clients."""
    low, high = (sysctl.read("ipv4/ip_local_port_range") or "32768 60999").split()
    return range(int(low), int(high) + 1)


def _from_a_random_one(ports: range) -> list[int]:
    start = secrets.randbelow(len(ports))
    return [*ports[start:], *ports[:start]]
