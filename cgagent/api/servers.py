"""uvicorn's server as the agent runs it: signals are handled once for all, and a door is swept."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, Self

import uvicorn

from cgagent.api.bounds import Bounded, Bounds, Door, protocol
from cgagent.api.listeners import BACKLOG

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from starlette.types import ASGIApp

    from cgagent.api.access.peers import Peer
    from cgagent.api.bounds import Refused

_GRACE_S: Final = 2
_TAKEN_AT_ONCE: Final = 16
_TURNS: Final = 3


class Server(uvicorn.Server):
    """Serves `app` within `bounds`; `base` is the protocol."""

    def __init__(
        self,
        app: ASGIApp,
        bounds: Bounds,
        base: type[Bounded] = Bounded,
        refused: Refused | None = None,
    ) -> None:
        self.door = Door(bounds, refused)
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol(self.door, base),
                ws="none",
                proxy_headers=False,
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=_TAKEN_AT_ONCE,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._ending = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Of those that wait few are taken in one turn, though many may wait."""
        await super().startup(sockets)
        for sock in sockets or []:
            sock.listen(BACKLOG)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, and only then begin to end.

        A connection that asyncio has taken and not given to a protocol yet would be reset.
        """
        loop = asyncio.get_running_loop()
        for sock in sockets or []:
            loop.remove_reader(sock)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:  # ours are handled once for all servers
        yield

    async def main_loop(self) -> None:
        """Wake up once a second, for the date in answers; uvicorn's own does ten times."""
        while not await self.on_tick(0):
            self.door.sweep()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), 1)

    def end(self) -> None:
        self.should_exit = True
        self._ending.set()

    def admit(self, sock: socket.socket, peer: Peer) -> None:
        """Serve a connection that somebody else has accepted; in the server's own loop."""
        if self.should_exit:
            sock.close()
            return
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._connect(sock, peer))
        self.server_state.tasks.add(task)
        task.add_done_callback(self.server_state.tasks.discard)

    async def _connect(self, sock: socket.socket, peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(partial(self._protocol, peer), sock)

    def _protocol(self, peer: Peer) -> asyncio.Protocol:
        made: Bounded = self.config.http_protocol_class(  # type: ignore[call-arg,assignment]
            config=self.config, server_state=self.server_state, app_state={}
        )
        made.peer = peer
        return made


class Apart:
    """A server with a thread and an event loop of its own: what it does delays no other."""

    def __init__(self, name: str, server: Server, sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._server.serve([self._sock]))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended by itself
            self._loop.call_soon_threadsafe(self._server.end)
        self._thread.join()
