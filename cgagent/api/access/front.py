"""TLS listeners, in a thread of their own: a flood of handshakes delays no request.

Who has made a handshake is handed on as one end of a socket pair, which the server takes for any
other connection. Who has not is told of and hung up on.
"""

from __future__ import annotations

import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING, Final

from cgagent.api.access import peers
from cgagent.errors import InvalidInputError
from cgagent.tlspipe import Pipe, Pump

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.api.access.peers import Peer
    from cgagent.config import Settings

    Admit = Callable[[socket.socket, Peer], None]
    Refused = Callable[[str, str], None]
    """Told an address, and why."""

_HANDSHAKES: Final = 256
"""At most so many are under way: each takes 50 KB of OpenSSL's."""
_BACKLOG_TURN: Final = 64
"""So many are accepted in one go."""


def server_context(settings: Settings) -> ssl.SSLContext:
    """From the files of the settings, as they are now.

    Raises:
        InvalidInputError: one cannot be used.
    """
    for name in ("tlscert", "tlskey", *(("tlscacert",) if settings.tlsverify else ())):
        if not getattr(settings, name):
            raise InvalidInputError(f"TLS needs --{name}: a file in PEM")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET  # a session that goes on would not be verified again
    context.num_tickets = 0
    try:
        context.load_cert_chain(settings.tlscert, settings.tlskey, password=_no_password)
        if settings.tlscacert:
            context.load_verify_locations(settings.tlscacert)
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        files = ", ".join(filter(None, (settings.tlscert, settings.tlskey, settings.tlscacert)))
        raise InvalidInputError(f"TLS: {files} cannot be used: {reason}") from None
    if settings.tlscacert:
        context.verify_mode = ssl.CERT_REQUIRED if settings.tlsverify else ssl.CERT_OPTIONAL
    return context


def _no_password() -> str:
    raise ValueError("the key has a pass phrase, which nobody is there to type")


class Front(Pump):
    """Accepts on `listeners`; `admit` and `refused` are called in its thread.

    `most` connections in all, half of them for one address. Who waits longest for its handshake
    makes room.
    """

    def __init__(
        self,
        listeners: list[socket.socket],
        context: ssl.SSLContext,
        admit: Admit,
        refused: Refused,
        *,
        most: int,
    ) -> None:
        super().__init__("tls")
        self.context = context
        """It may be replaced; new connections are made with it."""
        self._listeners = listeners
        self._admit = admit
        self._refused = refused
        self._most = most
        self._of: dict[str, int] = {}
        self._count = 0
        self._waiting: dict[Pipe, None] = {}  # for their handshakes, in the order of their arrival
        for listener in listeners:
            listener.setblocking(False)
            self.watch(listener, partial(self._accept, listener))

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_BACKLOG_TURN):
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue
            except OSError:  # no descriptors are left
                self.unwatch(listener)
                return
            self._begin(Pipe(sock, self.context, self._ready, self._ended))

    def _begin(self, pipe: Pipe) -> None:
        has_room = self._has_room(pipe.address)
        self._of[pipe.address] = self._of.get(pipe.address, 0) + 1
        self._count += 1
        if has_room:
            self._waiting[pipe] = None
            self.add(pipe)
        else:
            pipe.close("too many connections")

    def _has_room(self, address: str) -> bool:
        """Perhaps after one that has made no handshake so far was hung up on."""
        of_one = self._of.get(address, 0) >= self._most // 2
        if not of_one and self._count < self._most and len(self._waiting) < _HANDSHAKES:
            return True
        oldest = (pipe for pipe in self._waiting if not of_one or pipe.address == address)
        pipe = next(oldest, None)
        if pipe is not None:
            self.drop(pipe, "others came after it")
        return pipe is not None

    def _ready(self, pipe: Pipe) -> socket.socket | None:
        self._waiting.pop(pipe, None)
        ours, theirs = socket.socketpair()
        self._admit(theirs, peers.of_pipe(pipe))
        return ours

    def _ended(self, pipe: Pipe, why: str) -> None:
        self._waiting.pop(pipe, None)
        self._count -= 1
        self._of[pipe.address] -= 1
        if not self._of[pipe.address]:
            del self._of[pipe.address]
        if why and not pipe.is_shaken:
            self._refused(pipe.address, why)

    def sweep(self, now: float) -> None:
        super().sweep(now)
        for listener in self._listeners:
            if not self.watches(listener):
                self.watch(listener, partial(self._accept, listener))
