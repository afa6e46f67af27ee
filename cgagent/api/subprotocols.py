"""Subprotocols of a websocket: the one header that a page can send with it, so it has the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

OURS: Final = "cgagent"
"""A page offers this subprotocol beside ``cgagent.token.TOKEN``, and the agent takes it."""
_TOKEN: Final = f"{OURS}.token."


def offered(headers: Mapping[str, str]) -> list[str]:
    return [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]


def token_of(headers: Mapping[str, str]) -> str:
    """The token of a handshake; empty: none."""
    found = (name for name in offered(headers) if name.startswith(_TOKEN))
    return next(found, "").removeprefix(_TOKEN)
