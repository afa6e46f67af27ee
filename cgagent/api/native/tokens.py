"""``/v1/tokens``: what callers over TCP show instead of a certificate, made over the socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from cgagent.api.bodies import CheckedRouter
from cgagent.api.native.pages import Paged
from cgagent.api.native.schemas import Strict

if TYPE_CHECKING:
    from cgagent.engine.engine import Engine

_LONGEST_S = 10 * 365 * 86400


class TokenBody(Strict):
    name: str
    scope: str = "read"
    lifetime_s: Annotated[float, Field(gt=0, le=_LONGEST_S)] | None = None


def routes(engine: Engine) -> APIRouter:
    router = CheckedRouter("/v1/tokens", tag="tokens")

    @router.get("")
    async def list_tokens(page: Paged) -> list[dict[str, Any]]:
        """List their names and scopes; a token itself is told once, by whoever made it."""
        return [
            {
                "name": row.name,
                "scope": row.scope,
                "created_ns": row.created_ns,
                "expires_ns": row.expires_ns,
            }
            for row in page.of(engine.access.tokens.all(), lambda row: row.name)
        ]

    @router.post("", status_code=201)
    async def create_token(body: TokenBody) -> dict[str, str]:
        """`scope` is metrics, read or control; without `lifetime_s` it does not expire."""
        async with engine.jobs.run("token create", token=body.name):
            token = engine.access.tokens.create(body.name, body.scope, body.lifetime_s)
        return {"name": body.name, "token": token}

    @router.delete("/{name}", status_code=204)
    async def revoke_token(name: str) -> Response:
        async with engine.jobs.run("token revoke", token=name):
            engine.access.tokens.revoke(name)
        return Response(status_code=204)

    return router
