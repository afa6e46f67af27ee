"""Who asks: a user of this host, or whoever has a certificate or a token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

Scope = Literal["metrics", "read", "control", "admin"]
"""Each includes those before it. ``admin`` makes tokens; no token has it."""
_ORDER: Final[tuple[Scope, ...]] = ("metrics", "read", "control", "admin")
TOKEN_SCOPES: Final = _ORDER[:-1]


def includes(has: Scope, wanted: Scope) -> bool:
    return _ORDER.index(has) >= _ORDER.index(wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    via: Literal["user", "certificate", "token"]
    name: str
    """The user's id, the certificate's common name, or the token's name."""
    scope: Scope
    uid: int | None = None
    gids: frozenset[int] = frozenset()
    details: dict[str, Any] = field(default_factory=dict)
    """What the log of changes has of it beside that: pid, address, the certificate's subject."""

    def __str__(self) -> str:
        return f"{self.via} {self.name}"

    @property
    def is_root(self) -> bool:
        return self.via == "user" and self.uid == 0

    def logged(self) -> dict[str, Any]:
        return {"via": self.via, "name": self.name, **self.details}
