"""Output in docker's frames: logs, and connections that are taken over for attach and exec.

A frame is one byte for the stream, three zero bytes, four bytes of length, and the payload; what
comes from a terminal has none.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import StreamingResponse

from cgagent.api.docker import versions
from cgagent.api.endless import Endless
from cgagent.concurrency import in_thread
from cgagent.engine.sessions.streams import Attachment
from cgagent.engine.values import LogQuery
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncGenerator, AsyncIterator

    from starlette.responses import Response

    from cgagent.api.docker.calls import Call
    from cgagent.api.hijack import TakenOver
    from cgagent.engine.containers.container import Container

_FEW: Final = 32
"""Entries that are put into frames in the event loop."""
_NUMBERS: Final = {"stdout": 1, "stderr": 2}
_FRAMED: Final = "application/vnd.docker.multiplexed-stream"
_RAW: Final = "application/vnd.docker.raw-stream"


def is_told_raw(call: Call, *, tty: bool) -> bool:
    """Whether the answer's type says that there are no frames: always, for old clients."""
    return tty or not versions.tells_frames(call.version)


def attachment(taken: TakenOver, *, tty: bool, **wanted: Any) -> Attachment:
    """A client that gets output without a status at its end."""
    return Attachment(fd=taken.fd, tail=taken.tail, raw=tty, status=False, **wanted)


def log_query(call: Call, *, follow: bool) -> LogQuery:
    """Raises InvalidInputError: no stream is asked for, or a time is none."""
    streams = frozenset(name for name in _NUMBERS if call.flag(name))
    if not streams:
        raise InvalidInputError("Bad parameters: you must choose at least one stream")
    tail = call.text("tail", "all")
    return LogQuery(
        streams=streams,
        tail=int(tail) if tail.isdecimal() else None,
        follow=follow,
        since_ns=call.moment("since") or 0,
        until_ns=call.moment("until"),
    )


async def output(container: Container, call: Call, query: LogQuery) -> AsyncGenerator[bytes]:
    """The log as it was written, in frames unless the container has a terminal."""
    framed = not container.record.config.tty
    async with aclosing(call.engine.logs.read(container, query)) as batches:
        async for piece in pieces(call, batches, framed=framed):
            yield piece


async def pieces(
    call: Call, batches: AsyncIterator[list[bytes]], *, framed: bool
) -> AsyncIterator[bytes]:
    timestamps = call.flag("timestamps")

    def shown(entries: list[bytes], _stop: threading.Event | None = None) -> bytes:
        return b"".join(_piece(entry, framed=framed, timestamps=timestamps) for entry in entries)

    async for entries in batches:
        few = len(entries) <= _FEW
        yield shown(entries) if few else await in_thread(partial(shown, entries))


def _piece(line: bytes, *, framed: bool, timestamps: bool) -> bytes:
    entry = json.loads(line)
    text = f"{entry['time']} {entry['log']}" if timestamps else entry["log"]
    payload = text.encode("utf-8", "replace")
    if not framed:
        return payload
    number = _NUMBERS.get(entry["stream"], 1)
    return bytes((number, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


async def logs(call: Call, container: Container) -> Response:
    query = log_query(call, follow=call.flag("follow"))
    container.record.resolved.log.require_readable()
    raw = is_told_raw(call, tty=container.record.config.tty)
    kind = _RAW if raw else _FRAMED
    told = output(container, call, query)
    if query.follow:
        return Endless(lambda _: told, kind)
    return StreamingResponse(told, media_type=kind)


async def send(fd: int, pieces: AsyncIterator[bytes]) -> None:
    """Send to a connection that was taken over. Raises OSError: the client has gone."""
    loop = asyncio.get_running_loop()
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.setblocking(False)
        async for piece in pieces:
            await loop.sock_sendall(sock, piece)
