"""Connections that become websockets: what a supervisor writes goes out in messages, and back.

The supervisor is given one end of a socket pair, as if that were the client. What is a frame, and
how a connection ends, is the business of the library `websockets`, which does no input or output.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from cgagent.api.hijack import TakenOver
from cgagent.api.subprotocols import OURS, offered
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgagent.api.hijack import Take

_READ_BYTES: Final = 64 * 1024
_GOODBYE_S: Final = 2.0
_VERSION: Final = "13"
_DATA: Final = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
_running: set[asyncio.Task[None]] = set()


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What a client has asked for in its handshake."""

    key: str
    is_binary: bool
    """Messages are bytes: otherwise text, as clients before version 1.28 expect it."""
    protocol: str = ""
    """One of those that the client offers; empty: none."""

    @classmethod
    def asked(cls, headers: Mapping[str, str], *, is_binary: bool) -> Upgrade:
        """Raises InvalidInputError: it is no handshake."""
        key, version = headers.get("sec-websocket-key"), headers.get("sec-websocket-version")
        if headers.get("upgrade", "").lower() != "websocket" or not key or version != _VERSION:
            raise InvalidInputError(
                "this takes a websocket: send 'Upgrade: websocket', 'Sec-WebSocket-Version: 13' "
                "and a 'Sec-WebSocket-Key'"
            )
        return cls(key, is_binary, OURS if OURS in offered(headers) else "")

    def taking(self, take: Take) -> Take:
        """The same as `take`, but the connection is a websocket from then on."""

        async def taken(**_: Any) -> TakenOver:
            head = (
                "HTTP/1.1 101 Switching Protocols",
                "Upgrade: websocket",
                "Connection: Upgrade",
                f"Sec-WebSocket-Accept: {accept_key(self.key)}",
                *([f"Sec-WebSocket-Protocol: {self.protocol}"] if self.protocol else []),
            )
            found = await take(head=head)
            theirs = socket.socket(fileno=found.fd)
            ours, supervisors = socket.socketpair()
            for sock in (theirs, ours):
                sock.setblocking(False)
            pump = _Pump(theirs, ours, is_binary=self.is_binary)
            task = asyncio.get_running_loop().create_task(pump.run(found.tail))
            _running.add(task)
            task.add_done_callback(_running.discard)
            return TakenOver(supervisors.detach(), b"")

        return taken


class _Pump:
    """Between a client's websocket and a plain stream, until one of the two has ended."""

    def __init__(self, client: socket.socket, stream: socket.socket, *, is_binary: bool) -> None:
        self._client = client
        self._stream = stream
        self._is_binary = is_binary
        self._protocol = ServerProtocol(state=OPEN)
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()

    async def run(self, first: bytes) -> None:
        with self._client, self._stream:
            up = self._loop.create_task(self._up(first))
            down = self._loop.create_task(self._down())
            try:
                done, _ = await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
                if down in done:  # all is said; the client may still say goodbye
                    await asyncio.wait({up}, timeout=_GOODBYE_S)
            finally:
                for task in (up, down):
                    task.cancel()
                await asyncio.gather(up, down, return_exceptions=True)

    async def _up(self, data: bytes) -> None:
        """From the client, until it ends the websocket or hangs up."""
        with contextlib.suppress(OSError):
            while True:
                self._protocol.receive_data(data)
                for event in self._protocol.events_received():
                    if isinstance(event, Frame) and event.opcode in _DATA:
                        await self._loop.sock_sendall(self._stream, event.data)
                await self._flush()
                if self._protocol.close_expected():
                    return
                data = await self._loop.sock_recv(self._client, _READ_BYTES)
                if not data:
                    return

    async def _down(self) -> None:
        """From the container, until its end, which the client is told."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may cut a letter
        with contextlib.suppress(OSError):
            while data := await self._loop.sock_recv(self._stream, _READ_BYTES):
                if self._is_binary:
                    self._protocol.send_binary(data)
                elif text := decoder.decode(data):
                    self._protocol.send_text(text.encode())
                await self._flush()
            if rest := decoder.decode(b"", final=True):
                self._protocol.send_text(rest.encode())
            self._protocol.send_close(1000)
            await self._flush()

    async def _flush(self) -> None:
        async with self._sending:  # whole frames, whoever made them
            for data in self._protocol.data_to_send():
                if data:
                    await self._loop.sock_sendall(self._client, data)
                else:
                    with contextlib.suppress(OSError):
                        self._client.shutdown(socket.SHUT_WR)
