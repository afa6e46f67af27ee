"""The sockets the agent listens on: made here, or handed over by systemd (see `systemd`)."""

from __future__ import annotations

import contextlib
import errno
import grp
import ipaddress
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cgagent.errors import ConflictError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cgagent.api.handover import Kept

BACKLOG: Final = 1024
"""So many connections wait to be taken. Who comes while it is full waits a second over TCP; on a
unix socket is refused if it does not wait."""


@contextmanager
def unix_listener(path: Path, kept: Kept) -> Iterator[socket.socket]:
    """Bound 0660; the file goes with the agent."""
    with kept.take(str(path)) or _bound(path) as sock:
        sock.listen(BACKLOG)
        try:
            yield sock
        finally:
            path.unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket:
    _refuse_if_served(path)
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o117)
    try:
        sock.bind(str(path))
    except OSError as e:
        sock.close()
        raise InvalidInputError(f"socket {path} cannot be bound: {e.strerror}") from None
    finally:
        os.umask(mask)
    return sock


def give_to_group(sock: socket.socket) -> None:
    """To the group ``cgagent``, where there is one: systemd's, too, is root's until now."""
    with contextlib.suppress(KeyError):
        os.chown(sock.getsockname(), 0, grp.getgrnam("cgagent").gr_gid)


def _refuse_if_served(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return
    raise ConflictError(f"another agent listens on {path}; stop it or choose another --socket")


@contextmanager
def tcp_listener(address: str, flag: str, kept: Kept) -> Iterator[socket.socket]:
    """``HOST:PORT``; `flag` is the one that has said so.

    Raises:
        InvalidInputError: it is none. ConflictError: it cannot be bound.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal():
        raise InvalidInputError(f"{flag} {address!r} must be HOST:PORT")
    place = host.strip("[]"), int(port)
    with kept.take(_numeric(*place)) or _bound_tcp(place, address, flag) as sock:
        sock.listen(BACKLOG)
        yield sock


def _numeric(host: str, port: int) -> tuple[str, int]:
    """As a bound socket has it, of a name or any spelling; what is no address stays as it is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.getaddrinfo(
            host or None, port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, OverflowError):  # binding it tells why
        return host, port
    address: tuple[str, int] = found[0][4][:2]  # type: ignore[assignment]
    return address


def _bound_tcp(place: tuple[str, int], address: str, flag: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # For the connections that it takes: a stream's pieces would wait 40 ms each for the one before.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.bind(place)
    except (OSError, OverflowError) as e:
        sock.close()
        in_use = isinstance(e, OSError) and e.errno == errno.EADDRINUSE
        cause = "it is in use" if in_use else str(e)
        raise ConflictError(
            f"address {address} cannot be bound: {cause}; choose another with {flag}"
        ) from None
    return sock


def is_loopback(sock: socket.socket) -> bool:
    """Can this host alone reach it?"""
    return ipaddress.ip_address(sock.getsockname()[0]).is_loopback
