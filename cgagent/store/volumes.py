"""Records of volumes. Rows in, rows out; it touches no directory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cgagent.store import requestkeys

if TYPE_CHECKING:
    from cgagent.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRow:
    name: str
    created_ns: int
    anonymous: bool = False
    """Named by us, for one container."""
    labels: dict[str, str] = field(default_factory=dict)


class VolumeRows:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[VolumeRow]:
        """By name."""
        rows = self._database.query(
            "SELECT name, anonymous, created_ns, labels FROM volumes ORDER BY name"
        )
        return [
            VolumeRow(
                name=row["name"],
                created_ns=row["created_ns"],
                anonymous=bool(row["anonymous"]),
                labels=json.loads(row["labels"]),
            )
            for row in rows
        ]

    def insert(self, row: VolumeRow) -> None:
        """Raises `sqlite3.IntegrityError` when the name is taken."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO volumes (name, anonymous, created_ns, labels) VALUES (?, ?, ?, ?)",
                (row.name, row.anonymous, row.created_ns, json.dumps(row.labels)),
            )
            requestkeys.note(connection, "volume", row.name, row.created_ns)

    def delete(self, name: str) -> None:
        with self._database.transaction(essential=True) as connection:
            connection.execute("DELETE FROM volumes WHERE name = ?", (name,))
