"""The listeners over TCP: a server of their own, so that strangers take no room of the socket's."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from cgagent.api.access.peers import Peer
from cgagent.api.hijack import HijackProtocol
from cgagent.api.servers import Server
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from cgagent.api.access.front import Front
    from cgagent.api.access.sockets import Sockets
    from cgagent.api.bounds import Bounds, Refused
    from cgagent.config import Settings

log = logging.getLogger(__name__)


class Remote:
    """`sockets` has a TCP one at least. Its TLS is a thread; all else is in the caller's loop."""

    def __init__(
        self, app: ASGIApp, settings: Settings, sockets: Sockets, bounds: Bounds, refused: Refused
    ) -> None:
        """Raises InvalidInputError: TLS cannot be had with these settings."""
        self._settings = settings
        self._sockets = sockets
        self._refused = refused
        self._server = Server(app, bounds, HijackProtocol, refused)
        self._loop = asyncio.get_running_loop()
        self._front = self._made_front(bounds) if sockets.tls else None

    def _made_front(self, bounds: Bounds) -> Front:
        from cgagent.api.access.front import Front, server_context  # ssl: 15 ms

        return Front(
            self._sockets.tls,
            server_context(self._settings),
            lambda sock, peer: self._call(partial(self._server.admit, sock, peer)),
            lambda address, why: self._call(partial(self._refused, Peer(address=address), why)),
            most=2 * bounds.connections,  # the server's door makes room among those that idle
        )

    def _call(self, what: partial[None]) -> None:
        self._loop.call_soon_threadsafe(what)

    async def serve(self) -> None:
        """Accept and answer connections until `end` is called."""
        if self._front is not None:
            self._front.start()
        try:
            await self._server.serve(self._sockets.plain)
        finally:
            if self._front is not None:
                await asyncio.to_thread(self._front.end)

    def end(self) -> None:
        self._server.end()

    def reload(self) -> None:
        """Take certificates as they are now; what cannot be used leaves the last ones in force."""
        if self._front is None:
            return
        from cgagent.api.access.front import server_context

        try:
            self._front.context = server_context(self._settings)
        except InvalidInputError as e:
            log.error("the certificates of before stay in force: %s", e.message)  # noqa: TRY400
