"""Bearer tokens: made here, told once, kept as SHA-256 of their 256 random bits."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sqlite3
import time
from typing import TYPE_CHECKING, Final

from cgagent.engine.access.caller import TOKEN_SCOPES, Caller, Scope
from cgagent.errors import ConflictError, InvalidInputError, NotFoundError, UnauthenticatedError
from cgagent.store.tokens import TokenRow

if TYPE_CHECKING:
    from cgagent.store.tokens import TokenRows

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_PREFIX: Final = "cga_"
_BYTES: Final = 32
_MOST: Final = 1000


class Tokens:
    """Used in the agent's event loop."""

    def __init__(self, rows: TokenRows) -> None:
        self._rows = rows
        self._by_name = {row.name: row for row in rows.all()}

    def all(self) -> list[TokenRow]:
        """By name, expired ones too."""
        return [self._by_name[name] for name in sorted(self._by_name)]

    def create(self, name: str, scope: str, lifetime_s: float | None) -> str:
        """The token, which nobody can be told again; None: it does not expire.

        Raises:
            InvalidInputError: the name, the scope, the time. ConflictError: the name is taken.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInputError(
                f"token name {name[:64]!r} must be up to 63 letters, digits, '_', '.' and '-'"
            )
        if scope not in TOKEN_SCOPES:
            raise InvalidInputError(f"scope {scope!r} is none of {', '.join(TOKEN_SCOPES)}")
        if len(self._by_name) >= _MOST:
            raise ConflictError(f"there are {_MOST} tokens already; revoke some")
        now_ns = time.time_ns()
        token = _PREFIX + secrets.token_urlsafe(_BYTES)
        row = TokenRow(
            name=name,
            hash=_hash(token),
            scope=scope,
            created_ns=now_ns,
            expires_ns=None if lifetime_s is None else now_ns + int(lifetime_s * 1e9),
        )
        try:
            self._rows.insert(row)
        except sqlite3.IntegrityError:
            raise ConflictError(
                f"token {name!r} exists; revoke it first (cgagent token revoke {name})"
            ) from None
        self._by_name[name] = row
        return token

    def revoke(self, name: str) -> None:
        """From the next request on nobody is let in with it.

        Raises:
            NotFoundError: there is none of that name.
        """
        if name not in self._by_name:
            raise NotFoundError(f"token {name!r} does not exist; see cgagent token ls")
        self._rows.delete(name)
        del self._by_name[name]

    def caller(self, token: str, address: str) -> Caller:
        """Whose it is.

        Raises:
            UnauthenticatedError: it is unknown or has expired.
        """
        asked = _hash(token)
        found = None
        for row in self._by_name.values():  # all of them, whichever it is
            if hmac.compare_digest(row.hash, asked):
                found = row
        if found is None:
            raise UnauthenticatedError(
                "the token is not known here; make one: cgagent token create"
            )
        if found.expires_ns is not None and time.time_ns() >= found.expires_ns:
            raise UnauthenticatedError(
                f"token {found.name} has expired; make another: cgagent token create"
            )
        scope: Scope = found.scope  # type: ignore[assignment] # as `create` has checked
        return Caller(via="token", name=found.name, scope=scope, details={"address": address})


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
