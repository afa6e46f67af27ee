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
from cgagent.api.access.peers import Peer
from cgagent.api.app import control_app, metrics_app
from cgagent.api.bounds import Bounds
from cgagent.api.calm import OnceAWhile
from cgagent.api.doors import Doors
from cgagent.api.ending import Ending, NoCancellations
from cgagent.api.handover import Kept, Restart, wait_with_signals
from cgagent.api.hijack import HijackProtocol
from cgagent.api.listeners import is_loopback, tcp_listener
from cgagent.api.servers import Apart, Server
from cgagent.api.turns import InTurn
from cgagent.engine import children, memory
from cgagent.engine.engine import Engine
from cgagent.errors import DeniedError
from cgagent.loopwatch import WATCH

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from starlette.requests import Request

    from cgagent.api.access.remote import Remote
    from cgagent.config import Settings

log = logging.getLogger("cgagent")

_SWITCH_S: Final = 0.001
"""The event loop waits so long for a thread that samples or renders; Python's default is 5 ms."""


def serve(settings: Settings, *, adopt_lost: bool = False) -> None:
    """Run until SIGTERM or SIGINT, or start anew at SIGUSR2. Containers go on.

    `adopt_lost` rebuilds an empty or damaged database from the records beside containers.

    Raises:
        DeniedError: not root.
        ConflictError: another agent has the data root or the socket.
        CgagentError: the host or the data root cannot be used.
    """
    if os.geteuid() != 0:
        raise DeniedError("cgagent serve needs root: rootless operation is not there yet")
    wait_with_signals()
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
    restart = Restart()
    with asyncio.Runner(loop_factory=WATCH.loop) as runner:
        runner.run(_serve(settings, restart, adopt_lost=adopt_lost))
    if restart.is_asked_for:
        restart.go()


async def _serve(settings: Settings, restart: Restart, *, adopt_lost: bool) -> None:
    children.watch_by_pidfd()
    engine = Engine(settings, adopt_lost=adopt_lost)
    with contextlib.ExitStack() as closing:
        with Kept() as kept:
            if kept.is_restart:
                children.reap_those_of_before()
            listening = sockets.opened(settings, closing, kept)
            metrics_sock = _metrics_listener(settings, closing, kept)
        origins = Origins(settings.allowed_hosts)
        routes = Doors(control_app(engine), engine)
        app = Ending(InTurn(AccessLayer(routes, engine.access, origins)))
        refused = partial(_refused, engine)
        control = Server(app, _control_bounds(), HijackProtocol, refused)
        remote = None
        if listening.plain or listening.tls:
            from cgagent.api.access.remote import Remote

            remote = Remote(app, settings, listening, _remote_bounds(), refused)
        metrics = None if metrics_sock is None else _metrics(engine, origins, metrics_sock)
        await engine.start()
        # What is there now stays: a full collection would look at all of it each time, for 30 ms.
        gc.collect()
        gc.freeze()
        ours = (*listening.ours, *([metrics_sock] if metrics_sock else []))
        keep = partial(restart.ask, ours, listening.from_systemd)
        _take_signals(engine, control, remote, keep, restart.forget)
        log.info("listening on %s", ", ".join((str(settings.socket), *settings.hosts)))
        systemd.notify("READY=1")
        chores = [asyncio.create_task(c) for c in (systemd.keep_watchdog(), memory.give_back())]
        try:
            with metrics or contextlib.nullcontext():
                serving = [remote.serve()] if remote else []
                await asyncio.gather(control.serve(listening.unix), *serving)
        finally:
            if restart.is_asked_for:
                restart.held = closing.pop_all()  # what is listened on stays as it is
            else:
                systemd.notify("STOPPING=1")
            for chore in chores:
                chore.cancel()
            await engine.stop()


def _metrics_listener(
    settings: Settings, closing: contextlib.ExitStack, kept: Kept
) -> socket.socket | None:
    if not settings.metrics_listen:
        return None
    listener = tcp_listener(settings.metrics_listen, "--metrics-listen", kept)
    return closing.enter_context(listener)


def _metrics(engine: Engine, origins: Origins, sock: socket.socket) -> Apart:
    """Its names are checked on loopback: elsewhere everybody may ask, under any name."""
    loop = asyncio.get_running_loop()

    def refused(request: Request, why: str) -> None:
        """Called in the thread of that server; the log of changes is this one's."""
        host = request.client.host if request.client else ""
        entry = {
            "caller": {"via": "stranger", **Peer(address=host).logged()},
            "method": request.method,
            "path": request.url.path[:300],
            "status": 403,
            "error": why,
        }
        tell = partial(engine.access.audit.refused, "stranger", **entry)
        loop.call_soon_threadsafe(tell)

    app = metrics_app(engine, origins if is_loopback(sock) else None, refused)
    return Apart("metrics", Server(app, _metrics_bounds()), sock)


def _take_signals(
    engine: Engine,
    control: Server,
    remote: Remote | None,
    keep: Callable[[], None],
    forget: Callable[[], None],
) -> None:
    """SIGTERM and SIGINT end; SIGHUP has files read again: access, rulesets, certificates.

    SIGUSR2 ends as well, and `keep` is called first: the agent is to start anew. Whoever wants its
    end, before or after that, gets it: `forget` is called.
    """

    def finish() -> None:
        control.end()
        if remote is not None:
            remote.end()

    def end() -> None:
        forget()
        finish()

    def reload() -> None:
        engine.reload()
        if remote is not None:
            remote.reload()
        log.info("the access policy and the certificates were read again")

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, reload)

    def start_anew() -> None:
        if not control.should_exit:
            log.info("starting anew")
            keep()
            finish()

    loop.add_signal_handler(signal.SIGUSR2, start_anew)


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
