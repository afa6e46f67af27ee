"""``cgagent serve``: the agent's process, from its sockets to its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import logging
import os
import resource
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import uvicorn

from cgagent.api.app import control_app, metrics_app
from cgagent.api.hijack import HijackProtocol
from cgagent.engine.engine import Engine
from cgagent.errors import ConflictError, DeniedError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

    from cgagent.config import Settings

log = logging.getLogger("cgagent")

_GRACE_S: Final = 2


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:  # ours are handled below, once for all servers
        yield


def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Containers go on.

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
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    engine = Engine(settings)
    with contextlib.ExitStack() as sockets:
        unix = sockets.enter_context(_unix_listener(settings.socket))
        listeners: list[tuple[ASGIApp, socket.socket]] = [(control_app(engine), unix)]
        if settings.metrics_listen:
            tcp = sockets.enter_context(_tcp_listener(settings.metrics_listen))
            listeners.append((metrics_app(engine), tcp))
        await engine.start()
        servers = [_server(app) for app, _ in listeners]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _end, servers)
        log.info("listening on %s", settings.socket)
        try:
            await asyncio.gather(
                *(s.serve([sock]) for s, (_, sock) in zip(servers, listeners, strict=True))
            )
        finally:
            await engine.stop()


def _server(app: ASGIApp) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http=HijackProtocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_GRACE_S,
        )
    )


def _end(servers: list[_Server]) -> None:
    for server in servers:
        server.should_exit = True


@contextmanager
def _unix_listener(path: Path) -> Iterator[socket.socket]:
    """Bound 0660, of the group ``cgagent`` where there is one; the file goes with the agent."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        _refuse_if_served(path)
        path.unlink(missing_ok=True)
        mask = os.umask(0o117)
        try:
            sock.bind(str(path))
        except OSError as e:
            raise InvalidInputError(f"socket {path} cannot be bound: {e.strerror}") from None
        finally:
            os.umask(mask)
        with contextlib.suppress(KeyError):
            os.chown(path, 0, grp.getgrnam("cgagent").gr_gid)
        sock.listen(128)
        try:
            yield sock
        finally:
            path.unlink(missing_ok=True)


def _refuse_if_served(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return
    raise ConflictError(f"another agent listens on {path}; stop it or choose another --socket")


@contextmanager
def _tcp_listener(address: str) -> Iterator[socket.socket]:
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal():
        raise InvalidInputError(f"metrics address {address!r} must be HOST:PORT")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host.strip("[]"), int(port)))
        except (OSError, OverflowError) as e:
            in_use = isinstance(e, OSError) and e.errno == errno.EADDRINUSE
            cause = "it is in use" if in_use else str(e)
            raise ConflictError(
                f"metrics address {address} cannot be bound: {cause}; "
                "choose another with --metrics-listen"
            ) from None
        sock.listen(64)
        yield sock
