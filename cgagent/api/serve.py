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
from typing import TYPE_CHECKING, Final

from cgagent.api import systemd
from cgagent.api.app import control_app, metrics_app
from cgagent.api.bounds import Bounds
from cgagent.api.calm import OnceAWhile
from cgagent.api.hijack import HijackProtocol
from cgagent.api.listeners import give_to_group, tcp_listener, unix_listener
from cgagent.api.servers import Apart, Server
from cgagent.engine import memory
from cgagent.engine.engine import Engine
from cgagent.errors import DeniedError
from cgagent.loopwatch import WATCH

if TYPE_CHECKING:
    from cgagent.config import Settings

log = logging.getLogger("cgagent")

_SWITCH_S: Final = 0.001
"""The event loop waits so long for a thread that samples or renders; Python's default is 5 ms."""


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
    for handler in logging.getLogger().handlers:
        handler.addFilter(OnceAWhile())
    for noisy in ("httpx", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # 15 to 22 a container
    memory.keep_little()
    sys.setswitchinterval(_SWITCH_S)
    with asyncio.Runner(loop_factory=WATCH.loop) as runner:
        runner.run(_serve(settings, adopt_lost=adopt_lost))


async def _serve(settings: Settings, *, adopt_lost: bool) -> None:
    engine = Engine(settings, adopt_lost=adopt_lost)
    with contextlib.ExitStack() as sockets:
        inherited = systemd.inherited()
        unix = inherited or sockets.enter_context(unix_listener(settings.socket))
        give_to_group(unix)
        control = Server(control_app(engine), _control_bounds(), HijackProtocol)
        metrics = None
        if settings.metrics_listen:
            tcp = sockets.enter_context(tcp_listener(settings.metrics_listen))
            metrics = Apart("metrics", Server(metrics_app(engine), _metrics_bounds()), tcp)
        await engine.start()
        # What is there now stays: a full collection would look at all of it each time, for 30 ms.
        gc.collect()
        gc.freeze()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, control.end)
        log.info("listening on %s", settings.socket)
        systemd.notify("READY=1")
        chores = [asyncio.create_task(c) for c in (systemd.keep_watchdog(), memory.give_back())]
        try:
            with metrics or contextlib.nullcontext():
                await control.serve([unix])
        finally:
            systemd.notify("STOPPING=1")
            for chore in chores:
                chore.cancel()
            await engine.stop()


def _descriptors() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _control_bounds() -> Bounds:
    """Half of the descriptors at most, and no user but root more than half of those."""
    most = min(4096, _descriptors() // 2)
    return Bounds(connections=most, of_one=most // 2, linger_s=60)


def _metrics_bounds() -> Bounds:
    """Few: anybody may ask there, and a scrape is short."""
    most = max(4, min(64, _descriptors() // 8))
    return Bounds(connections=most, of_one=most // 2, answer_s=10, pause_s=0.001)
