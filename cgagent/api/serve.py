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
from functools import partial
from typing import TYPE_CHECKING, Final

from cgagent.api import systemd
from cgagent.api.access import sockets
from cgagent.api.access.layer import AccessLayer
from cgagent.api.access.origins import Origins
from cgagent.api.app import control_app, metrics_app
from cgagent.api.bounds import Bounds
from cgagent.api.calm import OnceAWhile
from cgagent.api.doors import Doors
from cgagent.api.ending import Ending, NoCancellations
from cgagent.api.hijack import HijackProtocol
from cgagent.api.listeners import is_loopback, tcp_listener
from cgagent.api.servers import Apart, Server
from cgagent.engine import children, memory
from cgagent.engine.engine import Engine
from cgagent.errors import DeniedError
from cgagent.loopwatch import WATCH

if TYPE_CHECKING:
    from cgagent.api.access.peers import Peer
    from cgagent.api.access.remote import Remote
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
        raise DeniedError("cgagent serve needs root: rootless operation is not there yet")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(OnceAWhile())
        handler.addFilter(NoCancellations())
    for noisy in ("urllib3", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # 15 to 22 a container
    memory.keep_little()
    sys.setswitchinterval(_SWITCH_S)
    with asyncio.Runner(loop_factory=WATCH.loop) as runner:
        runner.run(_serve(settings, adopt_lost=adopt_lost))


async def _serve(settings: Settings, *, adopt_lost: bool) -> None:
    children.watch_by_pidfd()
    engine = Engine(settings, adopt_lost=adopt_lost)
    with contextlib.ExitStack() as closing:
        listening = sockets.opened(settings, closing)
        origins = Origins(settings.allowed_hosts)
        app = Ending(AccessLayer(Doors(control_app(engine), engine), engine.access, origins))
        refused = partial(_refused, engine)
        control = Server(app, _control_bounds(), HijackProtocol, refused)
        remote = None
        if listening.plain or listening.tls:
            from cgagent.api.access.remote import Remote

            remote = Remote(app, settings, listening, _remote_bounds(), refused)
        metrics = _metrics(engine, settings, origins, closing)
        await engine.start()
        # What is there now stays: a full collection would look at all of it each time, for 30 ms.
        gc.collect()
        gc.freeze()
        _take_signals(engine, control, remote)
        log.info("listening on %s", ", ".join((str(settings.socket), *settings.hosts)))
        systemd.notify("READY=1")
        chores = [asyncio.create_task(c) for c in (systemd.keep_watchdog(), memory.give_back())]
        try:
            with metrics or contextlib.nullcontext():
                serving = [remote.serve()] if remote else []
                await asyncio.gather(control.serve(listening.unix), *serving)
        finally:
            systemd.notify("STOPPING=1")
            for chore in chores:
                chore.cancel()
            await engine.stop()


def _metrics(
    engine: Engine, settings: Settings, origins: Origins, closing: contextlib.ExitStack
) -> Apart | None:
    """Its names are checked on loopback: elsewhere everybody may ask, under any name."""
    if not settings.metrics_listen:
        return None
    tcp = closing.enter_context(tcp_listener(settings.metrics_listen, "--metrics-listen"))
    app = metrics_app(engine, origins if is_loopback(tcp) else None)
    return Apart("metrics", Server(app, _metrics_bounds()), tcp)


def _take_signals(engine: Engine, control: Server, remote: Remote | None) -> None:
    """SIGTERM and SIGINT end; SIGHUP has the policy and the certificates read again."""

    def end() -> None:
        control.end()
        if remote is not None:
            remote.end()

    def reload() -> None:
        engine.access.reload()
        if remote is not None:
            remote.reload()
        log.info("the access policy and the certificates were read again")

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, reload)


def _refused(engine: Engine, peer: Peer, why: str) -> None:
    """Tell of a connection that was closed before it had a request that could be read."""
    engine.access.audit.refused("stranger", caller={"via": "stranger", **peer.logged()}, error=why)


def _descriptors() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _control_bounds() -> Bounds:
    """Half of the descriptors at most, and no user but root more than half of those."""
    most = min(4096, _descriptors() // 2)
    return Bounds(connections=most, of_one=most // 2, linger_s=60)


def _remote_bounds() -> Bounds:
    """A connection with TLS takes three descriptors."""
    most = max(16, min(1024, _descriptors() // 16))
    return Bounds(connections=most, of_one=most // 2, linger_s=60)


def _metrics_bounds() -> Bounds:
    """Few: anybody may ask there, and a scrape is short."""
    most = max(4, min(64, _descriptors() // 8))
    return Bounds(connections=most, of_one=most // 2, answer_s=10, pause_s=0.001)
