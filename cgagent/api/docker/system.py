"""``/_ping``, ``/version``, ``/info``, ``/events``, ``/system/df``, ``/auth``."""

from __future__ import annotations

import base64
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import PlainTextResponse, Response

from cgagent.api.answers import Json
from cgagent.api.docker import schemas
from cgagent.api.docker.errors import RefusedError
from cgagent.api.docker.routing import Route
from cgagent.api.docker.shapes import disk
from cgagent.api.docker.shapes import events as event_shapes
from cgagent.api.docker.shapes import system as shapes
from cgagent.api.endless import Endless
from cgagent.engine.events import EventQuery
from cgagent.errors import DeniedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from cgagent.api.docker.calls import Call
    from cgagent.api.endless import HangUp

_KINDS: Final = {
    "container": "containers",
    "image": "images",
    "volume": "volumes",
    "build-cache": "builds",
}
_FILTERS: Final = (
    *("container", "daemon", "event", "image", "label", "network", "plugin", "scope", "type"),
    *("volume", "config", "node", "secret", "service"),
)
_PING: Final = {
    "Builder-Version": "1",
    "Swarm": "inactive",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
}
_SEQUENCE: Final = "application/json-seq"
_LINES: Final = ("application/x-ndjson", "application/jsonl")
_RECORD: Final = b"\x1e"


async def ping(call: Call) -> Response:
    return PlainTextResponse("" if call.request.method == "HEAD" else "OK", headers=_PING)


async def version(_call: Call) -> Response:
    return Json(shapes.version())


async def info(call: Call) -> Response:
    return Json(shapes.info(call.engine))


async def events(call: Call) -> Response:
    """Those since a time, if one is given, and what comes, until a time if one is given."""
    since = call.moment("since")
    query = EventQuery.parse(
        time.time_ns() if since is None else since,
        call.moment("until"),
        call.filters(*_FILTERS).pairs(),
    )
    accepted = call.header("accept") or ""
    kind = next((t for t in (_SEQUENCE, *_LINES) if t in accepted), "application/json")
    prefix = _RECORD if kind == _SEQUENCE else b""

    async def lines(hang_up: HangUp) -> AsyncGenerator[bytes]:
        events = call.engine.events.stream(query, follow=True, hang_up=hang_up)
        async with aclosing(events) as stream:
            async for event in stream:
                if event.type not in event_shapes.OURS:
                    yield prefix + event_shapes.line(event, call.version)

    return Endless(lines, kind)


async def disk_usage(call: Call) -> Response:
    wanted = {_KINDS[kind] for kind in call.texts("type") if kind in _KINDS}
    usage = await call.engine.pruning.disk_usage()
    return Json(
        disk.usage(
            call.engine,
            usage,
            call.version,
            wanted or frozenset(_KINDS.values()),
            verbose=call.flag("verbose"),
        )
    )


async def auth(call: Call) -> Response:
    """Ask the registry whether it lets them in; nothing is kept."""
    body = await call.body(schemas.AuthBody)
    host = _host(body.serveraddress)
    login = base64.urlsafe_b64encode(body.model_dump_json().encode()).decode("ascii")
    try:
        token = await call.engine.registries.login(host, login)
    except DeniedError as e:
        raise RefusedError(401, f"login attempt to {host} failed: {e.message}") from None
    found: dict[str, Any] = {"Status": "Login Succeeded"}
    return Json({**found, "IdentityToken": token})


def _host(address: str) -> str:
    """Of ``https://index.docker.io/v1/`` and the like."""
    host = address.partition("://")[2] or address
    host = host.partition("/")[0]
    return "docker.io" if host in {"", "index.docker.io", "registry-1.docker.io"} else host


ROUTES: Final = (
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", ping),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("GET", "/events", events),
    Route("GET", "/system/df", disk_usage),
    Route("POST", "/auth", auth),
)
