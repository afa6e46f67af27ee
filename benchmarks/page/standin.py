"""The page with containers that are made up: as many as wanted, changing as often as wanted."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

import uvicorn

from cgagent.api.web import page
from cgagent.metrics import COLUMNS

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_CHANGED: Final = 4
"""One row in so many has other figures in each round."""


class StandIn:
    """Answers as an agent does, as far as the table of containers asks; for a ``with``."""

    def __init__(self, rows: int, interval_s: float) -> None:
        self._rows = rows
        self._interval_s = interval_s
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the agent's
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.rounds = 0
        self.is_paused = False
        """While this is set, the stand-in sends no rounds of updates."""
        config = uvicorn.Config(
            self._serve, log_level="critical", lifespan="off", interface="asgi3"
        )
        self._server = uvicorn.Server(config)
        sockets = [self._socket]
        self._thread = threading.Thread(target=lambda: self._server.run(sockets), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.force_exit = self._server.should_exit = True
        self._thread.join()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if page.is_page(path):
            await page.serve(scope, receive, send)
        elif path == "/v1/fleet":
            await self._fleet(receive, send)
        elif path == "/v1/caller":
            await _answer(send, {"via": "user", "name": "0", "scope": "control"})
        elif path.endswith("/stats"):
            await _answer(send, {"columns": ["at_s", *COLUMNS], "rows": [], "devices": []})
        else:
            await _answer(send, {})

    async def _fleet(self, receive: Receive, send: Send) -> None:
        await _begin(send, "application/x-ndjson")
        left = asyncio.create_task(_until_left(receive))
        is_first = True
        while not left.done():
            if self.is_paused:
                await asyncio.wait([left], timeout=self._interval_s)
                continue
            self.rounds += 1
            body = json.dumps(self._picture(is_first)).encode() + b"\n"
            is_first = False
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await asyncio.wait([left], timeout=self._interval_s)

    def _picture(self, is_first: bool) -> dict[str, Any]:
        numbers = range(self._rows)
        told = [n for n in numbers if is_first or n % _CHANGED == self.rounds % _CHANGED]
        figures = {_id(n): _figures(n, self.rounds) for n in told}
        facts = {_id(n): _facts(n) for n in numbers} if is_first else {}
        return {
            "whole": is_first,
            "at_s": time.time(),
            "columns": list(COLUMNS),
            "facts": facts,
            "figures": figures,
            "gone": [],
            "host": {
                "at_s": time.time(),
                "cpus": 16,
                "busy_s": time.time() / 3,
                "memory_total_bytes": 64 << 30,
                "memory_available_bytes": 20 << 30,
            },
        }


def _id(number: int) -> str:
    return f"{number * 2654435761 % 2**64:064x}"


def _facts(number: int) -> dict[str, Any]:
    now_ns = time.time_ns()
    return {
        "kind": "container",
        "name": f"service-{number % 40}-{number}",
        "image": f"registry.example/team/service-{number % 40}:1.{number % 7}",
        "cgroup": f"/cgagent/{_id(number)}",
        "status": "frozen" if number % 50 == 0 else "running",
        "health": "healthy" if number % 3 == 0 else None,
        "created_ns": now_ns,
        "started_ns": now_ns - number * 10**10,
        "held": {"memory_max_bytes": 256 << 20, "cpus": 0.5} if number % 2 else {},
        "overrides": {"night": "for the picture"} if number % 20 == 0 else {},
    }


def _figures(number: int, at_round: int) -> list[float | None]:
    swing = (1 + math.sin(number + at_round / 5)) / 2
    known = {
        "cpu_cores": 0.5 * swing,
        "memory_bytes": swing * (200 << 20),
        "working_set_bytes": swing * (180 << 20),
        "pids": 3.0 + number % 5,
    }
    return [round(known.get(name, swing / 100), 4) for name in COLUMNS]


async def _begin(send: Send, media_type: str) -> None:
    headers = [(b"content-type", media_type.encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _answer(send: Send, value: Any) -> None:
    await _begin(send, "application/json")
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
