"""``Idempotency-Key``: a request that makes something, and may come twice."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import Request

    from cgagent.engine.engine import Engine

HEADER: Final = "idempotency-key"


async def once(
    engine: Engine,
    request: Request,
    kind: str,
    make: Callable[[], Awaitable[dict[str, Any]]],
    describe: Callable[[str], dict[str, Any]],
) -> dict[str, Any]:
    """What `make` answers; with a key, what it has answered the first time.

    Raises: as `RequestKeys.once`.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return await make()
    target = f"{request.method} {request.scope['path']}?{request.url.query}\n"
    fingerprint = hashlib.sha256(target.encode() + await request.body()).digest()
    return await engine.request_keys.once(key, fingerprint, kind, make, describe)


def refuse_key(request: Request) -> None:
    """Raises InvalidInputError: the request has a key, and takes its connection over."""
    if HEADER in request.headers:
        raise InvalidInputError(
            "a connection cannot be given twice; leave Idempotency-Key or Upgrade out"
        )
