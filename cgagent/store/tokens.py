"""Records of bearer tokens. Rows in, rows out; no row has a token itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cgagent.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    name: str
    hash: bytes
    """SHA-256."""
    scope: str
    created_ns: int
    expires_ns: int | None


class TokenRows:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[TokenRow]:
        rows = self._database.query("SELECT name, hash, scope, created_ns, expires_ns FROM tokens")
        return [TokenRow(**row) for row in rows]

    def insert(self, row: TokenRow) -> None:
        """Raises `sqlite3.IntegrityError` when the name is taken."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO tokens (name, hash, scope, created_ns, expires_ns) "
                "VALUES (?, ?, ?, ?, ?)",
                (row.name, row.hash, row.scope, row.created_ns, row.expires_ns),
            )

    def delete(self, name: str) -> None:
        with self._database.transaction(essential=True) as connection:
            connection.execute("DELETE FROM tokens WHERE name = ?", (name,))
