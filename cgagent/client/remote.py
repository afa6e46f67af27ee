"""Agents that are not on a socket of this host: over TCP, with TLS, and through ssh.

Each connection is an ordinary descriptor, whatever is behind it: with TLS one end of a socket pair
that a thread moves bytes for, and with ssh the other end of its standard input and output.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import threading
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cgagent.client.connection import Socket
from cgagent.client.place import host_and_port
from cgagent.errors import DeniedError, InvalidInputError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.client.connection import Dialled
    from cgagent.client.place import Place
    from cgagent.tlspipe import Pipe, Pump

_PATIENCE_S: Final = 30.0
_LAST_WORDS_S: Final = 2.0

_children: Final[list[subprocess.Popen[bytes]]] = []
"""Each ssh ends with its connection."""


def dialler(place: Place) -> Callable[[], Dialled]:
    """What makes one more connection. Raises InvalidInputError: nothing could."""
    if place.address.startswith("ssh://"):
        return partial(_through_ssh, _ssh_command(place.address), place.address)
    if not place.tls:
        return partial(_over_tcp, place)
    return _Tls(place).dial


# -- TCP ----------------------------------------------------------------------------------------


def _over_tcp(place: Place) -> Dialled:
    return Socket(fileno=_connected(place).detach()), lambda: ""


def _connected(place: Place) -> socket.socket:
    address = host_and_port(place)
    try:
        sock = socket.create_connection(address, timeout=_PATIENCE_S)
    except socket.gaierror as e:
        raise InvalidInputError(f"{place.address}: host {address[0]}: {e.strerror}") from None
    except OSError as e:
        cause = (e.strerror or "no answer in time").lower()
        raise UnavailableError(
            f"no agent answers on tcp://{place.address[6:]}: {cause}; is it started with cgagent "
            f"serve --host {place.address}?"
        ) from None
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


# -- TLS ----------------------------------------------------------------------------------------


class _Tls:
    def __init__(self, place: Place) -> None:
        import ssl  # 15 ms

        from cgagent.tlspipe import Pump

        self._place = place
        try:
            self._context = ssl.create_default_context(cafile=place.ca or None)
            if place.cert or place.key:
                self._context.load_cert_chain(place.cert, place.key or None)
        except OSError as e:
            files = ", ".join(filter(None, (place.ca, place.cert, place.key)))
            raise InvalidInputError(
                f"{place.address}: {files} cannot be used: {e.strerror or e}"
            ) from None
        if not place.verify:
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        self._pump: Pump = Pump("tls", _PATIENCE_S)
        self._pump.start()

    def dial(self) -> Dialled:
        from cgagent.tlspipe import Pipe

        one = _Dialling()
        host = host_and_port(self._place)[0]
        tcp = _connected(self._place)
        self._pump.add(Pipe.for_server(tcp, self._context, host, one.ready, one.ended))
        one.decided.wait(_PATIENCE_S)
        if one.ours is None:
            raise UnavailableError(
                f"agent {self._place.address}: no TLS with it: {one.cause or 'no answer in time'}; "
                "check --tlscacert, and that it listens with TLS"
            )
        return Socket(fileno=one.ours.detach()), partial(one.last_words, self._place.address)


class _Dialling:
    """One connection, as the pump's thread tells of it."""

    def __init__(self) -> None:
        self.decided, self._over = threading.Event(), threading.Event()
        self.ours: socket.socket | None = None
        self.cause = ""

    def ready(self, _pipe: Pipe) -> socket.socket:
        self.ours, theirs = socket.socketpair()
        self.decided.set()
        return theirs

    def ended(self, _pipe: Pipe, why: str) -> None:
        self.cause = why
        self._over.set()
        self.decided.set()

    def last_words(self, address: str) -> str:
        """Since TLS 1.3 a client hears only after the handshake that it is not taken."""
        self._over.wait(_LAST_WORDS_S)
        if not self.cause:
            return ""
        return (
            f"agent {address} has hung up: {self.cause}; show a certificate that it takes "
            "(--tlscert, --tlskey), or a token (--token-file)"
        )


# -- ssh ----------------------------------------------------------------------------------------


def _ssh_command(address: str) -> list[str]:
    """``ssh://[USER@]HOST[:PORT][/PATH]``, the path of a socket there. Raises InvalidInputError."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as e:
        raise InvalidInputError(f"host {address!r}: {e}") from None
    if not parts.hostname or parts.password is not None or parts.query or parts.fragment:
        raise InvalidInputError(f"host {address!r} must be ssh://[USER@]HOST[:PORT][/PATH]")
    path = parts.path if parts.path != "/" else ""
    there = ["cgagent", *(["--host", f"unix://{path}"] if path else []), "system", "dial-stdio"]
    return [
        *("ssh", "-T", "-o", "ConnectTimeout=30"),
        *(["-l", parts.username] if parts.username else []),
        *(["-p", str(port)] if port else []),
        *("--", parts.hostname, shlex.join(there)),
    ]


def _through_ssh(command: list[str], address: str) -> Dialled:
    ours, theirs = socket.socketpair()
    try:
        child = subprocess.Popen(
            command,
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            start_new_session=True,  # a ^C is for the container
        )
    except FileNotFoundError:
        ours.close()
        raise DeniedError(f"{address}: there is no ssh here; install its client") from None
    finally:
        theirs.close()
    _children.append(child)
    return Socket(fileno=ours.detach()), partial(_last_words, child, address)


def _last_words(child: subprocess.Popen[bytes], address: str) -> str:
    try:
        status = child.wait(_LAST_WORDS_S)
    except subprocess.TimeoutExpired:
        return ""
    if not status:
        return ""
    return (
        f"{address}: ssh ended with {status}; what it has said is above. It must log in without "
        "a question, and cgagent must be on the PATH there"
    )
