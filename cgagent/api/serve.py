"""``cgagent serve``: the agent's process, from its sockets to its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import uvicorn

from cgagent.api import systemd
from cgagent.api.app import control_app, metrics_app
from cgagent.api.hijack import HijackProtocol
from cgagent.api.listeners import give_to_group, tcp_listener, unix_listener
from cgagent.engine.engine import Engine
from cgagent.errors import DeniedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

    from cgagent.config import Settings

log = logging.getLogger("cgagent")

_GRACE_S: Final = 2
_MOST: Final = 64
"""Connections to the port of metrics, where anybody may ask: an answer is megabytes."""
_SWITCH_S: Final = 0.001
"""The event loop waits so long for a thread that samples or renders; Python's default is 5 ms."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:  # ours are handled below, once for all servers
        yield

    async def main_loop(self) -> None:
        """Wake up once a second, for the date in answers; uvicorn's own does ten times."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), 1)

    def end(self) -> None:
        self.should_exit = True
        self._ending.set()


def serve(settings: Settings, *, adopt_lost: bool = False) -> None:
    """Run until SIGTERM or SIGINT. Containers go on.

    `adopt_lost` rebuilds an empty or damaged database from the records beside containers.

    Raises:
        DeniedError: not root.
        ConflictError: another agent has the data root or the socket.
        CgagentError: the host or the data root cannot be used.
    """
    if os.geteuid() != 0:
        raise DeniedError("cgagent serve needs root; rootless operation is not there yet")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # 15 to 22 a container
    sys.setswitchinterval(_SWITCH_S)
    asyncio.run(_serve(settings, adopt_lost=adopt_lost))


async def _serve(settings: Settings, *, adopt_lost: bool) -> None:
    engine = Engine(settings, adopt_lost=adopt_lost)
    with contextlib.ExitStack() as sockets:
        inherited = systemd.inherited()
        unix = inherited or sockets.enter_context(unix_listener(settings.socket))
        give_to_group(unix)
        listeners = [(_server(control_app(engine)), unix)]
        if settings.metrics_listen:
            tcp = sockets.enter_context(tcp_listener(settings.metrics_listen))
            listeners.append((_server(metrics_app(engine), max_connections=_MOST), tcp))
        await engine.start()
        # What is there now stays: a full collection would look at all of it each time, for 30 ms.
        gc.collect()
        gc.freeze()
        servers = [server for server, _ in listeners]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _end, servers)
        log.info("listening on %s", settings.socket)
        systemd.notify("READY=1")
        watchdog = asyncio.create_task(systemd.keep_watchdog())
        try:
            await asyncio.gather(*(server.serve([sock]) for server, sock in listeners))
        finally:
            systemd.notify("STOPPING=1")
            watchdog.cancel()
            await engine.stop()


def _server(app: ASGIApp, max_connections: int | None = None) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http=HijackProtocol,
            ws="none",
            proxy_headers=False,
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=max_connections,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_GRACE_S,
        )
    )


def _end(servers: list[_Server]) -> None:
    for server in servers:
        server.end()
