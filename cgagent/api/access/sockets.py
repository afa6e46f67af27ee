"""Which sockets the agent listens on for control: its setting ``socket``, and ``hosts`` beside it.

``tcp://HOST:PORT``, and the TCP sockets of ``fd://``, which systemd has bound, have TLS. Without it
they are taken on loopback alone, for whoever has a token. So is ``ui_listen``, for the page.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgagent.api import systemd
from cgagent.api.listeners import give_to_group, is_loopback, tcp_listener, unix_listener
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from cgagent.api.handover import Kept
    from cgagent.config import Settings

_FROM_SYSTEMD: Final = "fd://"
_PORT: Final = 2375
_TLS_PORT: Final = 2376


@dataclass(slots=True)
class Sockets:
    unix: list[socket.socket] = field(default_factory=list)
    plain: list[socket.socket] = field(default_factory=list)
    """TCP without TLS, on loopback."""
    tls: list[socket.socket] = field(default_factory=list)
    from_systemd: list[socket.socket] = field(default_factory=list)
    """The sockets, among all of these, that systemd has bound."""

    @property
    def ours(self) -> list[socket.socket]:
        every = (*self.unix, *self.plain, *self.tls)
        return [sock for sock in every if sock not in self.from_systemd]


def opened(settings: Settings, closing: contextlib.ExitStack, kept: Kept) -> Sockets:
    """All of them; `closing` closes those that are ours. Those that are `kept` are taken first.

    Raises:
        InvalidInputError: an address that is none, or TCP beyond loopback without TLS.
        ConflictError: one is taken.
    """
    inherited = systemd.inherited() or kept.from_systemd
    found = Sockets(unix=[s for s in inherited if s.family == socket.AF_UNIX])
    if not found.unix:
        found.unix.append(closing.enter_context(unix_listener(settings.socket, kept)))
    for address in settings.hosts:
        if address == _FROM_SYSTEMD:
            continue
        sock = closing.enter_context(_listener(address, settings, kept))
        found.unix.append(sock) if sock.family == socket.AF_UNIX else _add(found, sock, settings)
    if settings.ui_listen:
        sock = closing.enter_context(tcp_listener(settings.ui_listen, "--ui-listen", kept))
        if not is_loopback(sock):
            raise InvalidInputError(
                f"--ui-listen {settings.ui_listen}: the page is served on loopback alone; listen "
                "on 127.0.0.1, and reach it from elsewhere by ssh -L, or with TLS by --host tcp://"
            )
        found.plain.append(sock)
    for sock in inherited:
        if sock.family != socket.AF_UNIX and _FROM_SYSTEMD in settings.hosts:
            _add(found, sock, settings)
        elif sock.family != socket.AF_UNIX:
            sock.close()
    found.from_systemd = [sock for sock in inherited if sock.fileno() >= 0]
    for sock in found.unix:
        give_to_group(sock)
    return found


def _listener(
    address: str, settings: Settings, kept: Kept
) -> contextlib.AbstractContextManager[socket.socket]:
    scheme, _, rest = address.partition("://")
    if scheme == "unix" and rest.startswith("/"):
        return unix_listener(Path(rest), kept)
    if scheme == "tcp":
        return tcp_listener(_with_port(rest, tls=has_tls(settings)), "--host tcp://", kept)
    raise InvalidInputError(f"host {address!r} must be tcp://HOST:PORT, unix:///PATH or fd://")


def has_tls(settings: Settings) -> bool:
    return settings.tls or settings.tlsverify


def _with_port(address: str, *, tls: bool) -> str:
    """Docker's ports where there is none."""
    has_port = address.rpartition(":")[2].isdecimal() and not address.endswith("]")
    return address if has_port else f"{address}:{_TLS_PORT if tls else _PORT}"


def _add(found: Sockets, sock: socket.socket, settings: Settings) -> None:
    if has_tls(settings):
        found.tls.append(sock)
    elif is_loopback(sock):
        found.plain.append(sock)
    else:
        raise InvalidInputError(
            f"tcp://{sock.getsockname()[0]} without TLS would send tokens in the clear: give "
            "--tlsverify (or --tls) with --tlscert and --tlskey, or listen on 127.0.0.1"
        )
