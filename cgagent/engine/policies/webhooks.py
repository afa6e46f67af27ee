"""Telling an address of a decision: one POST, bounded in time, in a thread of its own kind."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from cgagent.concurrency import in_waiting_thread
from cgagent.errors import RemoteError, UnavailableError

if TYPE_CHECKING:
    import threading

_TIMEOUT_S: Final = 5.0
_FIRST_ERROR: Final = 300


async def post(url: str, body: dict[str, Any]) -> None:
    """Returns when the other end has taken it. A redirect is not followed.

    Raises:
        UnavailableError: nobody answers in time.
        RemoteError: the answer is no success.
    """
    status = await in_waiting_thread(lambda _stop: _post(url, body, _stop))
    if status >= _FIRST_ERROR:
        raise RemoteError(f"webhook {url}: it answered {status}; look into its log")


def _post(url: str, body: dict[str, Any], _stop: threading.Event) -> int:
    """The time is for all of it, however slowly the answer drips."""
    import http.client
    from threading import Timer
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    until_s = time.monotonic() + _TIMEOUT_S
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
        with contextlib.closing(connection):
            connection.connect()
            timer = Timer(max(until_s - time.monotonic(), 0), _cut, [connection.sock])
            timer.start()
            try:
                content = {"Content-Type": "application/json"}
                connection.request("POST", path, json.dumps(body).encode(), content)
                return connection.getresponse().status
            finally:
                timer.cancel()
    except (OSError, http.client.HTTPException, ValueError) as e:
        cause = type(e).__name__.removesuffix("Error")
        raise UnavailableError(f"webhook {url}: nobody has taken it: {cause}") from None


def _cut(connected: socket.socket) -> None:
    """Whoever reads from it, or writes, sees its end."""
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
